// SPDX-License-Identifier: MIT OR Apache-2.0
//! The prctl's own rows: a call each, by a process of one thread.

use rustix::io::Errno;
use vcpu_guest_programs::check_eq;
use vcpu_guest_programs::gs::{self, NONE, PAGE, mm_vcpu};

use crate::counter::{median, now};
use crate::{RUNS, report};

/// Calls of a kind in a run.
const CALLS: usize = 501;

type Call = fn() -> Result<(), Errno>;

/// What is called, in this order: each call finds the mode that the one before left.
const SEQUENCE: [(&str, Call); 6] = [
    ("set-on", || gs::set(mm_vcpu(PAGE as u64))),
    ("set-same", || gs::set(mm_vcpu(PAGE as u64))),
    ("get", || gs::get().map(drop)),
    ("set-stride", || gs::set(mm_vcpu(2 * PAGE as u64))),
    ("set-none", || gs::set(NONE)),
    ("set-none-same", || gs::set(NONE)),
];

/// Prints the rows.
pub fn rows() {
    let mut runs = [[0.0; RUNS]; SEQUENCE.len()];
    for run in 0..RUNS {
        let mut lengths = [[0; CALLS]; SEQUENCE.len()];
        for call in 0..CALLS {
            for ((name, function), lengths) in SEQUENCE.iter().zip(&mut lengths) {
                let start = now();
                let result = function();
                lengths[call] = now() - start;
                check_eq!(result, Ok(()), "{name}");
            }
        }
        for (runs, lengths) in runs.iter_mut().zip(&mut lengths) {
            runs[run] = median(lengths) as f64;
        }
    }
    for ((name, _), runs) in SEQUENCE.iter().zip(&runs) {
        report(format_args!("prctl-{name}"), runs);
    }
}
