// SPDX-License-Identifier: MIT OR Apache-2.0
//! Words of the *section* kind: every update is the commit of a critical section, so one may depend on
//! several words, and a fence makes sure that nobody is in the middle of one.
//!
//! Single-word operations end always. Those over several words may be [`Refused::Busy`] in a thread
//! that acts on a shared area (no registration, or aborted without end): such an area has a lock
//! that is tried, never waited for.
//!
//! Ordering: the committing store is a release and the loads before it are acquires, as every plain
//! load and store is on x86-64. Nothing is a full barrier.

pub(crate) mod operations;

use core::cell::UnsafeCell;
use core::marker::PhantomData;
use core::ptr::NonNull;

use self::operations::{Operation, run_words};
use crate::access::{Access, TryLock, Way, run_section};
use crate::object::{Local, Object};
use crate::value::Value;
use crate::word::Word;

/// A word of the *section* kind. It keeps its kind for life, so the kind is its type.
#[repr(transparent)]
pub struct Section<T = u64> {
    value: UnsafeCell<T>,
    /// Copies are reached by address alone.
    kind: PhantomData<*mut T>,
}

// SAFETY: words of any value are valid as zero.
unsafe impl<T: Value> Object for Section<T> {}

/// Why nothing was committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// A word is not what was expected.
    Different,
    /// This thread acts on a shared area, and another one is in the middle of an operation there.
    Busy,
}

/// Locks of operations over several words of one shared area, by the address of the first word.
static LOCKS: [TryLock; 64] = [const { TryLock::new() }; 64];

pub(crate) fn lock_of(word: NonNull<u64>) -> &'static TryLock {
    // A page: words of one object mostly share it, which does no harm; areas never do.
    &LOCKS[(word.addr().get() >> 12).wrapping_mul(0x9e37_79b9) >> 8 & 63]
}

// SAFETY: transparent, and its type keeps other writers away.
unsafe impl<T: Value> Word for Section<T> {
    type Value = T;

    #[inline(always)]
    fn run<O>(word: &Local<Self>, update: impl Fn(Way, NonNull<T::Raw>, Access) -> Option<O>) -> O {
        // SAFETY: the object is alive while it is borrowed, and its type keeps other writers away.
        // Threads of the runtime have its blocks; an object exists only once it started.
        unsafe { run_section(word.first().cast(), word.access(), update) }
    }
}

impl<T: Value<Raw = u64>> Local<Section<T>> {
    /// Stores `new` if this vCPU's copy is `expected`. librseq: `rseq_load_cbne_store__ptr`.
    ///
    /// # Errors
    /// [`Refused`].
    #[inline(always)]
    pub fn compare_equal_store(&self, expected: T, new: T) -> Result<(), Refused> {
        let (expected, new) = (expected.to_raw(), new.to_raw());
        run_words(self, Operation::CompareEqualStore { expected, new }).map(drop)
    }

    /// Stores `value` to `other` and then `new` to this word, if this word is `expected`: a push onto
    /// an array whose count is this word. `other` may be written although it is refused.
    /// librseq: `rseq_load_cbne_store_store__ptr`.
    ///
    /// # Errors
    /// [`Refused`].
    #[inline(always)]
    pub fn compare_equal_store_store<U: Value<Raw = u64>>(
        &self,
        expected: T,
        (other, value): (&Local<Section<U>>, U),
        new: T,
    ) -> Result<(), Refused> {
        run_words(
            self,
            Operation::CompareEqualStoreStore {
                expected: expected.to_raw(),
                other: other.first().cast(),
                value: value.to_raw(),
                new: new.to_raw(),
            },
        )
        .map(drop)
    }

    /// Stores `new` if this word is `expected` and `other` is `value`.
    /// librseq: `rseq_load_cbne_load_cbne_store__ptr`.
    ///
    /// # Errors
    /// [`Refused`].
    #[inline(always)]
    pub fn compare_equal_compare_equal_store<U: Value<Raw = u64>>(
        &self,
        expected: T,
        (other, value): (&Local<Section<U>>, U),
        new: T,
    ) -> Result<(), Refused> {
        run_words(
            self,
            Operation::CompareEqualCompareEqualStore {
                expected: expected.to_raw(),
                other: other.first().cast(),
                value: value.to_raw(),
                new: new.to_raw(),
            },
        )
        .map(drop)
    }

    /// Copies `bytes` into this vCPU's copy of `buffer`, from `at` on, and then stores `new`, if this
    /// word is `expected`: a record written to a log whose length is this word. The bytes may be
    /// written although it is refused. librseq: `rseq_load_cbne_memcpy_store__ptr`.
    ///
    /// # Errors
    /// [`Refused`].
    ///
    /// # Panics
    /// When the bytes do not fit the buffer.
    #[inline(always)]
    pub fn compare_equal_copy_store<const N: usize>(
        &self,
        expected: T,
        (buffer, at, bytes): (&Local<[Section<u8>; N]>, usize, &[u8]),
        new: T,
    ) -> Result<(), Refused> {
        assert!(
            at <= N && bytes.len() <= N - at,
            "the bytes do not fit the buffer"
        );
        run_words(
            self,
            Operation::CompareEqualCopyStore {
                expected: expected.to_raw(),
                // SAFETY: inside the buffer, as just asserted.
                place: unsafe { buffer.first().cast::<u8>().add(at) },
                bytes,
                new: new.to_raw(),
            },
        )
        .map(drop)
    }
}

impl<T> Local<Section<*mut T>> {
    /// If this word is not `excluded`, an address: stores what is at `offset` bytes from there into
    /// this word, and returns what it was: a pop from a list. librseq:
    /// `rseq_load_cbeq_store_add_load_store__ptr`.
    ///
    /// # Errors
    /// [`Refused::Different`]: it is `excluded`.
    ///
    /// # Safety
    /// Whatever else the copies hold is the address of something that has a pointer at `offset`, and
    /// stays readable while a section may read it: until a fence after it was taken out of the list.
    #[inline(always)]
    pub unsafe fn compare_not_equal_load_store(
        &self,
        excluded: *mut T,
        offset: isize,
    ) -> Result<*mut T, Refused> {
        let excluded = excluded.to_raw();
        run_words(
            self,
            Operation::CompareNotEqualLoadStore { excluded, offset },
        )
        .map(<*mut T>::from_raw)
    }
}

impl Local<Section<*mut u64>> {
    /// Adds `value`, wrapping, to the word that this word points to.
    /// librseq: `rseq_load_add_load_load_add_store__ptr`.
    ///
    /// # Errors
    /// [`Refused::Different`]: this word is null.
    ///
    /// # Safety
    /// The copies hold null, or addresses of aligned words that live as long as they are there, and
    /// that only this operation changes, of this area.
    #[inline(always)]
    pub unsafe fn add_to_pointee(&self, value: u64) -> Result<(), Refused> {
        run_words(self, Operation::AddToPointee { value }).map(drop)
    }
}
