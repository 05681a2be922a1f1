// SPDX-License-Identifier: MIT OR Apache-2.0
//! The words of the command line, as text.

use vcpu_rt::env;

/// The argument at `index` (0 is the program), when it is there.
pub fn argument(index: usize) -> Option<&'static str> {
    env::args().nth(index)?.to_str().ok()
}

/// The argument at `index`, which the test gives.
pub fn word(index: usize) -> &'static str {
    argument(index).unwrap_or_else(|| panic!("argument {index} is missing, or no text"))
}

/// The number at `index`, which the test gives.
pub fn number(index: usize) -> usize {
    let word = word(index);
    word.parse()
        .unwrap_or_else(|_| panic!("argument {index}, {word}, is no number"))
}
