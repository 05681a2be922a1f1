// SPDX-License-Identifier: MIT OR Apache-2.0
//! Caches of pointers: what TCMalloc's per-CPU slab is, for any program.

mod batch;
mod drain_and_resize;
mod slab;

use core::mem::MaybeUninit;
use core::ptr::{self, NonNull};

use self::batch::{pop_items, pop_one_otherwise, push_items, push_one_otherwise};
use self::slab::Slab;
use super::{NotPut, NotTaken};
use crate::arch;
use crate::object::{Local, Object};

/// For each of `CLASSES` classes an array of up to `SLOTS` pointers on each vCPU, last in, first
/// out. What the pointers point to is never touched.
///
/// A class has room for `SLOTS` pointers on each vCPU until [`resize`](Local::resize) says something
/// else. Memory is touched when something is put there.
#[repr(transparent)]
pub struct Cache<T, const CLASSES: usize, const SLOTS: usize> {
    slab: Slab<T, CLASSES, SLOTS>,
}

// SAFETY: all bytes zero: no item, and no room until a slow path makes some.
unsafe impl<T, const CLASSES: usize, const SLOTS: usize> Object for Cache<T, CLASSES, SLOTS> {}

impl<T, const CLASSES: usize, const SLOTS: usize> Local<Cache<T, CLASSES, SLOTS>> {
    /// Puts `item` behind the others of its class on this vCPU.
    ///
    /// # Errors
    /// [`NotPut`]: the item is still the caller's.
    ///
    /// # Panics
    /// When `class` is not below `CLASSES`; when the address of `item` has its highest bit set, as none of a
    /// user's has.
    #[inline(always)]
    pub fn push(&self, class: usize, item: NonNull<T>) -> Result<(), NotPut> {
        assert!(is_address(item), "{NO_ADDRESS}");
        let (current, access) = (self.current(class), self.access());
        let raw = item.as_ptr().expose_provenance() as u64;
        // SAFETY: the object is alive while it is borrowed, and the class one of its classes. Threads of
        // the runtime have its blocks; an object exists only once it started.
        let is_done = unsafe {
            if access.is_gs() {
                arch::cache_push_gs::<CLASSES>(current, raw, access)
            } else {
                arch::cache_push::<CLASSES>(current, raw, access)
            }
        };
        if is_done {
            return Ok(());
        }
        push_one_otherwise(self.first(), current, item)
    }

    /// Takes the last item of a class on this vCPU.
    ///
    /// # Errors
    /// [`NotTaken`].
    ///
    /// # Panics
    /// When `class` is not below `CLASSES`.
    #[inline(always)]
    pub fn pop(&self, class: usize) -> Result<NonNull<T>, NotTaken> {
        let (current, access) = (self.current(class), self.access());
        // SAFETY: as for `push`.
        let raw = unsafe {
            if access.is_gs() {
                arch::cache_pop_gs(current, access)
            } else {
                arch::cache_pop(current, access)
            }
        };
        match NonNull::new(ptr::with_exposed_provenance_mut(raw as usize)) {
            Some(item) => Ok(item),
            None => {
                let (item, reason) = pop_one_otherwise(self.first(), current);
                item.ok_or(reason)
            }
        }
    }

    /// Puts items behind the others of their class on this vCPU, from the first of `items` on, and
    /// returns how many: as many as there is room for.
    ///
    /// # Errors
    /// [`NotPut`], when it is none of at least one.
    ///
    /// # Panics
    /// As for [`push`](Self::push).
    pub fn push_batch(&self, class: usize, items: &[NonNull<T>]) -> Result<usize, NotPut> {
        assert!(class < CLASSES, "there is no such class");
        assert!(items.iter().copied().all(is_address), "{NO_ADDRESS}");
        if items.is_empty() {
            return Ok(0);
        }
        push_items(self.first(), class, items)
    }

    /// Takes the last items of a class on this vCPU, as many as there are and `items` has room for, and
    /// returns them in the order in which they were put there.
    ///
    /// # Errors
    /// [`NotTaken`], when it is none although there is room for one.
    ///
    /// # Panics
    /// When `class` is not below `CLASSES`.
    pub fn pop_batch<'a>(
        &self,
        class: usize,
        items: &'a mut [MaybeUninit<NonNull<T>>],
    ) -> Result<&'a mut [NonNull<T>], NotTaken> {
        assert!(class < CLASSES, "there is no such class");
        if items.is_empty() {
            return Ok(&mut []);
        }
        let count = pop_items(self.first(), class, items)?;
        // SAFETY: so many were taken, from the first on.
        Ok(unsafe { slab::written(items, count) })
    }

    /// How many items of a class an area holds, and for how many it has room, at some time. `None`
    /// above the last area.
    ///
    /// # Panics
    /// When `class` is not below `CLASSES`.
    #[must_use]
    pub fn held(&self, area: u32, class: usize) -> Option<(usize, usize)> {
        assert!(class < CLASSES, "there is no such class");
        // SAFETY: the copy is alive as the object is.
        let cache = unsafe { self.copy(area)?.as_ref() };
        Some((cache.slab.held(class), cache.slab.capacity(class)))
    }

    /// The word `current` of a class in vCPU 0's copy.
    #[inline(always)]
    fn current(&self, class: usize) -> NonNull<u64> {
        assert!(class < CLASSES, "there is no such class");
        // SAFETY: a class's, so inside the object.
        unsafe { self.first().cast::<u64>().add(class) }
    }
}

const NO_ADDRESS: &str = "an item's address has its highest bit set";

/// Whether the highest bit is free for the cache's own use.
#[inline(always)]
fn is_address<T>(item: NonNull<T>) -> bool {
    item.addr().get() & slab::MARK == 0
}
