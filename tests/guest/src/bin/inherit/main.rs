// SPDX-License-Identifier: MIT OR Apache-2.0
//! Who has the mode of whom: `inherit fork`, `share` (threads, CLONE_VM, vfork), `exec`, `status`
//! (/proc/PID/status). `after-exec` is what `exec` executes.
#![no_std]
#![no_main]

mod exec;
mod share;

use vcpu_guest_programs::arguments::word;
use vcpu_guest_programs::base::{prepare, verify};
use vcpu_guest_programs::check_eq;
use vcpu_guest_programs::gs::{
    NONE, PAGE, STRIDE, Shown, begin, get, mm_vcpu, set, shown, turn_on,
};
use vcpu_guest_programs::machine::Text;
use vcpu_guest_programs::process::{check_in_child, expect_exit, fork as fork_child};
use vcpu_guest_programs::threads::in_threads;
use vcpu_rt::thread;

vcpu_rt::entry!(main);

const OTHER_STRIDE: u64 = 5 * PAGE as u64;

fn main() {
    begin();
    prepare();
    match word(1) {
        "fork" => fork(),
        "share" => share::memory(),
        "exec" => exec::programs(),
        "after-exec" => exec::nothing_is_left(),
        "status" => status(),
        other => panic!("what is {other}?"),
    }
}

/// A fork child has a copy of the mode, and its changes are its own.
fn fork() {
    check_in_child("a child that turns the mode on", || turn_on(STRIDE));
    check_eq!(get(), Ok(NONE), "GET after a child turned its mode on");
    verify(0, "after a child turned its mode on");
    turn_on(STRIDE);
    check_in_child("a child of one thread", child);
    check_eq!(
        get(),
        Ok(mm_vcpu(STRIDE)),
        "GET after a child changed its mode"
    );
    verify(STRIDE, "after a child changed its mode");
    // The same from a process with threads, by one of them.
    in_threads(8, || {
        for _ in 0..20 {
            check_in_child("a child of several threads", child);
            verify(STRIDE, "a thread after its fork");
        }
    });
}

fn child() {
    check_eq!(get(), Ok(mm_vcpu(STRIDE)), "GET in a fork child");
    verify(STRIDE, "a fork child");
    check_in_child("a grandchild", || {
        verify(STRIDE, "a grandchild");
    });
    turn_on(OTHER_STRIDE);
    verify(OTHER_STRIDE, "a fork child after SET");
    check_eq!(set(NONE), Ok(()), "NONE in a fork child, which is alone");
    verify(0, "a fork child after NONE");
    thread::yield_now();
    verify(0, "a fork child after NONE and a switch");
}

fn status() {
    const OFF: Shown = Shown {
        mm_vcpu: Some(false),
        stride: Some(0),
    };
    let on = |stride| Shown {
        mm_vcpu: Some(true),
        stride: Some(stride),
    };
    check_eq!(shown("self"), Ok(OFF), "/proc/self/status");
    for stride in [STRIDE, OTHER_STRIDE, 1 << 30] {
        turn_on(stride);
        check_eq!(shown("self"), Ok(on(stride)), "/proc/self/status");
        in_threads(1, || {
            check_eq!(
                shown("thread-self"),
                Ok(on(stride)),
                "/proc/thread-self/status"
            );
        });
    }
    // Somebody else's.
    let parent = process_name(rustix::process::getpid());
    let child = fork_child(|| {
        check_eq!(set(NONE), Ok(()), "NONE in the child");
        check_eq!(
            shown(parent.as_str()),
            Ok(on(1 << 30)),
            "the parent's status"
        );
        check_eq!(shown("self"), Ok(OFF), "the child's own status");
        0
    });
    expect_exit(child, 0, "a child that reads its parent's status");
    // A kernel thread has no memory of its own, so no mode.
    let nothing = Shown {
        mm_vcpu: None,
        stride: None,
    };
    check_eq!(shown("2"), Ok(nothing), "the status of a kernel thread");
    check_eq!(set(NONE), Ok(()), "NONE while alone");
    check_eq!(shown("self"), Ok(OFF), "/proc/self/status after NONE");
}

fn process_name(process: rustix::process::Pid) -> Text<16> {
    use core::fmt::Write;
    let mut name = Text::default();
    write!(name, "{}", process.as_raw_nonzero()).expect("a number fits");
    name
}
