// SPDX-License-Identifier: MIT OR Apache-2.0
//! The words of the command line, which the benchmark gives.

use vcpu_rt::env;

/// The argument at `index` (0 is the program).
pub fn word(index: usize) -> &'static str {
    match env::args().nth(index).map(|word| word.to_str()) {
        Some(Ok(word)) => word,
        _ => panic!("argument {index} is missing, or no text"),
    }
}

/// The number at `index`.
pub fn number(index: usize) -> u32 {
    match word(index).parse() {
        Ok(number) => number,
        Err(_) => panic!("argument {index} is no number"),
    }
}
