// SPDX-License-Identifier: MIT OR Apache-2.0
//! Whoever shares the memory shares the mode: threads, CLONE_VM children, vfork children.

use linux_raw_sys::general::CLONE_VFORK;
use vcpu_guest_programs::base::verify;
use vcpu_guest_programs::check_eq;
use vcpu_guest_programs::clone::sharing_memory;
use vcpu_guest_programs::gs::{get, mm_vcpu, turn_on};
use vcpu_guest_programs::threads::in_threads;

use super::{OTHER_STRIDE, STRIDE};

pub fn memory() {
    in_threads(1, || {
        turn_on(STRIDE);
        verify(STRIDE, "the thread that set the mode");
    });
    check_eq!(get(), Ok(mm_vcpu(STRIDE)), "GET after another thread's SET");
    verify(STRIDE, "the main thread after another thread's SET");
    for (what, flags) in [("CLONE_VM", 0), ("vfork", CLONE_VFORK)] {
        turn_on(STRIDE);
        let ((), status) = sharing_memory(flags, child, |_| {});
        check_eq!(
            status.exit_status(),
            Some(0),
            "exit status of a {what} child"
        );
        check_eq!(
            get(),
            Ok(mm_vcpu(OTHER_STRIDE)),
            "GET after a {what} child's SET"
        );
        verify(OTHER_STRIDE, what);
    }
}

/// Its bases are by its own mm_cid: it has a registration of its own.
fn child() -> i32 {
    check_eq!(get(), Ok(mm_vcpu(STRIDE)), "GET in the child");
    for _ in 0..1000 {
        verify(STRIDE, "a child that shares memory");
    }
    turn_on(OTHER_STRIDE);
    for _ in 0..1000 {
        verify(OTHER_STRIDE, "a child that shares memory, after its SET");
    }
    0
}
