// SPDX-License-Identifier: MIT OR Apache-2.0
//! The oracle: what threads say that they did, and what the areas say that was done. Both are sums
//! (and one exclusive or), so they can be compared however the operations interleaved, over any
//! interval at whose ends nobody is in the middle of one.

use vcpu_rt::Local;
use vcpu_test_programs::in_c::By;

/// What was done to one subject.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// Wrapping sums; what each one counts is the subject's affair.
    pub sums: [u64; 6],
    /// The exclusive or of what was flipped.
    pub flips: u64,
}

impl Entry {
    /// Adds to one sum.
    pub fn add(&mut self, index: usize, value: u64) {
        self.sums[index] = self.sums[index].wrapping_add(value);
    }

    /// Subtracts from one sum.
    pub fn sub(&mut self, index: usize, value: u64) {
        self.add(index, value.wrapping_neg());
    }

    /// Both together.
    pub fn join(&mut self, other: &Self) {
        for (index, value) in other.sums.into_iter().enumerate() {
            self.add(index, value);
        }
        self.flips ^= other.flips;
    }

    /// What led from `before` to this.
    pub fn since(&self, before: &Self) -> Self {
        let mut difference = *self;
        for (index, value) in before.sums.into_iter().enumerate() {
            difference.sub(index, value);
        }
        difference.flips ^= before.flips;
        difference
    }
}

/// Something with operations that can be told from outside.
pub struct Subject {
    /// Its name, for messages.
    pub name: &'static str,
    /// Runs each of its operations about once, and tells the ledger.
    pub step: fn(&mut Caller, &mut Entry),
    /// What is in the areas.
    pub measure: fn() -> Entry,
}

/// Who runs a step.
pub struct Caller {
    /// The state of its random numbers, not 0.
    pub random: u64,
    /// Whether it may try again later where a shared area is busy: a signal handler may have
    /// interrupted the holder of the lock, and must not.
    pub may_wait: bool,
    /// Whether half of the operations are C's.
    pub has_c: bool,
}

impl Caller {
    /// A word, to be updated in C or in Rust.
    pub fn by<'a, W>(&mut self, word: &'a Local<W>) -> By<'a, W> {
        By::new(word, self.has_c && self.next() & 1 != 0)
    }

    /// The next random number (xorshift).
    pub fn next(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }
}

/// Turns a value into one of which sums tell sets apart (the finaliser of splitmix64); 0 stays 0.
pub fn mix(value: u64) -> u64 {
    let value = (value ^ value >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ value >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ value >> 31
}
