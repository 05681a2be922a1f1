// SPDX-License-Identifier: MIT OR Apache-2.0
//! The structures on per-vCPU words, against a sequential oracle: `structures STRUCTURE HOW MILLISECONDS`.
//!
//! STRUCTURE is `counter`, `histogram`, `stack` or `cache`. HOW is `threads` (64 of them, some
//! without registration), `pair` (one, and one that drains, each on a processor), `alarm` (and a handler that uses the structure on top of any instruction),
//! `moved` (and all threads are moved from processor to processor), `fork` (8 threads, which fork
//! in that handler) or `alone` (what each operation says, from one thread). With `refused ERRNO` the
//! fence is refused, as it is by a filter when ERRNO is 1 (EPERM), and drain and resize must change nothing.
#![no_std]
#![no_main]

mod actors;
mod alone;
mod counts;
mod pointers;
mod storm;
mod targets;

use vcpu_rt::println;
use vcpu_rt::vcpu_process::mode_name;
use vcpu_test_programs::PASSED;
use vcpu_test_programs::arguments::{number, word};

use storm::How;
use targets::Target;

vcpu_rt::entry!(main);

fn main() -> i32 {
    println!("mode={}", mode_name(vcpu_rt::found().mode));
    let how = word(2);
    match (word(1), how) {
        ("counter", "alone") => alone::counter(),
        ("histogram", "alone") => alone::histogram(),
        ("stack", "alone") => alone::stack(),
        ("cache", "alone") => alone::cache(),
        ("stack", "refused") => alone::refused(Target::Stack, number(3)),
        ("cache", "refused") => alone::refused(Target::Cache, number(3)),
        ("counter" | "histogram", _) => counts::run(How::named(how), number(3)),
        ("stack", _) => pointers::run(Target::Stack, How::named(how), number(3)),
        ("cache", _) => pointers::run(Target::Cache, How::named(how), number(3)),
        (other, _) => panic!("what is {other}?"),
    }
    PASSED
}
