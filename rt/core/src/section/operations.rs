// SPDX-License-Identifier: MIT OR Apache-2.0
//! What sections do to several words, and what is done on a shared area instead.

use core::ptr::NonNull;
use core::sync::atomic::{AtomicU64, Ordering};

use super::{Refused, Section, lock_of};
use crate::access::{Access, Way, run_otherwise, run_section};
use crate::arch::{self, CPU_ID, MM_CID, Outcome};
use crate::object::Local;
use crate::value::Value;

/// An operation over words of 8 bytes, by a section or under the lock of a shared area.
pub(crate) trait Operation: Copy {
    type Output;

    /// One try in a section, on this thread's copies by the id at `ID`.
    ///
    /// # Safety
    /// The words are of live objects and of this kind.
    unsafe fn in_section<const ID: usize>(
        self,
        word: NonNull<u64>,
        access: Access,
    ) -> Result<Self::Output, Outcome>;

    /// On a shared area, `distance` bytes from the first one, whose copy of the first word is `cell`.
    ///
    /// # Safety
    /// As for a section, and the caller holds the lock of that word.
    unsafe fn locked(self, cell: &AtomicU64, distance: usize) -> Result<Self::Output, Refused>;
}

/// Runs one operation of the object.
#[inline(always)]
pub(super) fn run_words<T, O: Operation>(
    word: &Local<Section<T>>,
    operation: O,
) -> Result<O::Output, Refused> {
    let first = word.first().cast::<u64>();
    // SAFETY: the object is alive while it is borrowed, and its type keeps other writers away.
    unsafe { run_section(first, word.access(), attempt(first, operation)) }
}

/// The same where one attempt, by code that is not ours, did not commit.
///
/// # Safety
/// `first` is a word of the section kind in vCPU 0's copy of a live object.
pub(crate) unsafe fn run_words_otherwise<O: Operation>(
    first: NonNull<u64>,
    operation: O,
) -> Result<O::Output, Refused> {
    // SAFETY: by the caller's word.
    unsafe { run_otherwise(first, attempt(first, operation)) }
}

/// One attempt at an operation in some way, on the area of the word that it is given.
///
/// # Safety
/// Of calling what it returns: the word is this copy's of `first`, whose object is alive.
#[inline(always)]
unsafe fn attempt<O: Operation>(
    first: NonNull<u64>,
    operation: O,
) -> impl Fn(Way, NonNull<u64>, Access) -> Option<Result<O::Output, Refused>> {
    // SAFETY: by the caller's word.
    move |way, word, access| unsafe {
        let result = match way {
            Way::MmCid | Way::Gs => operation.in_section::<MM_CID>(word, access),
            Way::CpuId => operation.in_section::<CPU_ID>(word, access),
            Way::Locked => {
                let distance = word.addr().get() - first.addr().get();
                let cell = AtomicU64::from_ptr(word.as_ptr());
                // Not by closures: they would bring unwind tables into every program (decision 0004).
                let lock = lock_of(word);
                if !lock.acquire() {
                    return Some(Err(Refused::Busy));
                }
                let done = operation.locked(cell, distance);
                lock.release();
                return Some(done);
            }
        };
        match result {
            Ok(output) => Some(Ok(output)),
            Err(Outcome::Different) => Some(Err(Refused::Different)),
            Err(Outcome::Committed | Outcome::Refused) => None,
        }
    }
}

/// The operations of librseq that are no single instruction, for words of 8 bytes.
#[derive(Clone, Copy)]
pub(crate) struct CompareEqualStore {
    pub(crate) expected: u64,
    pub(crate) new: u64,
}

impl Operation for CompareEqualStore {
    type Output = ();

    #[inline(always)]
    unsafe fn in_section<const ID: usize>(
        self,
        word: NonNull<u64>,
        access: Access,
    ) -> Result<(), Outcome> {
        // SAFETY: by the caller's word.
        committed(unsafe { arch::compare_equal_store::<ID>(word, self.expected, self.new, access) })
    }

    unsafe fn locked(self, cell: &AtomicU64, _: usize) -> Result<(), Refused> {
        exchange(cell, self.expected, self.new)
    }
}

#[derive(Clone, Copy)]
pub(crate) struct CompareEqualStoreStore {
    pub(crate) expected: u64,
    pub(crate) other: NonNull<u64>,
    pub(crate) value: u64,
    pub(crate) new: u64,
}

impl Operation for CompareEqualStoreStore {
    type Output = ();

    #[inline(always)]
    unsafe fn in_section<const ID: usize>(
        self,
        word: NonNull<u64>,
        access: Access,
    ) -> Result<(), Outcome> {
        let other = (self.other, self.value);
        // SAFETY: by the caller's word.
        committed(unsafe {
            arch::compare_equal_store_store::<ID>(word, self.expected, other, self.new, access)
        })
    }

    unsafe fn locked(self, cell: &AtomicU64, distance: usize) -> Result<(), Refused> {
        if cell.load(Ordering::Acquire) != self.expected {
            return Err(Refused::Different);
        }
        // SAFETY: the other word's copy in the same area.
        let other = unsafe { AtomicU64::from_ptr(self.other.byte_add(distance).as_ptr()) };
        other.store(self.value, Ordering::Release);
        exchange(cell, self.expected, self.new)
    }
}

