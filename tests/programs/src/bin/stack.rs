// SPDX-License-Identifier: MIT OR Apache-2.0
//! Overflows a stack: `main` or `thread`, after `stack_overflow::report()` when `report` is the
//! second argument. `null` is a fault that is no overflow, `deep` is deep and no overflow.
#![no_std]
#![no_main]

use core::hint::black_box;

use vcpu_rt::{stack_overflow, thread};
use vcpu_test_programs::PASSED;
use vcpu_test_programs::arguments::{argument, word};

vcpu_rt::entry!(main);

fn main() -> i32 {
    if argument(2) == Some("report") {
        stack_overflow::report().expect("there is memory for a signal stack");
    }
    match word(1) {
        "main" => drop(recurse(usize::MAX)),
        "thread" => {
            let builder = thread::Builder::new().name("deep").stack_size(64 << 10);
            builder
                .spawn(|| recurse(usize::MAX))
                .expect("a thread")
                .join();
        }
        "deep" => {
            // A debug build has several copies of the array in a frame.
            let builder = thread::Builder::new().stack_size(1 << 20);
            let frames = builder.spawn(|| recurse(200)).expect("a thread").join();
            assert_eq!(frames, 200);
        }
        "null" => {
            // SAFETY: none: the fault is what the test asks for.
            unsafe { black_box(core::ptr::without_provenance_mut::<u8>(8)).write_volatile(1) };
        }
        other => panic!("what is {other}?"),
    }
    PASSED
}

/// Uses at least a kibibyte of stack per frame.
#[inline(never)]
fn recurse(depth: usize) -> usize {
    let frame = black_box([depth as u8; 1024]);
    if depth == 0 {
        return 0;
    }
    // The addition keeps this from being a tail call.
    let below = recurse(depth - 1);
    black_box(&frame);
    below + 1
}
