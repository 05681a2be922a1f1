// SPDX-License-Identifier: MIT OR Apache-2.0
//! Threads of the C library: the first one, and the end of each.

use core::ffi::{c_int, c_void};
use core::ptr;
use core::sync::atomic::{AtomicU32, Ordering};

use linux_raw_sys::general::__NR_mseal;
use vcpu_core::process::{RseqState, found};
use vcpu_core::report::Line;
use vcpu_core::{arch, thread};

use crate::{address_if_there, libc};

/// Keys below it are in the thread's block in glibc, so that setting one allocates nothing
/// (PTHREAD_KEY_2NDLEVEL_SIZE). musl has all of them there.
const INLINE_KEYS: u32 = 32;

static KEY: AtomicU32 = AtomicU32::new(0);

/// At load: the calling thread, and what the others need.
pub(crate) fn enter_first() {
    match found().rseq {
        RseqState::Adopted => thread::enter(),
        RseqState::Registered | RseqState::TakenOver => {
            if let Some(remember) = at_end() {
                thread::set_remember(remember);
                thread::enter();
            }
        }
        RseqState::Off | RseqState::Absent | RseqState::Refused(_) => {}
    }
}

/// What a registered thread does for that it is unregistered at its end; `None`: it must not register.
fn at_end() -> Option<fn()> {
    let mut key = 0;
    // SAFETY: a place for the key, and a destructor.
    if unsafe { libc::pthread_key_create(&raw mut key, end) } != 0 {
        return None;
    }
    if key < INLINE_KEYS {
        KEY.store(key, Ordering::Relaxed);
        return Some(set_key);
    }
    // SAFETY: the key of just now.
    let _was_made: c_int = unsafe { libc::pthread_key_delete(key) };
    None
}

fn set_key() {
    let something = ptr::from_ref(&KEY).cast();
    // SAFETY: a key of ours, below the bound from which on this would allocate.
    let _cannot_fail = unsafe { libc::pthread_setspecific(KEY.load(Ordering::Relaxed), something) };
}

/// The destructor, while the thread's memory is still there.
extern "C" fn end(_: *mut c_void) {
    if let Err(errno) = thread::end() {
        let mut line = Line::new();
        line.outcome("unregistration at a thread's end: ", "refused", Some(errno))
            .print();
        // The word is there in what `cargo xtask dist` links for musl.
        if address_if_there!("__vcpu_rt_is_musl", hidden) != 0 {
            keep_memory();
        }
    }
}

/// musl unmaps a detached thread's memory while the thread is there, and the kernel kills who is registered in
/// what is unmapped. One sealed page (mseal(2), Linux 6.10) makes munmap(2) refuse all of it: it is lost, the thread goes on
/// to its end. glibc waits until the thread is gone.
#[cold]
fn keep_memory() {
    const PAGE: usize = 4096;
    let page = arch::area().addr() & !(PAGE - 1);
    // SAFETY: a page of the thread's own, whose contents stay as they are.
    let _is_killed_then = unsafe { arch::syscall(__NR_mseal, [page, PAGE, 0, 0]) };
}
