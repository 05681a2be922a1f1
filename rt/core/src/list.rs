// SPDX-License-Identifier: MIT OR Apache-2.0
//! A list to which elements are only ever added, at its beginning. An element is a number, not 0, by
//! which its owner finds it; the list is the newest one, and each has a place for the one before it.
//!
//! Nothing is removed, so an element that was seen stays, and a number never comes back to mean
//! another element. `tests/models` checks this file, as it does `bitmap.rs`.
#![forbid(unsafe_code)]

use crate::sync::{AtomicU64, Ordering};

/// The newest element, 0 when there is none. What was written before it was added is visible.
pub fn newest(list: &AtomicU64) -> u64 {
    // Acquire pairs with the release of `add`, also when others added elements after it: their
    // compare-exchanges continue its release sequence.
    list.load(Ordering::Acquire)
}

/// The element that was added before one that [`newest`] or this returned, 0 at the end.
pub fn before(place: &AtomicU64) -> u64 {
    // Written before the element was added, and never again.
    place.load(Ordering::Relaxed)
}

/// Adds an element that nobody else knows yet, and whose place this is. False when `newest` is not
/// the newest one any more: the element is not in the list then.
pub fn add(list: &AtomicU64, newest: u64, element: u64, place: &AtomicU64) -> bool {
    place.store(newest, Ordering::Relaxed);
    let (success, failure) = (Ordering::Release, Ordering::Relaxed);
    list.compare_exchange(newest, element, success, failure)
        .is_ok()
}
