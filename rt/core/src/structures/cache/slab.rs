// SPDX-License-Identifier: MIT OR Apache-2.0
//! One vCPU's copy of a cache, as those see it who hold the lock of a class.

use core::mem::{MaybeUninit, offset_of};
use core::ptr::NonNull;
use core::slice;
use core::sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize, Ordering};

use rustix::io::Errno;

use super::super::NotPut;
use crate::access::TryLock;

/// The words of each class are addresses in its array, or as [`State`] says.
#[repr(C)]
pub(super) struct Slab<T, const CLASSES: usize, const SLOTS: usize> {
    /// Behind the last item. Sections write it, and who stopped them.
    current: [AtomicU64; CLASSES],
    /// What a push must stay below.
    end: [AtomicU64; CLASSES],
    /// What a pop of many must stay above.
    begin: [AtomicU64; CLASSES],
    /// Items that there is room for, once `current` is not 0.
    capacity: [AtomicUsize; CLASSES],
    locks: [TryLock; CLASSES],
    arrays: [Array<T, SLOTS>; CLASSES],
}

/// The items of a class. Those with the highest bit, which no address of a user has, are there but are
/// not given to pops.
#[repr(C)]
struct Array<T, const SLOTS: usize> {
    /// Null for ever: below it pops of one item do not go.
    floor: AtomicPtr<T>,
    slots: [AtomicPtr<T>; SLOTS],
}

/// What sections find in `begin` and `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Never used, or not wholly prepared: `end` is 0, so nothing can be put there.
    Fresh,
    /// The bounds of the array.
    Open,
    /// Stopped: nothing is above `begin`.
    Closed,
}

/// `begin` while sections are stopped.
const CLOSED: u64 = u64::MAX;

/// In items while pops of one are stopped.
pub(super) const MARK: usize = 1 << (usize::BITS - 1);

impl<T, const CLASSES: usize, const SLOTS: usize> Slab<T, CLASSES, SLOTS> {
    /// What the sections count on (`arch/x86_64/cache.rs`).
    const LAYOUT: () = {
        assert!(CLASSES > 0 && SLOTS > 0);
        assert!(offset_of!(Self, current) == 0);
        assert!(offset_of!(Self, end) == 8 * CLASSES);
        assert!(offset_of!(Self, begin) == 16 * CLASSES);
    };

    pub(super) fn lock(&self, class: usize) -> &TryLock {
        const { Self::LAYOUT };
        &self.locks[class]
    }

    /// The address of the first slot.
    fn slots(&self, class: usize) -> u64 {
        self.arrays[class].slots.as_ptr().expose_provenance() as u64
    }

    fn current(&self, class: usize) -> u64 {
        self.current[class].load(Ordering::Acquire)
    }

    pub(super) fn held(&self, class: usize) -> usize {
        match self.current(class) {
            0 => 0,
            current => (current - self.slots(class)) as usize / 8,
        }
    }

    pub(super) fn capacity(&self, class: usize) -> usize {
        match self.current(class) {
            0 => SLOTS,
            _ => self.capacity[class].load(Ordering::Relaxed),
        }
    }

    pub(super) fn state(&self, class: usize) -> State {
        if self.begin[class].load(Ordering::Acquire) == CLOSED {
            State::Closed
        } else if self.end[class].load(Ordering::Acquire) == 0 {
            State::Fresh
        } else {
            State::Open
        }
    }

    /// Stops all sections. The caller holds the lock, as for all that follow.
    ///
    /// # Errors
    /// The fence's; then the class is open as before.
    pub(super) fn close(
        &self,
        class: usize,
        fence: impl Fn() -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        // From here on sections fail that have not yet compared; after the fence none is left that has.
        self.begin[class].store(CLOSED, Ordering::Release);
        self.end[class].store(0, Ordering::Release);
        let stop_pops = || {
            // Now nobody writes slots, and only pops of one item go on, to which the same happens.
            if self.held(class) == 0 {
                return Ok(());
            }
            self.change_items(class, |address| address | MARK);
            fence().inspect_err(|_| self.unmark(class))
        };
        fence()
            .and_then(|()| stop_pops())
            .inspect_err(|_| self.set_bounds(class))
    }

    fn unmark(&self, class: usize) {
        self.change_items(class, |address| address & !MARK);
    }

    /// Changes the addresses of what a class holds, or held when this began, while nobody else writes slots.
    fn change_items(&self, class: usize, change: impl Fn(usize) -> usize) {
        for slot in &self.arrays[class].slots[..self.held(class)] {
            let item = slot.load(Ordering::Relaxed);
            slot.store(item.map_addr(&change), Ordering::Release);
        }
    }

    /// Lets sections in again, to what `current` and the capacity say. If `current` was written
    /// meanwhile there was a fence since: a section that read it before must not get here.
    pub(super) fn open(&self, class: usize) {
        self.unmark(class);
        self.set_bounds(class);
    }

