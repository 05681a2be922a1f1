// SPDX-License-Identifier: MIT OR Apache-2.0
//! Rules in which a second thread or process has a part.

use core::sync::atomic::{AtomicU64, Ordering};

use linux_raw_sys::general as nr;
use vcpu_abi::{RSEQ_FLAG_UNREGISTER, RSEQ_SIG};
use vcpu_rt::{println, rseq, thread};
use vcpu_test_programs::syscall::{sched_yield, syscall};
use vcpu_test_programs::table::abi;

use crate::EINVAL;
use crate::spin::{area, right, set_rseq_cs, spin_at};

/// A child that shares memory (vfork, threads) is not registered, even where it runs on its parent's
/// thread block.
pub fn vm_child() {
    let flags = nr::CLONE_VM | nr::CLONE_VFORK | nr::SIGCHLD;
    let (address, length) = (area().addr(), abi().rseq_len as usize);
    let unregister = [
        address,
        length,
        RSEQ_FLAG_UNREGISTER as usize,
        RSEQ_SIG as usize,
    ];
    // SAFETY: the child makes two system calls, both inlined here, on this stack, while this thread
    // waits; the first one is refused.
    unsafe {
        if syscall(nr::__NR_clone, [flags as usize, 0, 0, 0]).expect("a child") == 0 {
            let errno = syscall(nr::__NR_rseq, unregister).err().unwrap_or(0);
            let _does_not_return = syscall(nr::__NR_exit_group, [errno as usize, 0, 0, 0]);
        }
    }
    // Its id would be what the child left of this thread's stack.
    let mut status = 0_i32;
    let place = (&raw mut status).expose_provenance();
    // SAFETY: wait4(2) writes one int.
    let waited = unsafe { syscall(nr::__NR_wait4, [usize::MAX, place, 0, 0]) };
    assert!(waited.is_ok());
    assert_eq!(status, EINVAL << 8, "it was registered");
    assert!(rseq::is_registered(), "the parent still is");
}

/// Once fence returned, no section commits that was under way when it was called.
pub fn fence() {
    const SECTIONS: usize = 2000;
    /// Enough for a fence to come into it: about 100 us.
    const TURNS: u64 = 200_000;
    static BEGUN: AtomicU64 = AtomicU64::new(0);
    /// By the number of the section.
    static COMMITTED: [AtomicU64; SECTIONS] = [const { AtomicU64::new(0) }; SECTIONS];
    let worker = thread::spawn(|| {
        let descriptor = right();
        let place = (&raw const descriptor).expose_provenance() as u64;
        for (number, committed) in (0..).zip(&COMMITTED).skip(1) {
            spin_at(place, TURNS, committed, (&BEGUN, number));
        }
        // The descriptor ends here.
        set_rseq_cs(0);
    });
    let worker = worker.expect("a thread");
    let mut inside = 0;
    while !worker.is_finished() {
        let number = BEGUN.load(Ordering::Acquire);
        if number == 0 {
            continue;
        }
        vcpu_rt::fence(-1).expect("the kernel has the fence");
        let committed = &COMMITTED[number as usize];
        let at_fence = committed.load(Ordering::Acquire);
        while BEGUN.load(Ordering::Acquire) == number && !worker.is_finished() {
            sched_yield();
        }
        assert_eq!(
            committed.load(Ordering::Acquire),
            at_fence,
            "a section committed after the fence"
        );
        inside += u64::from(at_fence == 0);
    }
    worker.join();
    assert!(inside > 0, "no fence came into a section");
    println!("fences that came into a section: {inside}");
}
