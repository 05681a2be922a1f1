// SPDX-License-Identifier: MIT OR Apache-2.0
//! `cargo xtask bench hosted`: what the library costs a process of glibc, and what glibc costs the library.

use std::ffi::{CString, OsString};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Error, Result};
use vcpu_tests::hosted::Form;

use super::aligned::{
    Loops, ROUNDS, build, build_hosted, build_static_pie, medians, over_alignments,
};
use super::disassembly::Kind;
use super::exec::run_shuffled_in;
use super::reference::{GCC, compile};
use super::statistics::{Ratio, median};
use super::subject::{Mode, Subject, alternate};
use super::{Row, finish, machine, process};
use crate::program::Form as Linked;

/// One increment a round, and eight, of an allocated object; and the same of a declared variable.
const LOOPS: [Loops; 4] = [
    section_loops("allocated_one"),
    section_loops("allocated_eight"),
    section_loops("declared_one"),
    section_loops("declared_eight"),
];

const fn section_loops(name: &'static str) -> Loops {
    let kind = Kind::Section;
    Loops { name, kind }
}

/// All six rows.
pub fn hosted(json: Option<&Path>) -> Result<ExitCode> {
    println!("{}", machine()?);
    let library = Form::Preload
        .libraries()
        .map_err(Error::msg)?
        .join("libvcpu_rt.so");
    let nothing = compile(GCC, "nothing", &[], &[], "nothing-glibc")?;
    let create = compile(
        GCC,
        "create_join_glibc",
        &["-pthread".into()],
        &[],
        "create_join_glibc",
    )?;
    let get_cpu = compile(GCC, "sched_getcpu", &[], &[], "sched_getcpu")?;
    let (name, no_std) = ("bench-increment-hosted", "bench-increment");
    let increments_of = [
        Programs {
            label: "fixed addresses",
            hosted: build_hosted(name, Linked::Static, &LOOPS, "increment-hosted-fixed")?,
            no_std: build(no_std, &[], &LOOPS, "increment-fixed")?,
        },
        Programs {
            label: "any addresses",
            hosted: build_hosted(name, Linked::StaticPie, &LOOPS, "increment-hosted-any")?,
            no_std: build_static_pie(no_std, &LOOPS, "increment-any")?,
        },
    ];
    process::pin_to_one_cpu()?;
    let mut rows = vec![start(&nothing, &library)?, create_join(&create, &library)?];
    rows.extend(increments(&increments_of)?);
    rows.push(sched_getcpu(&get_cpu, &library)?);
    finish(&rows, json)
}

/// A dynamic program that does nothing, from before its start to after its end.
fn start(program: &Path, library: &Path) -> Result<Row> {
    let mut entry = OsString::from("LD_PRELOAD=");
    entry.push(library);
    let entry = CString::new(entry.into_vec())?;
    let preloaded = (program.to_path_buf(), Some(entry));
    let times = run_shuffled_in(&[preloaded.clone(), preloaded, (program.to_path_buf(), None)])?;
    let [ours, again, plain] = &times[..] else {
        unreachable!("one list a program")
    };
    println!(
        "exec to exit: preloaded {:.1} us, again {:.1} us, plain {:.1} us",
        median(ours),
        median(again),
        median(plain)
    );
    let ratio = Ratio::new([ours, again], plain, median);
    Ok(Row::ratio("preload_start_vs_plain", &ratio, 1.10))
}

