// SPDX-License-Identifier: MIT OR Apache-2.0
//! The words of the command line.

use vcpu_rt::env;

use crate::machine;

/// Argument `index`; 0 is the program.
///
/// # Panics
/// When there is none, or it is no UTF-8: the plan is wrong.
pub fn word(index: usize) -> &'static str {
    let argument = env::args().nth(index);
    let argument = argument.unwrap_or_else(|| panic!("argument {index} is missing"));
    argument.to_str().expect("arguments are words")
}

/// Argument `index` as a number.
///
/// # Panics
/// As [`word`], and when it is no number.
pub fn number(index: usize) -> usize {
    let word = word(index);
    word.parse()
        .unwrap_or_else(|_| panic!("argument {index}, {word}, is no number"))
}

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
