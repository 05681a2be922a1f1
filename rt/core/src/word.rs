// SPDX-License-Identifier: MIT OR Apache-2.0
//! What words of both kinds can do: [`Single`](crate::single::Single) and
//! [`Section`](crate::section::Section), which differ in how an update is run.

use core::ptr::NonNull;

use crate::access::{Access, Way};
use crate::arch::Raw;
use crate::object::{Local, Object};
use crate::value::{Integer, Value};

/// A kind of word.
///
/// # Safety
/// It is a `Value` in memory, and is changed by what goes through [`run`](Self::run) alone.
pub unsafe trait Word: Object + Sized {
    /// What it holds.
    type Value: Value;

    /// Runs one update by the fastest way that the kind allows.
    #[doc(hidden)]
    fn run<O>(
        word: &Local<Self>,
        update: impl Fn(Way, NonNull<<Self::Value as Value>::Raw>, Access) -> Option<O>,
    ) -> O;
}

impl<W: Word> Local<W> {
    /// This vCPU's value.
    #[inline(always)]
    pub fn load(&self) -> W::Value {
        // SAFETY: by `run`'s contract with the ways.
        W::Value::from_raw(W::run(self, move |way, word, access| unsafe {
            Raw::load(way, word, access)
        }))
    }

    /// Writes `value` to this vCPU's copy.
    #[inline(always)]
    pub fn store(&self, value: W::Value) {
        let value = value.to_raw();
        // SAFETY: as for `load`.
        W::run(self, move |way, word, access| unsafe {
            Raw::store(way, word, value, access)
        });
    }

    /// Writes `value` and returns what was there before.
    #[inline(always)]
    pub fn exchange(&self, value: W::Value) -> W::Value {
        let value = value.to_raw();
        // SAFETY: as for `load`.
        W::Value::from_raw(W::run(self, move |way, word, access| unsafe {
            Raw::exchange(way, word, value, access)
        }))
    }

    /// Writes `new` if this vCPU's copy is `old`. If not, what is there is written once more, as the
    /// processor does it: not for a word that others change behind a fence.
    ///
    /// # Errors
    /// What is there instead; nothing was written.
    #[inline(always)]
    pub fn compare_exchange(&self, old: W::Value, new: W::Value) -> Result<W::Value, W::Value> {
        let (old, new) = (old.to_raw(), new.to_raw());
        // SAFETY: as for `load`.
        let before = W::run(self, move |way, word, access| unsafe {
            Raw::compare_exchange(way, word, old, new, access)
        });
        if before == old {
            Ok(W::Value::from_raw(before))
        } else {
            Err(W::Value::from_raw(before))
        }
    }

    /// The copy in one area: a vCPU's below `nr_vcpus`, or the last one. `None` above. Its vCPU may
    /// change it meanwhile.
    #[must_use]
    pub fn read(&self, area: u32) -> Option<W::Value> {
        self.copy(area).map(read_copy)
    }

    /// The values of the areas that can hold anything, each with its area's number.
    pub fn values(&self) -> impl Iterator<Item = (u32, W::Value)> {
        self.copies().map(|(area, copy)| (area, read_copy(copy)))
    }
}

impl<W: Word> Local<W>
where
    W::Value: Integer,
{
    /// Adds `value`, wrapping.
    #[inline(always)]
    pub fn add(&self, value: W::Value) {
        let value = value.to_raw();
        // SAFETY: as for `load`.
        W::run(self, move |way, word, access| unsafe {
            Raw::add(way, word, value, access)
        });
    }

    /// Adds `value`, wrapping, and returns the sum: this vCPU's copy after the addition.
    #[inline(always)]
    pub fn add_return(&self, value: W::Value) -> W::Value {
        let raw = value.to_raw();
        // SAFETY: as for `load`.
        let before = W::run(self, move |way, word, access| unsafe {
            Raw::fetch_add(way, word, raw, access)
        });
        W::Value::from_raw(before).plus(value)
    }

    /// The sum over all areas, wrapping. Exact when nobody adds meanwhile; otherwise some sum of
    /// the additions before the call and any part of those during it.
    #[must_use]
    pub fn sum(&self) -> W::Value {
        self.values()
            .fold(W::Value::ZERO, |sum, (_, value)| sum.plus(value))
    }
}

/// One load of one copy.
fn read_copy<W: Word>(copy: NonNull<W>) -> W::Value {
    // SAFETY: the object is alive while it is borrowed. Volatile, and the size of a word: one load,
    // which its vCPU's instructions do not tear.
    unsafe { copy.cast::<W::Value>().read_volatile() }
}