    fn set_bounds(&self, class: usize) {
        let (begin, end) = match self.current(class) {
            0 => (0, 0),
            _ => (self.slots(class), self.end_of(class)),
        };
        self.end[class].store(end, Ordering::Release);
        self.begin[class].store(begin, Ordering::Release);
    }

    fn end_of(&self, class: usize) -> u64 {
        self.slots(class) + 8 * self.capacity(class) as u64
    }

    /// Prepares a fresh class of the caller's own vCPU. `commit` makes `current` of this copy the array's
    /// address where it is 0, in a section: one that read the 0 is of the same vCPU, so it was
    /// aborted. Returns false when somebody else is at work here.
    pub(super) fn start(&self, class: usize, commit: impl FnOnce(u64) -> bool) -> bool {
        let prepare = || {
            if self.state(class) != State::Fresh {
                return;
            }
            let slots = self.slots(class);
            // First: of many, pops go by it.
            self.begin[class].store(slots, Ordering::Release);
            if self.current(class) == 0 {
                self.capacity[class].store(SLOTS, Ordering::Release);
                if !commit(slots) {
                    // The thread was moved or interrupted. It is still fresh.
                    return;
                }
            }
            self.end[class].store(self.end_of(class), Ordering::Release);
        };
        self.lock(class).attempt(prepare).is_some()
    }

    /// Opens what was closed by somebody who is not there: a thread of the parent of this process, or
    /// one whose second fence was refused. Returns false when it stays closed.
    pub(super) fn reopen(&self, class: usize, fence: impl FnOnce() -> Result<(), Errno>) -> bool {
        let open = || {
            let is_closed = self.state(class) == State::Closed;
            if is_closed && fence().is_err() {
                return false;
            }
            if is_closed {
                self.open(class);
            }
            true
        };
        self.lock(class).attempt(open).unwrap_or(false)
    }

    /// Takes the last `count` items of a closed class, gives it room for `capacity`, and opens it.
    ///
    /// # Errors
    /// The fence's. Nothing was taken, and the class stays closed: a section may have read what
    /// `current` was for a moment.
    pub(super) fn take(
        &self,
        class: usize,
        count: usize,
        capacity: usize,
        items: &mut [MaybeUninit<NonNull<T>>],
        fence: impl FnOnce() -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        let before = (self.current(class), self.capacity(class));
        let is_used = before.0 != 0 || capacity != SLOTS;
        // Before `current`: with that the class counts as used.
        self.capacity[class].store(capacity, Ordering::Release);
        if count > 0 {
            self.take_locked(class, count, items);
        } else if before.0 == 0 && is_used {
            self.current[class].store(self.slots(class), Ordering::Release);
        }
        if self.current(class) != before.0
            && let Err(errno) = fence()
        {
            self.current[class].store(before.0, Ordering::Release);
            self.capacity[class].store(before.1, Ordering::Release);
            return Err(errno);
        }
        self.open(class);
        Ok(())
    }

    /// Takes the last `count` items where there are no sections. There are so many.
    pub(super) fn take_locked(
        &self,
        class: usize,
        count: usize,
        items: &mut [MaybeUninit<NonNull<T>>],
    ) {
        let left = self.held(class) - count;
        let taken = &self.arrays[class].slots[left..left + count];
        for (slot, item) in taken.iter().zip(items) {
            let pointer = slot
                .load(Ordering::Relaxed)
                .map_addr(|address| address & !MARK);
            // SAFETY: sections and `put` put only items there, which are not null.
            item.write(unsafe { NonNull::new_unchecked(pointer) });
        }
        // The commit, here as in sections: a fork before it finds the items in the cache, one after it
        // with the caller.
        let current = self.slots(class) + 8 * left as u64;
        self.current[class].store(current, Ordering::Release);
    }

    /// Puts items where there are no sections, as many as there is room for, at least one.
    pub(super) fn put(&self, class: usize, items: &[NonNull<T>]) -> Result<usize, NotPut> {
        if self.current(class) == 0 {
            self.capacity[class].store(SLOTS, Ordering::Release);
            self.current[class].store(self.slots(class), Ordering::Release);
        }
        let held = self.held(class);
        let count = items.len().min(self.capacity(class).saturating_sub(held));
        if count == 0 {
            return Err(NotPut::Full);
        }
        for (slot, item) in self.arrays[class].slots[held..].iter().zip(&items[..count]) {
            slot.store(item.as_ptr(), Ordering::Relaxed);
        }
        let current = self.slots(class) + 8 * (held + count) as u64;
        self.current[class].store(current, Ordering::Release);
        Ok(count)
    }
}

/// The first `count` of `items`.
///
/// # Safety
/// They were written.
pub(super) unsafe fn written<T>(
    items: &mut [MaybeUninit<NonNull<T>>],
    count: usize,
) -> &mut [NonNull<T>] {
    let items = &mut items[..count];
    // SAFETY: by the caller's word; the same layout.
    unsafe { slice::from_raw_parts_mut(items.as_mut_ptr().cast(), count) }
}
