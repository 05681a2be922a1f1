// SPDX-License-Identifier: MIT OR Apache-2.0
//! Typed per-vCPU objects.

use core::marker::PhantomData;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU64, Ordering};

use rustix::io::Errno;

use crate::section::{self, Access};
use crate::{areas, process};

/// A word of the *single* kind: changed only by one addition at a time, on the caller's own vCPU,
/// and only read by others. It cannot be reset: subtract an earlier sum instead.
///
/// A word keeps its kind for life, so the kind is its type.
#[repr(transparent)]
pub struct Single(AtomicU64);

/// What may live in the areas.
///
/// # Safety
/// All bytes zero is a valid value, which needs no drop; the type consists of words that know how
/// to be updated; its alignment is at most `areas::MAX_ALIGN`.
pub unsafe trait Object {}

// SAFETY: a zero word is a zero count.
unsafe impl Object for Single {}
// SAFETY: as its elements.
unsafe impl<T: Object, const N: usize> Object for [T; N] {}

/// One object of type `T` per vCPU, freed when the handle is dropped.
///
/// Any thread and any signal handler may use it at the same time.
pub struct PerVcpu<T: Object> {
    /// vCPU 0's copy.
    first: NonNull<T>,
    access: Access,
}

// SAFETY: the handle is an address; all access goes through sections and atomics.
unsafe impl<T: Object> Send for PerVcpu<T> {}
// SAFETY: as above.
unsafe impl<T: Object> Sync for PerVcpu<T> {}

impl<T: Object> PerVcpu<T> {
    /// A new object, zero on every vCPU.
    ///
    /// # Errors
    /// See [`areas::alloc`].
    pub fn new() -> Result<Self, Errno> {
        let first = areas::alloc(size_of::<T>(), align_of::<T>())?.cast();
        let access = Access::of(process::found());
        Ok(Self { first, access })
    }
}

impl<T: Object> Drop for PerVcpu<T> {
    fn drop(&mut self) {
        // SAFETY: allocated by `new` with this size. The handle is owned, and words borrow it, so
        // nobody uses the object.
        let freed = unsafe { areas::free(self.first.as_ptr().cast(), size_of::<T>()) };
        debug_assert!(freed.is_ok());
    }
}

impl PerVcpu<Single> {
    /// Its one word.
    #[inline(always)]
    pub fn word(&self) -> Word<'_> {
        Word {
            first: self.first.cast(),
            access: self.access,
            object: PhantomData,
        }
    }

    /// See [`Word::add`].
    #[inline(always)]
    pub fn add(&self, value: u64) {
        self.word().add(value);
    }

    /// See [`Word::sum`].
    pub fn sum(&self) -> u64 {
        self.word().sum()
    }

    /// See [`Word::read`].
    pub fn read(&self, area: u32) -> Option<u64> {
        self.word().read(area)
    }
}

impl<const N: usize> PerVcpu<[Single; N]> {
    /// The word at `index`.
    ///
    /// # Panics
    /// When `index` is not below `N`.
    #[inline(always)]
    pub fn word(&self, index: usize) -> Word<'_> {
        assert!(index < N, "the index is not below the number of words");
        // SAFETY: inside the object.
        let first = unsafe { self.first.cast::<u64>().add(index) };
        Word {
            first,
            access: self.access,
            object: PhantomData,
        }
    }
}

/// One word of an object, on all vCPUs.
#[derive(Clone, Copy)]
pub struct Word<'a> {
    /// vCPU 0's copy.
    first: NonNull<u64>,
    access: Access,
    object: PhantomData<&'a ()>,
}

impl Word<'_> {
    /// Adds `value` to this vCPU's copy, wrapping. See [`section::add`].
    #[inline(always)]
    pub fn add(self, value: u64) {
        // SAFETY: the object lives as long as the borrow, and its type keeps all other writers
        // away. Threads of the runtime have its blocks; an object exists only once it started.
        unsafe { section::add(self.first, value, self.access) };
    }

    /// The sum over all areas, wrapping. Exact when nobody adds meanwhile; otherwise some sum of
    /// the additions before the call and any part of those during it.
    pub fn sum(self) -> u64 {
        let used = process::found().used_areas();
        used.fold(0, |sum: u64, area| sum.wrapping_add(self.load(area)))
    }

    /// The copy in one area: a vCPU's below `nr_vcpus`, or the last one. `None` above.
    pub fn read(self, area: u32) -> Option<u64> {
        (area < process::found().nr_areas()).then(|| self.load(area))
    }

    fn load(self, area: u32) -> u64 {
        let offset = (area as usize) << self.access.stride_shift();
        // SAFETY: the area exists. In every mode the word is written by one aligned instruction,
        // which a relaxed load may race with.
        let word = unsafe { AtomicU64::from_ptr(self.first.as_ptr().byte_add(offset)) };
        word.load(Ordering::Relaxed)
    }
}