/// A thread: glibc registers it (adopt), or the library does, and unregisters it (own). The row has the worse.
fn create_join(program: &Path, library: &Path) -> Result<Row> {
    let preloaded = Subject::new(program).env("LD_PRELOAD", library);
    let own = preloaded.clone().env("VCPU_RT_RSEQ", "own");
    let plain = Subject::new(program);
    let subjects = [preloaded.clone(), preloaded, own.clone(), own, plain];
    let times = alternate(&subjects, ROUNDS, |subject| {
        Ok(median(&subject.numbers()?.concat()))
    })?;
    let [adopt, adopt_again, own, own_again, plain] = &times[..] else {
        unreachable!("one list a subject")
    };
    println!(
        "create and join: adopted {:.2} us, own {:.2} us, plain {:.2} us",
        median(adopt) / 1e3,
        median(own) / 1e3,
        median(plain) / 1e3
    );
    let ratios = [
        Ratio::new([adopt, adopt_again], plain, median),
        Ratio::new([own, own_again], plain, median),
    ];
    let worse = worst(&ratios);
    Ok(Row::ratio("preload_create_join_vs_plain", worse, 1.06))
}

/// The same loops in both forms of the runtime, with the same relocation model.
struct Programs {
    label: &'static str,
    hosted: PathBuf,
    no_std: PathBuf,
}

/// The public function, a section in each program. A row has the worst of its loops, in both relocation models; and
/// one is of hosted programs as they are built by default, a PIE, beside no_std ones as they are, at fixed addresses.
fn increments(programs: &[Programs; 2]) -> Result<[Row; 3]> {
    let mut subjects = Vec::new();
    for loops in LOOPS {
        let subject = |program: &Path| Subject::in_mode(program, Mode::Rseq).with(loops.name);
        for Programs {
            label,
            hosted,
            no_std,
        } in programs
        {
            loops.show(&format!("{}, {label}, hosted", loops.name), hosted)?;
            loops.show(&format!("{}, {label}, no_std", loops.name), no_std)?;
            subjects.extend([hosted, hosted, no_std].map(|program| subject(program)));
        }
    }
    let times = alternate(&subjects, ROUNDS, medians)?;
    let mut alike = Vec::new();
    let mut defaults = Vec::new();
    for (loops, times) in LOOPS.iter().zip(times.chunks(6)) {
        let [fixed, any] = [&times[..3], &times[3..]];
        for (times, Programs { label, .. }) in [fixed, any].into_iter().zip(programs) {
            println!(
                "{}, {label}: hosted {:.3} ns, again {:.3} ns, no_std {:.3} ns",
                loops.name,
                over_alignments(&times[0]),
                over_alignments(&times[1]),
                over_alignments(&times[2])
            );
            alike.push(Ratio::new(
                [&times[0], &times[1]],
                &times[2],
                over_alignments,
            ));
        }
        defaults.push(Ratio::new([&any[0], &any[1]], &fixed[2], over_alignments));
    }
    let (allocated, declared) = alike.split_at(alike.len() / 2);
    Ok([
        Row::ratio("hosted_inc_vs_no_std", worst(allocated), 1.10),
        Row::ratio("hosted_inc_declared", worst(declared), 1.25),
        Row::ratio("hosted_inc_pie_vs_fixed", worst(&defaults), 1.25),
    ])
}

fn worst(ratios: &[Ratio]) -> &Ratio {
    let worst = ratios.iter().max_by(|a, b| a.value.total_cmp(&b.value));
    worst.expect("there is one")
}

/// The library's function beside glibc's, both by the registered area.
fn sched_getcpu(program: &Path, library: &Path) -> Result<Row> {
    let preloaded = Subject::new(program).env("LD_PRELOAD", library);
    let subjects = [preloaded.clone(), preloaded, Subject::new(program)];
    let times = alternate(&subjects, ROUNDS, |subject| {
        Ok(median(&subject.numbers()?.concat()))
    })?;
    let [ours, again, glibc] = &times[..] else {
        unreachable!("one list a subject")
    };
    println!(
        "sched_getcpu: ours {:.3} ns, again {:.3} ns, glibc {:.3} ns",
        median(ours),
        median(again),
        median(glibc)
    );
    let ratio = Ratio::new([ours, again], glibc, median);
    Ok(Row::ratio("sched_getcpu_vs_glibc", &ratio, 1.05))
}
