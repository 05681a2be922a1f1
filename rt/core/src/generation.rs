// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which process this is, among those that fork from each other: a number that a lock carries, so
//! that a child tells its own locks from those that it inherited with no holder.

use core::ptr;
use core::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};

/// The last number that was given out: above it is what a child takes.
static LAST: AtomicU32 = AtomicU32::new(0);

/// A word on a page of its own that is zero in a fork child (MADV_WIPEONFORK, Linux 4.14); threads
/// and vfork children share it.
static WORD: AtomicPtr<AtomicU32> = AtomicPtr::new(ptr::null_mut());

/// Where the kernel refuses that page: one number for all, as if nobody forked.
static WITHOUT: AtomicU32 = AtomicU32::new(1);

/// This process's number, never 0, and none that a lock in this memory has from an ancestor.
pub fn current() -> u32 {
    let word = WORD.load(Ordering::Acquire);
    // SAFETY: `create` leaves a page that stays mapped for ever, or the static.
    let word = unsafe { if word.is_null() { create() } else { &*word } };
    match word.load(Ordering::Relaxed) {
        0 => renew(word),
        generation => generation,
    }
}

/// The first call in a process, or in a fork child.
#[cold]
fn renew(word: &AtomicU32) -> u32 {
    // 0 is what a wiped page holds. Not by `max`: see `create`.
    let next = match LAST.fetch_add(1, Ordering::Relaxed).wrapping_add(1) {
        0 => 1,
        next => next,
    };
    match word.compare_exchange(0, next, Ordering::Relaxed, Ordering::Relaxed) {
        Ok(_) => next,
        Err(another) => another,
    }
}

#[cold]
fn create() -> &'static AtomicU32 {
    const BYTES: usize = 4096;
    let protection = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: a new mapping: it replaces nothing.
    let page = unsafe { mmap_anonymous(ptr::null_mut(), BYTES, protection, MapFlags::PRIVATE) };
    // By `match`: a closure here would bring unwind tables into every program (decision 0004).
    let wiped = match page {
        // SAFETY: the new page, whose contents nobody has seen.
        Ok(page) => match unsafe { madvise(page, BYTES, Advice::LinuxWipeOnFork) } {
            Ok(()) => Some(page),
            Err(_) => None,
        },
        Err(_) => None,
    };
    let new = match wiped {
        Some(page) => page.cast(),
        None => (&raw const WITHOUT).cast_mut(),
    };
    let (success, failure) = (Ordering::AcqRel, Ordering::Acquire);
    let kept = match WORD.compare_exchange(ptr::null_mut(), new, success, failure) {
        Ok(_) => new,
        Err(another) => {
            if let Some(page) = wiped {
                // SAFETY: just mapped, and nobody else has it.
                let _stays_mapped_at_worst = unsafe { munmap(page, BYTES) };
            }
            another
        }
    };
    // SAFETY: the page, or the static, of this caller or another one.
    unsafe { &*kept }
}
