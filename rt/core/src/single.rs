// SPDX-License-Identifier: MIT OR Apache-2.0
//! Words of the *single* kind: each update is one instruction where the kernel loads the GS base.
//!
//! Every operation acts on one vCPU's copy: that of the vCPU on which the thread runs at the instant
//! of the update. It is never lost and never made twice, whatever signals, preemption and migration
//! do. A thread without registration, or one whose section is aborted without end, acts on the last
//! area by a locked instruction, except in gs mode.
//!
//! Ordering: all are relaxed as far as this module promises. (On x86-64 each is in program order
//! with the thread's other loads and stores as every unlocked instruction is; no update is
//! a full barrier.)

use core::cell::UnsafeCell;
use core::marker::PhantomData;
use core::ptr::NonNull;

use crate::access::{Access, Way, run_single};
use crate::arch::Raw;
use crate::object::{Local, Object};
use crate::value::{Integer, Value};

/// A word of the *single* kind: changed only by one update at a time, on the caller's own vCPU, and
/// only read by others. It cannot be reset from outside: subtract an earlier sum instead. It cannot
/// be taken away by another thread either: that is what [`crate::section::Section`] is for.
///
/// A word keeps its kind for life, so the kind is its type.
#[repr(transparent)]
pub struct Single<T = u64> {
    value: UnsafeCell<T>,
    /// Copies are reached by address alone.
    kind: PhantomData<*mut T>,
}

// SAFETY: words of any value are valid as zero.
unsafe impl<T: Value> Object for Single<T> {}

impl<T: Value> Local<Single<T>> {
    /// Runs one update by the fastest way.
    #[inline(always)]
    fn run<O>(&self, update: impl Fn(Way, NonNull<T::Raw>, Access) -> Option<O>) -> O {
        // SAFETY: the object is alive while it is borrowed, and its type keeps other writers away.
        // Threads of the runtime have its blocks; an object exists only once it started.
        unsafe { run_single(self.first().cast(), self.access(), update) }
    }

    /// This vCPU's value.
    #[inline(always)]
    pub fn load(&self) -> T {
        // SAFETY: by `run`'s contract with the ways.
        T::from_raw(self.run(move |way, word, access| unsafe { Raw::load(way, word, access) }))
    }

    /// Writes `value` to this vCPU's copy.
    #[inline(always)]
    pub fn store(&self, value: T) {
        let value = value.to_raw();
        // SAFETY: as for `load`.
        self.run(move |way, word, access| unsafe { Raw::store(way, word, value, access) });
    }

    /// Writes `value` and returns what was there before.
    #[inline(always)]
    pub fn exchange(&self, value: T) -> T {
        let value = value.to_raw();
        // SAFETY: as for `load`.
        T::from_raw(
            self.run(move |way, word, access| unsafe { Raw::exchange(way, word, value, access) }),
        )
    }

    /// Writes `new` if this vCPU's copy is `old`.
    ///
    /// # Errors
    /// What is there instead; nothing was written.
    #[inline(always)]
    pub fn compare_exchange(&self, old: T, new: T) -> Result<T, T> {
        let (old, new) = (old.to_raw(), new.to_raw());
        // SAFETY: as for `load`.
        let before = self.run(move |way, word, access| unsafe {
            Raw::compare_exchange(way, word, old, new, access)
        });
        if before == old {
            Ok(T::from_raw(before))
        } else {
            Err(T::from_raw(before))
        }
    }

    /// The copy in one area: a vCPU's below `nr_vcpus`, or the last one. `None` above. Its vCPU may
    /// change it meanwhile.
    #[must_use]
    pub fn read(&self, area: u32) -> Option<T> {
        self.copy(area).map(read_copy)
    }

    /// The values of the areas that can hold anything, each with its area's number.
    pub fn values(&self) -> impl Iterator<Item = (u32, T)> {
        self.copies().map(|(area, copy)| (area, read_copy(copy)))
    }
}

impl<T: Integer> Local<Single<T>> {
    /// Adds `value`, wrapping.
    #[inline(always)]
    pub fn add(&self, value: T) {
        let value = value.to_raw();
        // SAFETY: as for `load`.
        self.run(move |way, word, access| unsafe { Raw::add(way, word, value, access) });
    }

    /// Subtracts `value`, wrapping.
    #[inline(always)]
    pub fn sub(&self, value: T) {
        self.add(value.negative());
    }

    /// Adds 1, wrapping.
    #[inline(always)]
    pub fn inc(&self) {
        self.add(T::ONE);
    }

    /// Subtracts 1, wrapping.
    #[inline(always)]
    pub fn dec(&self) {
        self.add(T::ONE.negative());
    }

    /// Ands with `value`.
    #[inline(always)]
    pub fn and(&self, value: T) {
        let value = value.to_raw();
        // SAFETY: as for `load`.
        self.run(move |way, word, access| unsafe { Raw::and(way, word, value, access) });
    }

    /// Ors with `value`.
    #[inline(always)]
    pub fn or(&self, value: T) {
        let value = value.to_raw();
        // SAFETY: as for `load`.
        self.run(move |way, word, access| unsafe { Raw::or(way, word, value, access) });
    }

    /// Exclusive-ors with `value`.
    #[inline(always)]
    pub fn xor(&self, value: T) {
        let value = value.to_raw();
        // SAFETY: as for `load`.
        self.run(move |way, word, access| unsafe { Raw::xor(way, word, value, access) });
    }

    /// Adds `value`, wrapping, and returns the sum: this vCPU's copy after the addition.
    #[inline(always)]
    pub fn add_return(&self, value: T) -> T {
        let raw = value.to_raw();
        // SAFETY: as for `load`.
        let before =
            self.run(move |way, word, access| unsafe { Raw::fetch_add(way, word, raw, access) });
        T::from_raw(before).plus(value)
    }

    /// The sum over all areas, wrapping. Exact when nobody adds meanwhile; otherwise some sum of
    /// the additions before the call and any part of those during it.
    #[must_use]
    pub fn sum(&self) -> T {
        self.values()
            .fold(T::ZERO, |sum, (_, value)| sum.plus(value))
    }
}

/// One load of one copy.
fn read_copy<T: Value>(copy: NonNull<Single<T>>) -> T {
    // SAFETY: the object is alive while it is borrowed. Volatile, and the size of a word: one load,
    // which its vCPU's instructions do not tear.
    unsafe { copy.cast::<T>().read_volatile() }
}
