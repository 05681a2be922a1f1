// SPDX-License-Identifier: MIT OR Apache-2.0
//! A thread's registration in a process of a C library: found, made at its first operation, undone at its
//! end. See `docs/hosted.md`.
//!
//! Every function here speaks of the calling thread, and is async-signal-safe. A handler that comes at any
//! instruction finds [`UNKNOWN`], by which its sections are refused, or what is true. Signals are blocked for
//! the words of others alone: see [`unregister`].

use core::mem::transmute;
use core::ptr;
use core::sync::atomic::{AtomicPtr, Ordering};

use linux_raw_sys::general::SIGSYS;
use rustix::io::Errno;

use crate::access::Access;
use crate::arch::{self, KNOWN, ThreadWords, UNKNOWN};
use crate::process::{RseqState, found};
use crate::signal_mask::{self, SignalSet};

/// What the runtime knows of the thread: 0 in a thread that it has not seen.
pub const NOT_ASKED: u32 = 0;
/// Registered by the C library.
pub const FOUND: u32 = 1;
/// Registered by the runtime, which unregisters it at its end.
pub const MADE: u32 = 2;
/// rseq(2) refused; it is not asked again.
pub const REFUSED: u32 = 3;
/// Unregistered. Only a call by name registers the thread again.
pub const ENDED: u32 = 4;
/// The words are the parent's: a child of vfork.
pub const VFORK_CHILD: u32 = 5;

/// What sees to it that [`end`] is called at a thread's end, or null.
static REMEMBER: AtomicPtr<()> = AtomicPtr::new(ptr::null_mut());

/// Has `remember` called in each thread that the runtime registers.
pub fn set_remember(remember: fn()) {
    REMEMBER.store(remember as *mut (), Ordering::Release);
}

fn remember() {
    let remember = REMEMBER.load(Ordering::Acquire);
    if !remember.is_null() {
        // SAFETY: only `set_remember` writes it, and writes such a function.
        let remember = unsafe { transmute::<*mut (), fn()>(remember) };
        remember();
    }
}

/// From now on the thread is known to be registered. Sections are let in last.
fn set_known(state: u32) {
    let words = arch::words();
    let bounds = Access::bounds_of_ids(found());
    // SAFETY: this thread's words. Volatile: the next reader is assembly.
    unsafe {
        ptr::write_volatile(&raw mut (*words).state, state);
        ptr::write_volatile(&raw mut (*words).registered, KNOWN);
        ptr::write_volatile(&raw mut (*words).bounds, bounds);
    }
}

/// From now on it is not. Sections are kept out first.
fn set_unknown(state: u32) {
    let words = arch::words();
    // SAFETY: as above.
    unsafe {
        ptr::write_volatile(&raw mut (*words).bounds, [0; 2]);
        ptr::write_volatile(&raw mut (*words).registered, UNKNOWN);
        ptr::write_volatile(&raw mut (*words).state, state);
    }
}

fn state() -> u32 {
    let words: *const ThreadWords = arch::words();
    // SAFETY: as above.
    unsafe { ptr::read_volatile(&raw const (*words).state) }
}

/// At the first operation of a thread of which nothing is known: whether it is registered now.
#[cold]
pub fn register_at_first_use() -> bool {
    state() == NOT_ASKED && matches!(register(), Ok(()) | Err(Errno::BUSY))
}

/// Registers the thread.
///
/// # Errors
/// EBUSY: it is registered. EPERM: the thread's memory is its parent's (a child of vfork), or what rseq(2)
/// answers. ENOSYS: the process goes without rseq. EAGAIN: nobody would unregister it at its end. Others:
/// what rseq(2) answers.
pub fn register() -> Result<(), Errno> {
    let found = found();
    match found.rseq {
        RseqState::Off | RseqState::Absent => return Err(Errno::NOSYS),
        RseqState::Refused(errno) => return Err(errno),
        RseqState::Registered | RseqState::Adopted | RseqState::TakenOver => {}
    }
    match state() {
        FOUND | MADE => return Err(Errno::BUSY),
        VFORK_CHILD => return Err(Errno::PERM),
        _ => {}
    }
    let is_libc = found.rseq == RseqState::Adopted;
    if !is_libc && REMEMBER.load(Ordering::Acquire).is_null() {
        // Its memory would go while it is registered.
        return Err(Errno::AGAIN);
    }
    // SAFETY: the area is in the thread's own memory, of the C library or of the runtime, for this
    // length; the thread ends, or `end` is called, before that goes.
    let result = unsafe { found.registration.register(arch::area()) };
    match result {
        Err(Errno::BUSY) if is_libc => set_known(FOUND),
        // BUSY: by a handler just now, or by glibc 2.41 and newer, which registers whatever
        // `__rseq_offset` describes.
        Ok(()) | Err(Errno::BUSY) => {
            set_known(MADE);
            remember();
        }
        Err(_) => set_unknown(REFUSED),
    }
    result
}

/// At the start of a thread that the C library made, before its code.
pub fn enter() {
    if found().rseq != RseqState::Adopted {
        let _uses_the_last_area = register();
        return;
    }
    // SAFETY: this thread's area, which the C library has filled by now; the kernel writes there.
    let cpu_id = unsafe { ptr::read_volatile(&raw const (*arch::area()).cpu_id) };
    if cpu_id.cast_signed() >= 0 {
        set_known(FOUND);
    }
}

/// Undoes what the runtime did.
///
/// # Errors
/// EINVAL: the thread is not registered. EPERM: by the C library, or the thread's memory is its parent's.
/// Others: what rseq(2) answers.
pub fn unregister() -> Result<(), Errno> {
    match state() {
        MADE => {}
        FOUND | VFORK_CHILD => return Err(Errno::PERM),
        _ => return Err(Errno::INVAL),
    }
    set_unknown(ENDED);
    // Another runtime in the process that has adopted this registration has bounds of its own, which stay: no
    // handler of its may see the mm_cid = 0 that the kernel leaves behind, and afterwards -1 is below no bound.
    // SIGSYS stays: who is answered by it at a system call, and blocks it, is killed.
    let before = signal_mask::block(SignalSet::ALL.without(SIGSYS));
    // SAFETY: registered by this thread with this length; no handler runs.
    let result = unsafe { found().registration.unregister(arch::area()) };
    signal_mask::restore(before);
    if result.is_err() {
        set_known(MADE);
    }
    result
}

/// At the end of a thread, before its memory goes. The error is that of a seccomp filter, which came after the thread was
/// registered: it still is.
pub fn end() -> Result<(), Errno> {
    let result = unregister();
    if state() == MADE { result } else { Ok(()) }
}
