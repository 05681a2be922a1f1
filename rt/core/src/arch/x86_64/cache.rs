// SPDX-License-Identifier: MIT OR Apache-2.0
//! Critical sections of [`crate::structures::Cache`]: an array of pointers per class and area.
//!
//! For each class an area has three words, all addresses: `current` (behind the last item), and at
//! `8 * CLASSES` and `16 * CLASSES` bytes from it `end` and `begin` of the array. Of these sections
//! write `current` only. Whoever stops them writes `end` and `begin`, and the sign bit of every item, so
//! that the tests fail that a push and a pop make anyway: no instruction is spent on a flag.
//!
//! A pop of one item does not load `begin`: beneath the first slot stands a null pointer. Memory accesses
//! bound these sections, not instructions (docs/benchmarks.md, cache).
//!
//! The sections of single items are the fast path, and tell by one register or a jump whether they
//! committed. Those of many items tell what was in the way, and do for single items what the fast
//! path could not.

use core::ptr::NonNull;

use super::MM_CID;
use super::section_on_copies::section_on_copies;
use crate::access::Access;
use crate::critical_section;

/// Puts `item` behind the last one, and tells whether it did: not where the array is full or
/// stopped, after an abort, nor in a thread without a valid mm_cid.
///
/// # Safety
/// `current` is the word of a class in vCPU 0's copy of a live cache with so many classes. `%fs` points to a
/// thread block of vcpu-rt.
#[inline(always)]
pub unsafe fn cache_push<const CLASSES: usize>(
    current: NonNull<u64>,
    item: u64,
    access: Access,
) -> bool {
    // SAFETY: memory is touched at rseq_cs, at the copy's words and, below `end`, at its array. The
    // slot behind the last item belongs to nobody until the commit.
    unsafe {
        section_on_copies!(
            (const MM_CID), access, refused: "{missed}",
            code: [
                "mov {slot}, [{current} + {index}]",
                "cmp {slot}, [{current} + {index} + {end}]",
                "jae {missed}",
                "mov [{slot}], {item}",
                "add {slot}, 8",
            ],
            commit: "mov [{current} + {index}], {slot}",
            abort: ["jmp {missed}"],
            index = out(reg) _,
            slot = out(reg) _,
            end = const 8 * CLASSES,
            current = in(reg) current.as_ptr(),
            item = in(reg) item,
            missed = label { return false },
        )
    }
    true
}

/// As [`cache_push`] where the kernel loads the GS base.
///
/// # Safety
/// As for [`cache_push`]; the GS mode is on.
#[inline(always)]
pub unsafe fn cache_push_gs<const CLASSES: usize>(
    current: NonNull<u64>,
    item: u64,
    access: Access,
) -> bool {
    // SAFETY: as for `cache_push`. A thread that is not registered would not be restarted, so it is
    // kept out by its mm_cid, all ones.
    unsafe {
        critical_section!(
            place: access.place(),
            code: [
                "cmp dword ptr fs:[{rseq} + {id}], {bound:e}",
                "jae {missed}",
                "mov {slot}, gs:[{current}]",
                "cmp {slot}, gs:[{current} + {end}]",
                "jae {missed}",
                "mov [{slot}], {item}",
                "add {slot}, 8",
            ],
            commit: "mov gs:[{current}], {slot}",
            abort: ["jmp {missed}"],
            slot = out(reg) _,
            id = const MM_CID,
            end = const 8 * CLASSES,
            current = in(reg) current.as_ptr(),
            item = in(reg) item,
            bound = in(reg) access.bound(),
            missed = label { return false },
        )
    }
    true
}

/// Takes the last item. 0: none was taken, since there is none, or as [`cache_push`] fails.
///
/// # Safety
/// As for [`cache_push`].
#[inline(always)]
pub unsafe fn cache_pop(current: NonNull<u64>, access: Access) -> u64 {
    let item: u64;
    // SAFETY: as for `cache_push`. `current` is 0, where the class is fresh, or behind a slot: the
    // one beneath the first is null for ever, and those with the sign bit are no items.
    unsafe {
        section_on_copies!(
            (const MM_CID), access, refused: "775f",
            code: [
                "mov {slot}, [{current} + {index}]",
                "sub {slot}, 8",
                "jb 775f",
                "mov {item}, [{slot}]",
                "test {item}, {item}",
                "jle 775f",
            ],
            commit: "mov [{current} + {index}], {slot}",
            abort: ["775:", "xor {item:e}, {item:e}", "jmp 772b"],
            index = out(reg) _,
            slot = out(reg) _,
            item = out(reg) item,
            current = in(reg) current.as_ptr(),
        )
    }
    item
}

