// SPDX-License-Identifier: MIT OR Apache-2.0
//! Threads of the C library: the first one, and the end of each.

use core::ffi::{c_int, c_void};
use core::ptr;
use core::sync::atomic::{AtomicU32, Ordering};

use linux_raw_sys::general::__NR_mseal;
use vcpu_core::process::{RseqState, found};
use vcpu_core::report::Line;
use vcpu_core::{arch, thread};

use crate::libc;

/// Keys below it are in the thread's block in glibc, so that setting one allocates nothing
/// (PTHREAD_KEY_2NDLEVEL_SIZE). musl has all of them there.
const INLINE_KEYS: u32 = 32;

static KEY: AtomicU32 = AtomicU32::new(0);

/// At load: the calling thread, and what the others need.
pub(crate) fn enter_first() {
    match found().rseq {
        RseqState::Adopted => thread::enter(),
        RseqState::Registered | RseqState::TakenOver => match at_end() {
            Some(remember) => {
                thread::set_remember(remember);
                thread::enter();
            }
            None => Line::new()
                .text("no pthread key is left, so no thread is registered")
                .print(),
        },
        RseqState::Off | RseqState::Absent | RseqState::Refused(_) => {}
    }
}

/// What a registered thread does for that it is unregistered at its end; `None`: it must not register.
///
/// glibc keeps a thread's memory until the kernel has no thread there, which registers itself so, too: what it has no
/// key for, or none that could be set without malloc, stays registered to the end. musl unmaps it before.
fn at_end() -> Option<fn()> {
    let stays: fn() = || {};
    if libc::is_glibc() && !has_keys_of_program() {
        return Some(stays);
    }
    let mut key = 0;
    // SAFETY: a place for the key, and a destructor.
    if unsafe { libc::pthread_key_create(&raw mut key, end) } != 0 {
        return libc::is_glibc().then_some(stays);
    }
    if libc::is_glibc() && key >= INLINE_KEYS {
        // SAFETY: the key of just now.
        let _was_made: c_int = unsafe { libc::pthread_key_delete(key) };
        return Some(stays);
    }
    KEY.store(key, Ordering::Relaxed);
    Some(set_key)
}

/// Whether keys are the program's: in a namespace of its own (dlmopen) there is another glibc, which numbers its keys by
/// itself, and a thread's values lie where those of the program's keys are.
fn has_keys_of_program() -> bool {
    // The first object is the executable, where that is in the caller's namespace.
    libc::find_in_objects(|object| Some(object.is_executable())) == Some(true)
}

fn set_key() {
    let something = ptr::from_ref(&KEY).cast();
    // SAFETY: a key of ours, of those for which this allocates nothing.
    let _cannot_fail = unsafe { libc::pthread_setspecific(KEY.load(Ordering::Relaxed), something) };
}

/// The destructor, while the thread's memory is still there.
extern "C" fn end(_: *mut c_void) {
    if let Err(errno) = thread::end() {
        let mut line = Line::new();
        line.outcome("unregistration at a thread's end: ", "refused", Some(errno))
            .print();
        if !libc::is_glibc() {
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
