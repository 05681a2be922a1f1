// SPDX-License-Identifier: MIT OR Apache-2.0
//! The ways to end, named by the first argument.
#![no_std]
#![no_main]

use core::fmt;
use core::time::Duration;

use vcpu_rt::{process, thread};
use vcpu_test_programs::arguments::{number, word};

vcpu_rt::entry!(main);

/// Cannot be shown.
struct Panics;

impl fmt::Display for Panics {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        panic!("it cannot be shown")
    }
}

fn main() -> i32 {
    match word(1) {
        "return" => number(2) as i32,
        "exit" => process::exit(number(2) as i32),
        "exit-in-thread" => {
            let _detached = thread::spawn(|| process::exit(number(2) as i32)).expect("a thread");
            loop {
                thread::sleep(Duration::from_secs(1));
            }
        }
        "abort" => process::abort(),
        "panic" => panic!("the number is {}", 4711),
        "panic-in-thread" => thread::spawn(|| panic!("the number is {}", 4712))
            .expect("a thread")
            .join(),
        "panic-in-panic" => panic!("{}", Panics),
        "overflow" => {
            // Debug assertions are part of what a panic must work for: an empty slice's index.
            let empty: &[i32] = &[];
            empty[number(2)]
        }
        other => panic!("what is {other}?"),
    }
}
