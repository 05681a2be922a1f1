// SPDX-License-Identifier: MIT OR Apache-2.0
//! The stack canary. `show` prints it in the main thread and in another; `fill N` and
//! `fill-thread N` let a C function write N bytes into its buffer of 16.
#![no_std]
#![no_main]

use core::arch::asm;

use vcpu_rt::{println, thread};
use vcpu_test_programs::PASSED;
use vcpu_test_programs::arguments::{number, word};

vcpu_rt::entry!(main);

unsafe extern "C" {
    fn guard_fill(length: usize) -> i32;
}

fn main() -> i32 {
    match word(1) {
        "show" => {
            println!("main={:016x}", canary());
            let other = thread::spawn(canary).expect("a thread").join();
            println!("thread={other:016x}");
        }
        "fill" => fill(number(2)),
        "fill-thread" => thread::spawn(|| fill(number(2))).expect("a thread").join(),
        _ => return 2,
    }
    PASSED
}

/// What compilers read: the word at `%fs:0x28`.
fn canary() -> u64 {
    let canary;
    // SAFETY: a load from the thread block, which is longer than 0x30 bytes.
    unsafe {
        asm!("mov {}, qword ptr fs:[0x28]", out(reg) canary, options(nostack, readonly, preserves_flags));
    }
    canary
}

fn fill(length: usize) {
    // SAFETY: up to 16 the function is sound. Above, it is not, and the point is that the process
    // ends before the function returns.
    let filled = unsafe { guard_fill(length) };
    println!("filled={filled}");
}