/// As [`cache_pop`] where the kernel loads the GS base.
///
/// # Safety
/// As for [`cache_push_gs`].
#[inline(always)]
pub unsafe fn cache_pop_gs(current: NonNull<u64>, access: Access) -> u64 {
    let item: u64;
    // SAFETY: as for `cache_push_gs` and `cache_pop`.
    unsafe {
        critical_section!(
            place: access.place(),
            code: [
                "cmp dword ptr fs:[{rseq} + {id}], {bound:e}",
                "jae 775f",
                "mov {slot}, gs:[{current}]",
                "sub {slot}, 8",
                "jb 775f",
                "mov {item}, [{slot}]",
                "test {item}, {item}",
                "jle 775f",
            ],
            commit: "mov gs:[{current}], {slot}",
            abort: ["775:", "xor {item:e}, {item:e}", "jmp 772b"],
            slot = out(reg) _,
            item = out(reg) item,
            id = const MM_CID,
            current = in(reg) current.as_ptr(),
            bound = in(reg) access.bound(),
        )
    }
    item
}

/// How one try to move many items ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moved {
    /// So many items were moved, at least one.
    Items(usize),
    /// A comparison failed in the copy so many bytes from vCPU 0's.
    Missed(usize),
    /// It was aborted, or this thread has no valid id.
    Refused,
}

impl Moved {
    fn new(bytes: usize, index: usize) -> Self {
        match (bytes, index) {
            (0, usize::MAX) => Self::Refused,
            (0, _) => Self::Missed(index),
            _ => Self::Items(bytes / 8),
        }
    }
}

/// Puts items behind the last one, from the first of `items` on, as many as there is room for.
///
/// # Safety
/// As for [`cache_push`], whichever id `ID` is of. `items` has at least one.
#[inline(always)]
pub unsafe fn cache_push_batch<const ID: usize, const CLASSES: usize>(
    current: NonNull<u64>,
    items: *const [u64],
    access: Access,
) -> Moved {
    let (moved, index): (usize, usize);
    // SAFETY: as for `cache_push`; what is behind the last item belongs to nobody until the commit.
    unsafe {
        section_on_copies!(
            (const ID), access, refused: "775f",
            code: [
                "mov {slot}, [{current} + {index}]",
                "mov {moved}, [{current} + {index} + {end}]",
                "sub {moved}, {slot}",
                "jbe 776f",
                "cmp {moved}, {bytes}",
                "cmova {moved}, {bytes}",
                "mov {left}, {moved}",
                "20:",
                "mov {item}, [{items} + {left} - 8]",
                "mov [{slot} + {left} - 8], {item}",
                "sub {left}, 8",
                "jne 20b",
                "add {slot}, {moved}",
            ],
            commit: "mov [{current} + {index}], {slot}",
            abort: ["775:", "mov {index}, -1", "776:", "xor {moved:e}, {moved:e}", "jmp 772b"],
            index = out(reg) index,
            moved = out(reg) moved,
            slot = out(reg) _,
            left = out(reg) _,
            item = out(reg) _,
            end = const 8 * CLASSES,
            current = in(reg) current.as_ptr(),
            items = in(reg) items.cast::<u64>(),
            bytes = in(reg) 8 * items.len(),
        )
    }
    Moved::new(moved, index)
}

/// Takes the last items, as many as `items` has room for, in the order in which they were put there.
/// `items` may be written although none is taken.
///
/// # Safety
/// As for [`cache_push_batch`]; `items` may be written.
#[inline(always)]
pub unsafe fn cache_pop_batch<const ID: usize, const CLASSES: usize>(
    current: NonNull<u64>,
    items: *mut [u64],
    access: Access,
) -> Moved {
    let (moved, index): (usize, usize);
    // SAFETY: as for `cache_push`; between `begin` and `current` there are items.
    unsafe {
        section_on_copies!(
            (const ID), access, refused: "775f",
            code: [
                "mov {slot}, [{current} + {index}]",
                "mov {moved}, {slot}",
                "sub {moved}, [{current} + {index} + {begin}]",
                "jbe 776f",
                "cmp {moved}, {bytes}",
                "cmova {moved}, {bytes}",
                "mov {left}, {moved}",
                "sub {slot}, {moved}",
                "20:",
                "mov {item}, [{slot} + {left} - 8]",
                "mov [{items} + {left} - 8], {item}",
                "sub {left}, 8",
                "jne 20b",
            ],
            commit: "mov [{current} + {index}], {slot}",
            abort: ["775:", "mov {index}, -1", "776:", "xor {moved:e}, {moved:e}", "jmp 772b"],
            index = out(reg) index,
            moved = out(reg) moved,
            slot = out(reg) _,
            left = out(reg) _,
            item = out(reg) _,
            begin = const 16 * CLASSES,
            current = in(reg) current.as_ptr(),
            items = in(reg) items.cast::<u64>(),
            bytes = in(reg) 8 * items.len(),
        )
    }
    Moved::new(moved, index)
}
