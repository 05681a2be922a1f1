// SPDX-License-Identifier: MIT OR Apache-2.0
//! Increments: one instruction, and the public functions, beside plain and locked memory.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Result;

use super::gs::Gs;
use crate::bench::Row;
use crate::bench::aligned::{Loops, Medians, ROUNDS, build, medians, over_alignments};
use crate::bench::disassembly::Kind;
use crate::bench::statistics::Ratio;
use crate::bench::subject::{Mode, Subject, alternate};

/// A row: which loops of which mode, and what they are compared with. Of more than one the row has the
/// worst.
struct Comparison {
    row: &'static str,
    mode: Mode,
    ours: &'static [&'static str],
    theirs: &'static str,
    bar: f64,
}

const COMPARISONS: [Comparison; 6] = [
    Comparison {
        row: "inc_gs_16words_vs_plain",
        mode: Mode::Gs,
        ours: &["gs_16words"],
        theirs: "plain_16words",
        bar: 1.05,
    },
    Comparison {
        row: "inc_gs_one_vs_plain",
        mode: Mode::Gs,
        ours: &["gs_one"],
        theirs: "plain_one",
        bar: 1.40,
    },
    Comparison {
        row: "inc_gs_api_16words_vs_plain",
        mode: Mode::Gs,
        ours: &["allocated_16words", "declared_16words"],
        theirs: "plain_16words",
        bar: 1.25,
    },
    Comparison {
        row: "inc_gs_api_one_vs_plain",
        mode: Mode::Gs,
        ours: &["allocated_one", "declared_one"],
        theirs: "plain_one",
        bar: 1.80,
    },
    Comparison {
        row: "inc_rseq_vs_lock",
        mode: Mode::Rseq,
        ours: &["allocated_one", "declared_one"],
        theirs: "lock_one",
        bar: 0.45,
    },
    Comparison {
        row: "inc_shared_vs_lock",
        mode: Mode::Shared,
        ours: &["allocated_one", "declared_one"],
        theirs: "lock_one",
        bar: 1.10,
    },
];

/// A loop in a mode.
type Key = (&'static str, &'static str);

/// All rows that this machine can have.
pub fn rows(gs: Gs) -> Result<Vec<Row>> {
    let mut subjects = Subjects::default();
    for mode in [Mode::Gs, Mode::Rseq, Mode::Shared] {
        if mode != Mode::Gs || gs != Gs::Nobody {
            subjects.add(mode, gs)?;
        }
    }
    let times = alternate(&subjects.list, ROUNDS, medians)?;
    let times: BTreeMap<Key, Vec<&[Medians]>> =
        subjects
            .keys
            .iter()
            .zip(&times)
            .fold(BTreeMap::new(), |mut map, (key, runs)| {
                map.entry(*key).or_insert_with(Vec::new).push(runs);
                map
            });
    for ((mode, name), runs) in &times {
        println!("{mode} {name}: {:.3} ns", over_alignments(runs[0]));
    }
    Ok(COMPARISONS
        .iter()
        .filter_map(|comparison| comparison.row(&times))
        .collect())
}

impl Comparison {
    fn row(&self, times: &BTreeMap<Key, Vec<&[Medians]>>) -> Option<Row> {
        let mode = self.mode.name();
        let theirs = times.get(&(mode, self.theirs))?[0];
        let ratios = self.ours.iter().map(|name| {
            let ours = &times[&(mode, *name)];
            Ratio::new([ours[0], ours[1]], theirs, over_alignments)
        });
        let ratios: Vec<Ratio> = ratios.collect();
        Some(Row::ratio(self.row, Ratio::worst(&ratios), self.bar))
    }
}

/// What is run, and what each of it is.
#[derive(Default)]
struct Subjects {
    list: Vec<Subject>,
    keys: Vec<Key>,
}

impl Subjects {
    /// The loops of one mode: ours under two names.
    fn add(&mut self, mode: Mode, gs: Gs) -> Result<()> {
        let program = program(mode, gs)?;
        for loops in loops(mode) {
            loops.show(&format!("{} {}", mode.name(), loops.name), &program)?;
            let is_ours = COMPARISONS
                .iter()
                .any(|comparison| comparison.ours.contains(&loops.name));
            for _ in 0..1 + usize::from(is_ours) {
                self.list
                    .push(Subject::in_mode(&program, mode).with(loops.name));
                self.keys.push((mode.name(), loops.name));
            }
        }
        Ok(())
    }
}

fn program(mode: Mode, gs: Gs) -> Result<PathBuf> {
    let features = if mode == Mode::Gs { gs.features() } else { &[] };
    let file = format!("increment-{}", mode.name());
    build("bench-increment", features, &loops(mode), &file)
}

/// The loops that a mode has in the rows.
fn loops(mode: Mode) -> Vec<Loops> {
    let mut loops: Vec<Loops> = Vec::new();
    for comparison in COMPARISONS.iter().filter(|row| row.mode == mode) {
        for &name in comparison.ours.iter().chain([&comparison.theirs]) {
            let kind = match (mode, name) {
                (_, "plain_one" | "plain_16words") => Kind::Any,
                (_, "lock_one") | (Mode::Shared, _) => Kind::Locked,
                (Mode::Rseq, _) => Kind::Section,
                (Mode::Gs, _) => Kind::Gs,
            };
            if loops.iter().all(|other| other.name != name) {
                loops.push(Loops { name, kind });
            }
        }
    }
    loops
}
