// SPDX-License-Identifier: MIT OR Apache-2.0
//! A push and a pop of many items, and of one where the section for one missed.

use core::mem::MaybeUninit;
use core::ptr::{self, NonNull};

use super::Cache;
use super::slab::{Slab, State};
use crate::access::{ATTEMPTS, Access, Way, own_way, shared_area_offset};
use crate::arch::{self, CPU_ID, MM_CID, Moved, Outcome};
use crate::fence::fence;
use crate::process;
use crate::structures::{NotPut, NotTaken};

/// The class whose word `current` this is. What follows a miss is told that word, which the fast path
/// has in a register, so that a loop over classes counts one thing, not two.
fn class_of<T, const CLASSES: usize, const SLOTS: usize>(
    first: NonNull<Cache<T, CLASSES, SLOTS>>,
    current: NonNull<u64>,
) -> usize {
    (current.addr().get() - first.addr().get()) / size_of::<u64>()
}

#[cold]
#[inline(never)]
pub(super) fn push_one_otherwise<T, const CLASSES: usize, const SLOTS: usize>(
    first: NonNull<Cache<T, CLASSES, SLOTS>>,
    current: NonNull<u64>,
    item: NonNull<T>,
) -> Result<(), NotPut> {
    push_items(first, class_of(first, current), &[item]).map(drop)
}

/// An item, or why there is none: in two registers, which a `Result` of the two is not.
#[cold]
#[inline(never)]
pub(super) fn pop_one_otherwise<T, const CLASSES: usize, const SLOTS: usize>(
    first: NonNull<Cache<T, CLASSES, SLOTS>>,
    current: NonNull<u64>,
) -> (Option<NonNull<T>>, NotTaken) {
    let mut item = [MaybeUninit::uninit()];
    match pop_items(first, class_of(first, current), &mut item) {
        Ok(_) => {
            let [item] = item;
            // SAFETY: one was taken.
            (Some(unsafe { item.assume_init() }), NotTaken::Empty)
        }
        Err(reason) => (None, reason),
    }
}

/// At least one of `items`.
pub(super) fn push_items<T, const CLASSES: usize, const SLOTS: usize>(
    first: NonNull<Cache<T, CLASSES, SLOTS>>,
    class: usize,
    items: &[NonNull<T>],
) -> Result<usize, NotPut> {
    // SAFETY: inside the object.
    let current = unsafe { first.cast::<u64>().add(class) };
    let words = ptr::from_ref(items) as *const [u64];
    let section = |way, access| {
        // SAFETY: the object is alive, and there is an item.
        unsafe {
            match way {
                Way::CpuId => arch::cache_push_batch::<CPU_ID, CLASSES>(current, words, access),
                _ => arch::cache_push_batch::<MM_CID, CLASSES>(current, words, access),
            }
        }
    };
    let missed = |slab: &Slab<T, CLASSES, SLOTS>, way, access| {
        // SAFETY: the object is alive.
        let commit = |slots| unsafe { make_current::<CLASSES>(current, way, slots, access) };
        match slab.state(class) {
            State::Open => Some(NotPut::Full),
            State::Fresh if slab.start(class, commit) => None,
            State::Closed if slab.reopen(class, || fence(-1)) => None,
            State::Fresh | State::Closed => Some(NotPut::Busy),
        }
    };
    if let Some(result) = in_sections(first, section, missed) {
        return result;
    }
    let slab = shared_slab(first);
    let put = || slab.put(class, items);
    slab.lock(class).attempt(put).unwrap_or(Err(NotPut::Busy))
}

/// As many as `items` has room for, at least one.
pub(super) fn pop_items<T, const CLASSES: usize, const SLOTS: usize>(
    first: NonNull<Cache<T, CLASSES, SLOTS>>,
    class: usize,
    items: &mut [MaybeUninit<NonNull<T>>],
) -> Result<usize, NotTaken> {
    // SAFETY: inside the object.
    let current = unsafe { first.cast::<u64>().add(class) };
    let words = ptr::from_mut(items) as *mut [u64];
    let section = |way, access| {
        // SAFETY: the object is alive, and there is room for an item.
        unsafe {
            match way {
                Way::CpuId => arch::cache_pop_batch::<CPU_ID, CLASSES>(current, words, access),
                _ => arch::cache_pop_batch::<MM_CID, CLASSES>(current, words, access),
            }
        }
    };
    let missed = |slab: &Slab<T, CLASSES, SLOTS>, _, _| match slab.state(class) {
        State::Open | State::Fresh => Some(NotTaken::Empty),
        State::Closed if slab.reopen(class, || fence(-1)) => None,
        State::Closed => Some(NotTaken::Busy),
    };
    if let Some(result) = in_sections(first, section, missed) {
        return result;
    }
    let slab = shared_slab(first);
    let take = || {
        let count = slab.held(class).min(items.len());
        if count == 0 {
            return Err(NotTaken::Empty);
        }
        slab.take_locked(class, count, items);
        Ok(count)
    };
    let result = slab.lock(class).attempt(take);
    result.unwrap_or(Err(NotTaken::Busy))
}

/// Tries `section` until it moves items. Where it missed, `missed` says why, or that another try makes
/// sense. `None`: this thread must go to a shared area.
fn in_sections<T, E, const CLASSES: usize, const SLOTS: usize>(
    first: NonNull<Cache<T, CLASSES, SLOTS>>,
    section: impl Fn(Way, Access) -> Moved,
    missed: impl Fn(&Slab<T, CLASSES, SLOTS>, Way, Access) -> Option<E>,
) -> Option<Result<usize, E>> {
    for _ in 0..ATTEMPTS {
        let (way, access) = own_way()?;
        match section(way, access) {
            Moved::Items(count) => return Some(Ok(count)),
            Moved::Refused => {}
            Moved::Missed(offset) => {
                // SAFETY: the copy that the section looked at.
                let slab = unsafe { &first.byte_add(offset).as_ref().slab };
                if let Some(why) = missed(slab, way, access) {
                    return Some(Err(why));
                }
            }
        }
    }
    None
}

/// The copy in the area for this thread's locked operations.
fn shared_slab<'a, T, const CLASSES: usize, const SLOTS: usize>(
    first: NonNull<Cache<T, CLASSES, SLOTS>>,
) -> &'a Slab<T, CLASSES, SLOTS> {
    let offset = shared_area_offset(process::found());
    // SAFETY: that area exists, and has a copy.
    unsafe { &first.byte_add(offset).as_ref().slab }
}

/// Makes this vCPU's `current` of a fresh class the address of its array, `slots`, which stands in
/// `begin` already: by that a section on another vCPU's copy fails.
///
/// # Safety
/// `current` is as for the sections.
unsafe fn make_current<const CLASSES: usize>(
    current: NonNull<u64>,
    way: Way,
    slots: u64,
    access: Access,
) -> bool {
    // SAFETY: by the caller's word; `begin` is inside the object too.
    let outcome = unsafe {
        let begin = (current.add(2 * CLASSES), slots);
        match way {
            Way::CpuId => {
                arch::compare_equal_compare_equal_store::<CPU_ID>(current, 0, begin, slots, access)
            }
            _ => {
                arch::compare_equal_compare_equal_store::<MM_CID>(current, 0, begin, slots, access)
            }
        }
    };
    outcome == Outcome::Committed
}
