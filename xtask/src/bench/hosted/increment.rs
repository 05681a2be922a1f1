// SPDX-License-Identifier: MIT OR Apache-2.0
//! An increment in the hosted form beside one in the no_std form.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::bench::Row;
use crate::bench::aligned::{
    Loops, Medians, ROUNDS, build, build_hosted, build_static_pie, medians, over_alignments,
};
use crate::bench::disassembly::Kind;
use crate::bench::statistics::Ratio;
use crate::bench::subject::{Mode, Subject, alternate};
use crate::program::Form;

/// One increment a round, and eight, of an allocated object; and the same of a declared variable.
const LOOPS: [Loops; 4] = [
    section_loops("allocated_one"),
    section_loops("allocated_eight"),
    section_loops("declared_one"),
    section_loops("declared_eight"),
];

/// So many of them, the first, are of the allocated object.
const ALLOCATED: usize = 2;

const fn section_loops(name: &'static str) -> Loops {
    let kind = Kind::Section;
    Loops { name, kind }
}

/// The same loops in both forms of the runtime, with the same relocation model.
pub struct Programs {
    label: &'static str,
    hosted: PathBuf,
    no_std: PathBuf,
}

/// Builds them all.
pub fn build_all() -> Result<[Programs; 2]> {
    let (hosted, no_std) = ("bench-increment-hosted", "bench-increment");
    Ok([
        Programs {
            label: "any addresses",
            hosted: build_hosted(hosted, Form::StaticPie, &LOOPS, "increment-hosted-any")?,
            no_std: build_static_pie(no_std, &LOOPS, "increment-any")?,
        },
        Programs {
            label: "fixed addresses",
            hosted: build_hosted(hosted, Form::Static, &LOOPS, "increment-hosted-fixed")?,
            no_std: build(no_std, &[], &LOOPS, "increment-fixed")?,
        },
    ])
}

/// The public function, a section in each program. A row has the worst of its loops.
pub fn rows([any, fixed]: &[Programs; 2]) -> Result<[Row; 4]> {
    let mut subjects = Vec::new();
    for loops in LOOPS {
        let subject = |program: &Path| Subject::in_mode(program, Mode::Rseq).with(loops.name);
        for Programs {
            label,
            hosted,
            no_std,
        } in [any, fixed]
        {
            loops.show(&format!("{}, {label}, hosted", loops.name), hosted)?;
            loops.show(&format!("{}, {label}, no_std", loops.name), no_std)?;
            subjects.extend([hosted, hosted, no_std].map(|program| subject(program)));
        }
    }
    let times = alternate(&subjects, ROUNDS, medians)?;
    let mut ratios: [Vec<Ratio>; 3] = Default::default();
    for (loops, times) in LOOPS.iter().zip(times.chunks(6)) {
        let [of_any, of_fixed] = [&times[..3], &times[3..]];
        for (times, Programs { label, .. }) in [(of_any, any), (of_fixed, fixed)] {
            println!(
                "{}, {label}: hosted {:.3} ns, again {:.3} ns, no_std {:.3} ns",
                loops.name,
                over_alignments(&times[0]),
                over_alignments(&times[1]),
                over_alignments(&times[2])
            );
        }
        let ratio = |ours: &[Vec<Medians>], theirs: &[Vec<Medians>]| {
            Ratio::new([&ours[0], &ours[1]], &theirs[2], over_alignments)
        };
        ratios[0].push(ratio(of_any, of_any));
        ratios[1].push(ratio(of_fixed, of_fixed));
        ratios[2].push(ratio(of_any, of_fixed));
    }
    let [any, fixed, defaults] = &ratios;
    let (allocated, declared) = any.split_at(ALLOCATED);
    Ok([
        Row::ratio("hosted_inc_vs_no_std", Ratio::worst(allocated), 1.10),
        Row::ratio("hosted_inc_declared", Ratio::worst(declared), 1.25),
        Row::ratio("hosted_inc_fixed", Ratio::worst(fixed), 1.25),
        Row::ratio("hosted_inc_pie_vs_fixed", Ratio::worst(defaults), 1.25),
    ])
}
