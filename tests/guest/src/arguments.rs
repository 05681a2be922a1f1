// SPDX-License-Identifier: MIT OR Apache-2.0
//! The words of the command line.

use vcpu_rt::env;

pub use vcpu_test_programs::arguments::{number, word};

use crate::machine;

/// Whether `name` is one of the words from argument `first` on.
pub fn has(first: usize, name: &str) -> bool {
    env::args()
        .skip(first)
        .any(|argument| argument.to_bytes() == name.as_bytes())
}

/// Argument `index` as a number of threads: `fewer` than there are CPUs, `more` (which selects the
/// other mm_cid ownership of Linux 7.3), or a number.
pub fn threads(index: usize) -> usize {
    let cpus = machine::numbers(&machine::allowed_cpus()).count();
    match word(index) {
        "fewer" => cpus.saturating_sub(1).max(1),
        "more" => 4 * cpus,
        _ => number(index),
    }
}
