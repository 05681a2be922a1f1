// SPDX-License-Identifier: MIT OR Apache-2.0
//! Draining and resizing: what any thread may do to any area's copy of a cache.

use core::mem::MaybeUninit;
use core::ptr::NonNull;

use rustix::io::Errno;
use vcpu_abi::Mode;

use super::{Cache, slab};
use crate::fence::fence;
use crate::object::Local;
use crate::process;

impl<T, const CLASSES: usize, const SLOTS: usize> Local<Cache<T, CLASSES, SLOTS>> {
    /// Takes the last items of a class out of one area: a vCPU's below `nr_vcpus`, or the last one; as
    /// many as there are and `items` has room for, in the order in which they were put there. Operations
    /// of that vCPU on the class are busy meanwhile.
    ///
    /// # Errors
    /// EINVAL: there is no such area. EBUSY: somebody else drains or resizes it, or is in the middle of
    /// an operation on a shared area. ENOSYS, EPERM: [`fence`]'s. Nothing was changed.
    ///
    /// # Panics
    /// When `class` is not below `CLASSES`.
    pub fn drain<'a>(
        &self,
        area: u32,
        class: usize,
        items: &'a mut [MaybeUninit<NonNull<T>>],
    ) -> Result<&'a mut [NonNull<T>], Errno> {
        let room = items.len();
        self.change(area, class, items, |held, capacity| {
            Ok((held.min(room), capacity))
        })
    }

    /// Gives a class in one area room for `capacity` items. What there is no more room for goes to
    /// `items`, as by [`drain`](Self::drain).
    ///
    /// # Errors
    /// As for [`drain`](Self::drain); EINVAL also: `capacity` is above `SLOTS`; ENOBUFS: `items` has no room
    /// for what must go. Nothing was changed.
    ///
    /// # Panics
    /// When `class` is not below `CLASSES`.
    pub fn resize<'a>(
        &self,
        area: u32,
        class: usize,
        capacity: usize,
        items: &'a mut [MaybeUninit<NonNull<T>>],
    ) -> Result<&'a mut [NonNull<T>], Errno> {
        if capacity > SLOTS {
            return Err(Errno::INVAL);
        }
        let room = items.len();
        self.change(area, class, items, |held, _| {
            let excess = held.saturating_sub(capacity);
            if excess > room {
                return Err(Errno::NOBUFS);
            }
            Ok((excess, capacity))
        })
    }

    /// Takes items out of one area, and sets its capacity: `decide` says how many, and which, from how
    /// many there are and what it is.
    fn change<'a>(
        &self,
        area: u32,
        class: usize,
        items: &'a mut [MaybeUninit<NonNull<T>>],
        decide: impl FnOnce(usize, usize) -> Result<(usize, usize), Errno>,
    ) -> Result<&'a mut [NonNull<T>], Errno> {
        assert!(class < CLASSES, "there is no such class");
        let copy = self.copy(area).ok_or(Errno::INVAL)?;
        let found = process::found();
        let has_sections = found.mode != Mode::Shared && area < found.nr_vcpus;
        // SAFETY: the copy is alive as the object is.
        let slab = unsafe { &copy.as_ref().slab };
        let stop = || if has_sections { fence(-1) } else { Ok(()) };
        let change = || {
            slab.close(class, stop)?;
            let decided = decide(slab.held(class), slab.capacity(class));
            let (count, capacity) = decided.inspect_err(|_| slab.open(class))?;
            slab.take(class, count, capacity, items, stop)?;
            Ok(count)
        };
        let count = slab
            .lock(class)
            .attempt(change)
            .unwrap_or(Err(Errno::BUSY))?;
        // SAFETY: so many were taken, from the first on.
        Ok(unsafe { slab::written(items, count) })
    }
}
