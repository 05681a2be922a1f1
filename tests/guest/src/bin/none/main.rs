// SPDX-License-Identifier: MIT OR Apache-2.0
//! Back to NONE: refused while anybody else shares the memory. `none company` (threads that run or
//! sleep, processes that share the memory), `chain` (there is always one child, mostly mid-clone),
//! `alone` (who does not count: readers of /proc, a leader that has ended).
#![no_std]
#![no_main]

mod alone;
mod chain;
mod company;

use rustix::io::Errno;
use vcpu_guest_programs::arguments::{number, word};
use vcpu_guest_programs::base::{prepare, selector, verify};
use vcpu_guest_programs::check_eq;
use vcpu_guest_programs::gs::{NONE, STRIDE, begin, get, mm_vcpu, set};
use vcpu_guest_programs::process::check_in_child;
use vcpu_guest_programs::syscall::{arch, arch_get};
use vcpu_guest_programs::threads::in_threads;
use vcpu_rt::thread;

vcpu_rt::entry!(main);

fn main() {
    begin();
    prepare();
    match word(1) {
        "company" => company::kinds(),
        "chain" => chain::unbroken(number(2)),
        "alone" => alone::kinds(),
        other => panic!("what is {other}?"),
    }
}

/// NONE is refused, and nothing changes.
fn refused(what: &str) {
    check_eq!(set(NONE), Err(Errno::BUSY), "NONE with {what}");
    check_eq!(get(), Ok(mm_vcpu(STRIDE)), "GET after NONE with {what}");
    verify(STRIDE, what);
}

/// NONE is taken, and from then on bases are 0, for those who come later as well; then the mode can
/// be set again.
fn taken(after: &str) {
    check_eq!(set(NONE), Ok(()), "NONE after {after}");
    off(after);
    in_threads(8, || {
        for _ in 0..50 {
            verify(0, "a thread that was started after NONE");
            thread::yield_now();
        }
    });
    check_in_child("a child after NONE", || off("NONE, in a child"));
    off(after);
    check_eq!(set(mm_vcpu(STRIDE)), Ok(()), "SET after {after} and NONE");
    verify(STRIDE, "SET after NONE");
}

fn off(after: &str) {
    check_eq!(get(), Ok(NONE), "GET after {after}");
    for _ in 0..10 {
        verify(0, after);
        check_eq!(arch_get(arch::GET_GS), Ok(0), "ARCH_GET_GS after {after}");
        check_eq!(selector(), 0, "the GS selector after {after}");
        thread::yield_now();
    }
}
