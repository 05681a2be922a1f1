// SPDX-License-Identifier: MIT OR Apache-2.0
//! Counters.

use crate::object::{Local, Object, Part};
use crate::single::Single;

/// A number that only grows, of 64 bits, wrapping.
///
/// Its sum has every addition that *happened before* the call, none that happened after its return, and
/// each of those in between wholly or not at all. So it is exact when nobody adds meanwhile. Sums
/// are *monotonic* until 2^64 is passed: of two sums of which one happened before the other, the later is not
/// smaller. For each copy's value only grows, and reads of one word that are ordered never go
/// back. Sums that are not ordered, of two threads at the same time, may see different parts of
/// what is being added, as if no total had ever been both.
#[repr(transparent)]
pub struct Counter {
    value: Single<u64>,
}

// SAFETY: one word.
unsafe impl Object for Counter {}

impl Local<Counter> {
    #[inline(always)]
    fn value(&self) -> Part<'_, Single<u64>> {
        crate::field!(self, value)
    }

    /// Adds `value`, wrapping.
    #[inline(always)]
    pub fn add(&self, value: u64) {
        self.value().add(value);
    }

    /// Adds 1.
    #[inline(always)]
    pub fn inc(&self) {
        self.value().inc();
    }

    /// The sum over all vCPUs; see [`Counter`].
    #[must_use]
    pub fn sum(&self) -> u64 {
        self.value().sum()
    }
}
