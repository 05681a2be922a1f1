// SPDX-License-Identifier: MIT OR Apache-2.0
//! The memory of a thread: guard, stack, packet, TLS image and block, in one mapping; and the
//! cache of those that ended.
//!
//! Low to high: guard (no access) | stack | packet | TLS image | block.

use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicPtr, Ordering};

use rustix::io::Errno;
use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap_anonymous, mprotect, munmap};

use crate::block::ThreadBlock;
use crate::thread::image;

const PAGE: usize = 4096;

/// Bytes without access below each stack. Rust's frames probe every page; C frames without
/// probes may be larger than one.
pub const GUARD_BYTES: usize = 16 * 1024;

/// Where a thread's memory is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mapping {
    base: usize,
    bytes: usize,
}

impl Mapping {
    /// The main thread's: its stack is the kernel's.
    pub const EMPTY: Self = Self { base: 0, bytes: 0 };

    /// The addresses that fault when the stack overflows.
    pub fn guard(&self) -> core::ops::Range<usize> {
        if *self == Self::EMPTY {
            0..0
        } else {
            self.base..self.base + GUARD_BYTES
        }
    }

    /// Address and size, for the thread that unmaps itself.
    pub fn parts(&self) -> (usize, usize) {
        (self.base, self.bytes)
    }
}

/// A mapping with a fresh block and TLS image, and the place of its packet.
pub struct Memory {
    /// The new thread's block.
    pub block: NonNull<ThreadBlock>,
    /// The packet: `packet_bytes` long, aligned as asked. The stack begins here and grows down.
    pub packet: usize,
}

/// Gives memory for a thread: a cached mapping of the same size, else a new one.
///
/// # Errors
/// ENOMEM, as mmap(2) and mprotect(2), or where the sizes overflow.
pub fn obtain(
    stack_bytes: usize,
    packet_bytes: usize,
    packet_align: usize,
    canary: usize,
) -> Result<Memory, Errno> {
    let layout = image::layout();
    let align = packet_align.max(16);
    let bytes = [GUARD_BYTES, packet_bytes, align, layout.bytes(), PAGE - 1]
        .iter()
        .try_fold(stack_bytes, |sum, part| sum.checked_add(*part))
        .ok_or(Errno::NOMEM)?
        & !(PAGE - 1);
    let mapping = match cache::take(bytes) {
        Some(mapping) => mapping,
        None => map(bytes)?,
    };
    let pointer = layout.thread_pointer_below(mapping.base + mapping.bytes);
    let packet = (pointer - layout.image_offset - packet_bytes) & !(align - 1);
    let block = ptr::with_exposed_provenance_mut::<ThreadBlock>(pointer);
    // SAFETY: the mapping is this call's alone, and large enough for all parts.
    unsafe {
        image::fill(pointer);
        ThreadBlock::create(block, canary, mapping);
        Ok(Memory {
            block: NonNull::new_unchecked(block),
            packet,
        })
    }
}

fn map(bytes: usize) -> Result<Mapping, Errno> {
    let protection = ProtFlags::READ | ProtFlags::WRITE;
    // MAP_STACK keeps huge pages away from it (Linux 6.7).
    let flags = MapFlags::PRIVATE | MapFlags::NORESERVE | MapFlags::STACK;
    // SAFETY: a new mapping: it replaces nothing.
    let start = unsafe { mmap_anonymous(ptr::null_mut(), bytes, protection, flags)? };
    let mapping = Mapping {
        base: start.expose_provenance(),
        bytes,
    };
    // SAFETY: the new mapping's own lowest pages.
    if let Err(errno) = unsafe { mprotect(start, GUARD_BYTES, MprotectFlags::empty()) } {
        // SAFETY: nobody knows the mapping yet.
        unsafe { unmap(mapping) };
        return Err(errno);
    }
    Ok(mapping)
}

/// # Safety
/// Nobody uses the mapping any more.
unsafe fn unmap(mapping: Mapping) {
    let start = ptr::with_exposed_provenance_mut(mapping.base);
    // SAFETY: by the caller's word. It fails only where it would split a mapping at the limit of
    // mappings; the memory is then lost, not wrong.
    let _lost_if_refused = unsafe { munmap(start, mapping.bytes) };
}

/// Takes a thread's memory back.
///
/// # Safety
/// Nobody uses it any more, except that the thread itself may not have left it yet: its tid then
/// still is non-zero, and the kernel clears it.
pub unsafe fn give_back(block: NonNull<ThreadBlock>) {
    // SAFETY: by the caller's word.
    unsafe {
        if let Err(block) = cache::put(block) {
            super::wait_until_gone(block.as_ref());
            unmap(block.as_ref().mapping.get());
        }
    }
}

/// Threads that ended, for reuse. Slots without a lock: whoever swaps a block out owns it.
pub mod cache {
    use super::{AtomicPtr, Mapping, NonNull, Ordering, ThreadBlock, ptr};

    /// Mappings kept at most; with the default stack size 64 MiB of address space.
    pub const SLOTS: usize = 32;
    /// Larger mappings are not kept.
    const LARGEST: usize = 4 << 20;

    static CACHE: [AtomicPtr<ThreadBlock>; SLOTS] =
        [const { AtomicPtr::new(ptr::null_mut()) }; SLOTS];

    /// A mapping of exactly `bytes`, whose thread is gone.
    pub fn take(bytes: usize) -> Option<Mapping> {
        for slot in &CACHE {
            if slot.load(Ordering::Relaxed).is_null() {
                continue;
            }
            let Some(block) = NonNull::new(slot.swap(ptr::null_mut(), Ordering::Acquire)) else {
                continue;
            };
            // SAFETY: swapped out, so it is this call's; `put` got it valid.
            let (gone, mapping) = unsafe {
                (
                    block.as_ref().tid.load(Ordering::Acquire) == 0,
                    block.as_ref().mapping.get(),
                )
            };
            if gone && mapping.bytes == bytes {
                return Some(mapping);
            }
            // SAFETY: what was in the cache may go back to it, or to the kernel.
            unsafe { super::give_back(block) };
        }
        None
    }

    /// Keeps a thread's memory, or returns the block when it is large or there is no room.
    ///
    /// # Safety
    /// As for [`super::give_back`].
    pub unsafe fn put(block: NonNull<ThreadBlock>) -> Result<(), NonNull<ThreadBlock>> {
        // SAFETY: valid by the caller's word.
        if unsafe { block.as_ref() }.mapping.get().bytes > LARGEST {
            return Err(block);
        }
        let empty = ptr::null_mut();
        for slot in &CACHE {
            let (success, failure) = (Ordering::Release, Ordering::Relaxed);
            if slot.load(Ordering::Relaxed).is_null()
                && slot
                    .compare_exchange(empty, block.as_ptr(), success, failure)
                    .is_ok()
            {
                return Ok(());
            }
        }
        Err(block)
    }

    /// In a fork child: forgets threads that had not left their memory when the process forked.
    /// Nobody clears their tids in the child, so they would keep their slots for ever.
    pub fn forget_unfinished() {
        for slot in &CACHE {
            if let Some(block) = NonNull::new(slot.load(Ordering::Acquire)) {
                // SAFETY: the child has one thread, and a cached block is mapped.
                if unsafe { block.as_ref() }.tid.load(Ordering::Relaxed) != 0 {
                    slot.store(ptr::null_mut(), Ordering::Relaxed);
                }
            }
        }
    }
}
