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
use crate::word::Word;

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

// SAFETY: transparent, and its type keeps other writers away.
unsafe impl<T: Value> Word for Single<T> {
    type Value = T;

    #[inline(always)]
    fn run<O>(word: &Local<Self>, update: impl Fn(Way, NonNull<T::Raw>, Access) -> Option<O>) -> O {
        // SAFETY: the object is alive while it is borrowed, and its type keeps other writers away.
        // Threads of the runtime have its blocks; an object exists only once it started.
        unsafe { run_single(word.first().cast(), word.access(), update) }
    }
}

impl<T: Integer> Local<Single<T>> {
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
        // SAFETY: by `run`'s contract with the ways.
        Single::run(self, move |way, word, access| unsafe {
            Raw::and(way, word, value, access)
        });
    }

    /// Ors with `value`.
    #[inline(always)]
    pub fn or(&self, value: T) {
        let value = value.to_raw();
        // SAFETY: by `run`'s contract with the ways.
        Single::run(self, move |way, word, access| unsafe {
            Raw::or(way, word, value, access)
        });
    }

    /// Exclusive-ors with `value`.
    #[inline(always)]
    pub fn xor(&self, value: T) {
        let value = value.to_raw();
        // SAFETY: by `run`'s contract with the ways.
        Single::run(self, move |way, word, access| unsafe {
            Raw::xor(way, word, value, access)
        });
    }
}
