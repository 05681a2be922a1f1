// SPDX-License-Identifier: MIT OR Apache-2.0
//! The words of the command line, as text.

use vcpu_rt::env;

/// The argument at `index` (0 is the program), when it is there.
pub fn argument(index: usize) -> Option<&'static str> {
    env::args().nth(index)?.to_str().ok()
}

/// The argument at `index`, which the test gives.
pub fn word(index: usize) -> &'static str {
    argument(index).expect("an argument is missing")
}

/// The number at `index`, which the test gives.
pub fn number(index: usize) -> usize {
    word(index).parse().expect("an argument is no number")
}
