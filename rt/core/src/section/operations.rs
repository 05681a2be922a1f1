// SPDX-License-Identifier: MIT OR Apache-2.0
//! What sections do to several words, and what is done on a shared area instead.

use core::ptr::NonNull;
use core::sync::atomic::{AtomicU64, Ordering};

use super::{Refused, Section, lock_of};
use crate::access::{Access, Way, run_otherwise, run_section};
use crate::arch::{self, CPU_ID, MM_CID, Outcome};
use crate::object::Local;
use crate::value::Value;

/// An operation of librseq's that is no single instruction, over words of 8 bytes: by a section, or under
/// the lock of a shared area. One type of all, so that what follows a refused section is in a program once.
#[derive(Clone, Copy)]
pub(crate) enum Operation<'a> {
    /// Where the word is `expected`: `new`.
    CompareEqualStore { expected: u64, new: u64 },
    /// Where the word is `expected`: `value` to `other`, then `new`.
    CompareEqualStoreStore {
        expected: u64,
        other: NonNull<u64>,
        value: u64,
        new: u64,
    },
    /// Where the word is `expected` and `other` is `value`: `new`.
    CompareEqualCompareEqualStore {
        expected: u64,
        other: NonNull<u64>,
        value: u64,
        new: u64,
    },
    /// Where the word is `expected`: the bytes to `place`, then `new`.
    CompareEqualCopyStore {
        expected: u64,
        place: NonNull<u8>,
        bytes: &'a [u8],
        new: u64,
    },
    /// Where the word is not `excluded`: what is `offset` bytes from where it points to. Its output is what
    /// the word was; that of the others is 0.
    CompareNotEqualLoadStore { excluded: u64, offset: isize },
    /// Adds to what the word points to.
    AddToPointee { value: u64 },
}

/// Runs one operation of the object.
#[inline(always)]
pub(super) fn run_words<T>(
    word: &Local<Section<T>>,
    operation: Operation<'_>,
) -> Result<u64, Refused> {
    let first = word.first().cast::<u64>();
    // SAFETY: the object is alive while it is borrowed, and its type keeps other writers away.
    unsafe { run_section(first, word.access(), attempt(first, operation)) }
}

/// The same where one attempt, by code that is not ours, did not commit.
///
/// # Safety
/// `first` is a word of the section kind in vCPU 0's copy of a live object.
pub(crate) unsafe fn run_words_otherwise(
    first: NonNull<u64>,
    operation: Operation<'_>,
) -> Result<u64, Refused> {
    // SAFETY: by the caller's word.
    unsafe { run_otherwise(first, attempt(first, operation)) }
}

/// One attempt at an operation in some way, on the area of the word that it is given.
///
/// # Safety
/// Of calling what it returns: the word is this copy's of `first`, whose object is alive.
#[inline(always)]
unsafe fn attempt(
    first: NonNull<u64>,
    operation: Operation<'_>,
) -> impl Fn(Way, NonNull<u64>, Access) -> Option<Result<u64, Refused>> {
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

impl Operation<'_> {
    /// One try in a section, on this thread's copies by the id at `ID`.
    ///
    /// # Safety
    /// The words are of live objects and of this kind.
    #[inline(always)]
    unsafe fn in_section<const ID: usize>(
        self,
        word: NonNull<u64>,
        access: Access,
    ) -> Result<u64, Outcome> {
        // SAFETY: by the caller's word.
        unsafe {
            let outcome = match self {
                Self::CompareEqualStore { expected, new } => {
                    arch::compare_equal_store::<ID>(word, expected, new, access)
                }
                Self::CompareEqualStoreStore {
                    expected,
                    other,
                    value,
                    new,
                } => {
                    let other = (other, value);
                    arch::compare_equal_store_store::<ID>(word, expected, other, new, access)
                }
                Self::CompareEqualCompareEqualStore {
                    expected,
                    other,
                    value,
                    new,
                } => {
                    let other = (other, value);
                    arch::compare_equal_compare_equal_store::<ID>(
                        word, expected, other, new, access,
                    )
                }
                Self::CompareEqualCopyStore {
                    expected,
                    place,
                    bytes,
                    new,
                } => {
                    let copy = (place, bytes.as_ptr(), bytes.len());
                    arch::compare_equal_copy_store::<ID>(word, expected, copy, new, access)
                }
                Self::CompareNotEqualLoadStore { excluded, offset } => {
                    return arch::compare_not_equal_load_store::<ID>(
                        word, excluded, offset, access,
                    );
                }
                Self::AddToPointee { value } => arch::add_to_pointee::<ID>(word, value, access),
            };
            match outcome {
                Outcome::Committed => Ok(0),
                refused => Err(refused),
            }
        }
    }

    /// On a shared area, `distance` bytes from the first one, whose copy of the first word is `cell`.
    ///
    /// # Safety
    /// As for a section, and the caller holds the lock of that word.
    unsafe fn locked(self, cell: &AtomicU64, distance: usize) -> Result<u64, Refused> {
        let seen = cell.load(Ordering::Acquire);
        // SAFETY: another word's copy in the same area.
        let copy =
            |other: NonNull<u64>| unsafe { AtomicU64::from_ptr(other.byte_add(distance).as_ptr()) };
        let (is_expected, new) = match self {
            Self::CompareEqualStore { expected, new } => (seen == expected, new),
            Self::CompareEqualStoreStore {
                expected,
                other,
                value,
                new,
            } => {
                if seen == expected {
                    copy(other).store(value, Ordering::Release);
                }
                (seen == expected, new)
            }
            Self::CompareEqualCompareEqualStore {
                expected,
                other,
                value,
                new,
            } => {
                let is_value = copy(other).load(Ordering::Acquire) == value;
                (seen == expected && is_value, new)
            }
            Self::CompareEqualCopyStore {
                expected,
                place,
                bytes,
                new,
            } => {
                let mut at = 0;
                while seen == expected
                    && let Some(&byte) = bytes.get(at)
                {
                    // SAFETY: inside the same area's copy of the buffer. Volatile, since others may read it.
                    unsafe { place.byte_add(distance + at).write_volatile(byte) };
                    at += 1;
                }
                (seen == expected, new)
            }
            Self::CompareNotEqualLoadStore { excluded, offset } => {
                if seen == excluded {
                    return Err(Refused::Different);
                }
                let place = <*mut u8>::from_raw(seen).wrapping_byte_offset(offset);
                // SAFETY: by the caller's word. Who else takes it out holds the same lock.
                let next = unsafe { place.cast::<u64>().read_volatile() };
                return exchange(cell, seen, next).map(|()| seen);
            }
            Self::AddToPointee { value } => {
                let place = <*mut u64>::from_raw(seen);
                if place.is_null() {
                    return Err(Refused::Different);
                }
                // SAFETY: by the caller's word.
                unsafe { AtomicU64::from_ptr(place) }.fetch_add(value, Ordering::AcqRel);
                return Ok(0);
            }
        };
        if !is_expected {
            return Err(Refused::Different);
        }
        exchange(cell, seen, new).map(|()| 0)
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
