// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a debugger sees and may write: `debugger ptrace`, and `debugger core`, of a process that
//! crashed with the mode on.
#![no_std]
#![no_main]

mod core_file;
mod registers;

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use vcpu_guest_programs::arguments::word;
use vcpu_guest_programs::base::{prepare, verify_many};
use vcpu_guest_programs::check_eq;
use vcpu_guest_programs::gs::{STRIDE, begin};
use vcpu_guest_programs::machine::{allowed_cpus, move_to, nr_cpu_ids, numbers};
use vcpu_rt::thread;

vcpu_rt::entry!(main);

fn main() {
    begin();
    prepare();
    match word(1) {
        "ptrace" => registers::read_and_written(),
        "core" => core_file::bases(),
        other => panic!("what is {other}?"),
    }
}

/// What a child tells its parent.
#[derive(Default)]
struct Told {
    /// The base that the child saw just before it stopped.
    base: AtomicU64,
    /// Its threads end now.
    end: AtomicBool,
}

/// Moves the calling thread to a CPU by turns, so that its mm_cid is not always the same.
fn move_on(turn: usize) {
    let cpus = allowed_cpus();
    let cpu = numbers(&cpus).nth(turn % numbers(&cpus).count());
    move_to(0, cpu.unwrap_or(0)).expect("the CPU is online");
    rustix::thread::sched_setaffinity(None, &cpus).expect("it was allowed");
}

/// Checks how many of the bases that were looked at were the ones that the thread had seen just
/// before, and that there were others than 0. A thread may get another mm_cid between its own look
/// and that of others, but not each time.
fn check_found(exact: u32, not_zero: u32) {
    check_eq!(
        exact > 0,
        true,
        "some base was the one that the thread itself had seen"
    );
    if nr_cpu_ids() > 1 {
        check_eq!(not_zero > 0, true, "some base was not 0");
    }
}

/// Runs `body` in the main thread while others run beside it.
fn in_company(told: &Told, body: impl FnOnce()) {
    thread::scope(|scope| {
        for _ in 0..nr_cpu_ids() {
            let work = || {
                while !told.end.load(Ordering::Acquire) {
                    verify_many(STRIDE, 100, "a thread beside the one that is looked at");
                }
            };
            scope.spawn(work).expect("a thread");
        }
        body();
        told.end.store(true, Ordering::Release);
    });
}

/// A base that the mode may give.
fn check_possible(base: u64, what: &str) {
    check_eq!(
        base % STRIDE,
        0,
        "remainder by the stride of {what}, {base:#x}"
    );
    let possible = base / STRIDE < nr_cpu_ids() as u64;
    check_eq!(possible, true, "{what}, {base:#x}, is some CPU's");
}
