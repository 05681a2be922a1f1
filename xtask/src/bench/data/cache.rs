// SPDX-License-Identifier: MIT OR Apache-2.0
//! A cache of pointers, beside models in C that find their slab in two other ways.

use anyhow::Result;

use super::gs::Gs;
use crate::bench::Row;
use crate::bench::aligned::{Loops, ROUNDS, build, build_c, medians, over_alignments};
use crate::bench::disassembly::Kind;
use crate::bench::reference::MUSL_GCC;
use crate::bench::statistics::Ratio;
use crate::bench::subject::{Mode, Subject, alternate};

/// Push and pop of a batch in one class, and of one item in each of 16 classes.
const LOOPS: [&str; 2] = ["batch", "classes"];

/// cache_rseq_vs_model and cache_gs_vs_cached_pointer, where this machine can have them.
pub fn rows(gs: Gs) -> Result<Vec<Row>> {
    let mut rows = vec![Row::ratio(
        "cache_rseq_vs_model",
        &compare(Mode::Rseq, gs, "MODEL_MM_CID")?,
        1.03,
    )];
    if gs != Gs::Nobody {
        rows.push(Row::ratio(
            "cache_gs_vs_cached_pointer",
            &compare(Mode::Gs, gs, "MODEL_CACHED")?,
            1.03,
        ));
    }
    Ok(rows)
}

/// The worse ratio of the two loops.
fn compare(mode: Mode, gs: Gs, model: &str) -> Result<Ratio> {
    let ratios = LOOPS.map(|name| compare_loops(name, mode, gs, model));
    let [batch, classes] = ratios;
    let (batch, classes) = (batch?, classes?);
    Ok(if batch.value > classes.value {
        batch
    } else {
        classes
    })
}

fn compare_loops(name: &'static str, mode: Mode, gs: Gs, model: &str) -> Result<Ratio> {
    let (kind, features) = match mode {
        Mode::Gs => (Kind::Gs, gs.features()),
        Mode::Rseq | Mode::Shared => (Kind::Section, &[][..]),
    };
    let ours = Loops { name, kind };
    let theirs = Loops {
        name,
        kind: Kind::Section,
    };
    let file = format!("cache-{}-{name}", mode.name());
    let our_program = build("bench-cache", features, &[ours], &file)?;
    let flags = [
        "-static",
        "-no-pie",
        "-fno-pie",
        "-mno-red-zone",
        &format!("-D{model}"),
    ];
    let flags = flags.map(Into::into);
    let file = format!("cache-{model}-{name}");
    let their_program = build_c(MUSL_GCC, "cache_model", &flags, &[], theirs, &file)?;
    ours.show(&format!("{} {name}", mode.name()), &our_program)?;
    theirs.show(&format!("{model} {name}"), &their_program)?;
    let our_subject = Subject::in_mode(&our_program, mode).with(name);
    let their_subject = Subject::new(&their_program).with(name);
    let subjects = [our_subject.clone(), our_subject, their_subject];
    let times = alternate(&subjects, ROUNDS, medians)?;
    let [ours, again, theirs] = &times[..] else {
        unreachable!("one list a subject")
    };
    let ratio = Ratio::new([ours, again], theirs, over_alignments);
    println!(
        "push and pop, {name}: {} {:.2} ns, again {:.2} ns, {model} {:.2} ns, ratio {:.3}",
        mode.name(),
        over_alignments(ours),
        over_alignments(again),
        over_alignments(theirs),
        ratio.value
    );
    Ok(ratio)
}