#[derive(Clone, Copy)]
pub(crate) struct CompareEqualCompareEqualStore {
    pub(crate) expected: u64,
    pub(crate) other: NonNull<u64>,
    pub(crate) value: u64,
    pub(crate) new: u64,
}

impl Operation for CompareEqualCompareEqualStore {
    type Output = ();

    #[inline(always)]
    unsafe fn in_section<const ID: usize>(
        self,
        word: NonNull<u64>,
        access: Access,
    ) -> Result<(), Outcome> {
        let (expected, other, new) = (self.expected, (self.other, self.value), self.new);
        // SAFETY: by the caller's word.
        committed(unsafe {
            arch::compare_equal_compare_equal_store::<ID>(word, expected, other, new, access)
        })
    }

    unsafe fn locked(self, cell: &AtomicU64, distance: usize) -> Result<(), Refused> {
        // SAFETY: the other word's copy in the same area.
        let other = unsafe { AtomicU64::from_ptr(self.other.byte_add(distance).as_ptr()) };
        if other.load(Ordering::Acquire) != self.value {
            return Err(Refused::Different);
        }
        exchange(cell, self.expected, self.new)
    }
}

#[derive(Clone, Copy)]
pub(crate) struct CompareEqualCopyStore<'a> {
    pub(crate) expected: u64,
    pub(crate) place: NonNull<u8>,
    pub(crate) bytes: &'a [u8],
    pub(crate) new: u64,
}

impl Operation for CompareEqualCopyStore<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn in_section<const ID: usize>(
        self,
        word: NonNull<u64>,
        access: Access,
    ) -> Result<(), Outcome> {
        let copy = (self.place, self.bytes.as_ptr(), self.bytes.len());
        // SAFETY: by the caller's word.
        committed(unsafe {
            arch::compare_equal_copy_store::<ID>(word, self.expected, copy, self.new, access)
        })
    }

    unsafe fn locked(self, cell: &AtomicU64, distance: usize) -> Result<(), Refused> {
        if cell.load(Ordering::Acquire) != self.expected {
            return Err(Refused::Different);
        }
        let mut at = 0;
        while let Some(&byte) = self.bytes.get(at) {
            // SAFETY: inside the same area's copy of the buffer. Volatile, since others may read it.
            unsafe { self.place.byte_add(distance + at).write_volatile(byte) };
            at += 1;
        }
        exchange(cell, self.expected, self.new)
    }
}

#[derive(Clone, Copy)]
pub(crate) struct CompareNotEqualLoadStore {
    pub(crate) excluded: u64,
    pub(crate) offset: isize,
}

impl Operation for CompareNotEqualLoadStore {
    type Output = u64;

    #[inline(always)]
    unsafe fn in_section<const ID: usize>(
        self,
        word: NonNull<u64>,
        access: Access,
    ) -> Result<u64, Outcome> {
        // SAFETY: by the caller's word.
        unsafe {
            arch::compare_not_equal_load_store::<ID>(word, self.excluded, self.offset, access)
        }
    }

    unsafe fn locked(self, cell: &AtomicU64, _: usize) -> Result<u64, Refused> {
        let seen = cell.load(Ordering::Acquire);
        if seen == self.excluded {
            return Err(Refused::Different);
        }
        let place = <*mut u8>::from_raw(seen).wrapping_byte_offset(self.offset);
        // SAFETY: by the caller's word. Who else takes it out holds the same lock.
        let next = unsafe { place.cast::<u64>().read_volatile() };
        exchange(cell, seen, next)?;
        Ok(seen)
    }
}

#[derive(Clone, Copy)]
pub(crate) struct AddToPointee {
    pub(crate) value: u64,
}

impl Operation for AddToPointee {
    type Output = ();

    #[inline(always)]
    unsafe fn in_section<const ID: usize>(
        self,
        word: NonNull<u64>,
        access: Access,
    ) -> Result<(), Outcome> {
        // SAFETY: by the caller's word.
        committed(unsafe { arch::add_to_pointee::<ID>(word, self.value, access) })
    }

    unsafe fn locked(self, cell: &AtomicU64, _: usize) -> Result<(), Refused> {
        let place = <*mut u64>::from_raw(cell.load(Ordering::Acquire));
        if place.is_null() {
            return Err(Refused::Different);
        }
        // SAFETY: by the caller's word.
        unsafe { AtomicU64::from_ptr(place) }.fetch_add(self.value, Ordering::AcqRel);
        Ok(())
    }
}

/// The result of a section without output.
#[inline(always)]
fn committed(outcome: Outcome) -> Result<(), Outcome> {
    match outcome {
        Outcome::Committed => Ok(()),
        refused => Err(refused),
    }
}

/// The commit on a shared area: another one may have come in between with a single-word operation.
fn exchange(cell: &AtomicU64, expected: u64, new: u64) -> Result<(), Refused> {
    let (success, failure) = (Ordering::AcqRel, Ordering::Acquire);
    match cell.compare_exchange(expected, new, success, failure) {
        Ok(_) => Ok(()),
        Err(_) => Err(Refused::Different),
    }
}
