// SPDX-License-Identifier: MIT OR Apache-2.0
//! Those with whom NONE is EBUSY.

use core::sync::atomic::{AtomicU32, Ordering};
use core::time::Duration;

use linux_raw_sys::general::CLONE_VFORK;
use rustix::io::{Errno, read, write};
use rustix::pipe::pipe;
use rustix::process::WaitStatus;
use vcpu_guest_programs::base::verify;
use vcpu_guest_programs::check_eq;
use vcpu_guest_programs::clone::sharing_memory;
use vcpu_guest_programs::gs::{NONE, mm_vcpu, set};
use vcpu_rt::thread;

use super::{STRIDE, refused, taken};

const GONE: u32 = 1;

pub fn kinds() {
    without_mode();
    check_eq!(set(mm_vcpu(STRIDE)), Ok(()), "SET");
    threads("a thread that runs", |leave| {
        while leave.load(Ordering::Acquire) != GONE {
            verify(STRIDE, "a thread that runs");
        }
    });
    threads("a thread that naps", |leave| {
        while leave.load(Ordering::Acquire) != GONE {
            thread::sleep(Duration::from_millis(5));
            verify(STRIDE, "a thread that woke up");
        }
    });
    blocked_in_read();
    processes();
}

/// With the mode off, NONE changes nothing, and is no business of others.
fn without_mode() {
    let leave = AtomicU32::new(0);
    thread::scope(|scope| {
        let work = || {
            while leave.load(Ordering::Acquire) != GONE {
                verify(0, "a thread without the mode");
            }
        };
        scope.spawn(work).expect("a thread");
        for _ in 0..100 {
            check_eq!(
                set(NONE),
                Ok(()),
                "NONE, which is set already, with a thread"
            );
        }
        leave.store(GONE, Ordering::Release);
    });
}

fn threads(what: &str, work: impl Fn(&AtomicU32) + Sync) {
    let leave = AtomicU32::new(0);
    thread::scope(|scope| {
        let threads = [(); 3].map(|()| {
            let thread = scope.spawn(|| work(&leave));
            thread.expect("a thread")
        });
        for _ in 0..50 {
            refused(what);
            thread::sleep(Duration::from_micros(500));
        }
        leave.store(GONE, Ordering::Release);
        // Joined means gone for the kernel, not only for the scope.
        for thread in threads {
            thread.join();
        }
    });
    taken(what);
}

/// A thread that sleeps for all the time: its saved base must never come back.
fn blocked_in_read() {
    let what = "a thread that is blocked in read";
    let (input, output) = pipe().expect("a pipe");
    thread::scope(|scope| {
        let work = || {
            let mut byte = [0_u8];
            check_eq!(read(&input, &mut byte), Ok(1), "read of the pipe");
            verify(STRIDE, "a thread after its read");
        };
        let thread = scope.spawn(work).expect("a thread");
        for _ in 0..50 {
            thread::sleep(Duration::from_millis(1));
            refused(what);
        }
        check_eq!(write(&output, &[1]), Ok(1), "write to the pipe");
        thread.join();
    });
    taken(what);
}

/// Processes that share the memory: one that runs, one that tries itself, a vfork child.
fn processes() {
    fn succeeded(what: &str, status: WaitStatus) {
        check_eq!(status.exit_status(), Some(0), "exit status of {what}");
    }
    let leave = AtomicU32::new(0);
    let what = "a process that shares the memory";
    let runs = || {
        while leave.load(Ordering::Acquire) != GONE {
            verify(STRIDE, what);
        }
        0
    };
    let ((), status) = sharing_memory(0, runs, |_| {
        (0..100).for_each(|_| refused(what));
        leave.store(GONE, Ordering::Release);
    });
    succeeded(what, status);
    taken(what);
    // The parent exists, running or suspended, so the child is not alone.
    for (what, flags) in [("its parent", 0), ("its parent, by vfork", CLONE_VFORK)] {
        let tries = || {
            (0..10).for_each(|_| refused(what));
            0
        };
        let ((), status) = sharing_memory(flags, tries, |_| {});
        succeeded(what, status);
        taken(what);
    }
    threads_of_both();
}

/// A thread may try as well as the main thread.
fn threads_of_both() {
    thread::scope(|scope| {
        let work = || check_eq!(set(NONE), Err(Errno::BUSY), "NONE by another thread");
        scope.spawn(work).expect("a thread").join();
    });
    taken("a thread that tried");
}
