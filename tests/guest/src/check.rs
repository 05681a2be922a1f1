// SPDX-License-Identifier: MIT OR Apache-2.0
//! Checks that say what was expected and what was found, and the end as "skipped".

use core::fmt;

use vcpu_rt::{println, process};

/// The exit status of a program that had nothing to test (the kernel's KSFT_SKIP).
pub const SKIPPED: i32 = 4;

/// Checks that a value is the expected one. The text before it, with format arguments, says what
/// was looked at.
#[macro_export]
macro_rules! check_eq {
    ($found:expr, $expected:expr, $($what:tt)+) => {{
        let (found, expected) = ($found, $expected);
        assert!(
            found == expected,
            "{}: expected {expected:?}, found {found:?}",
            ::core::format_args!($($what)+)
        );
    }};
}

/// Ends the program as skipped, with the reason.
pub fn skip(reason: impl fmt::Display) -> ! {
    println!("SKIP: {reason}");
    process::exit_group(SKIPPED)
}
