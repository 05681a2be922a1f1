// SPDX-License-Identifier: MIT OR Apache-2.0
//! A lock-free allocator of runs of units, which knows each run that it gave out: three bits per
//! unit say whether it is in use, and whether it is the first or the last of its run.
//!
//! There is no lock, so a signal handler and a fork child may use it at any time. A claim that
//! spans words and meets another one gives back the words it took and looks on. For that moment
//! a third claim can find them in use: on a bitmap that is nearly full it may say "none" although
//! the loser's units are about to be free again.
//!
//! A run is set in the order in use, last, first, and cleared in the order first, last, in use. So
//! while the first bit is set the others are, whoever clears it is the one that frees the run, and
//! no unit is free before nothing of its run is left.
//!
//! `tests/models` checks this file under every interleaving of a few threads.
#![forbid(unsafe_code)]

use crate::sync::{AtomicU64, Ordering};

/// Units of one word.
pub const BITS: usize = u64::BITS as usize;

/// How many passes a claim makes when others disturb each of them.
const PASSES: usize = 64;

/// 64 units. What is asked of one unit lies side by side.
#[repr(C)]
pub struct Units {
    used: AtomicU64,
    first: AtomicU64,
    last: AtomicU64,
}

impl Units {
    /// 64 units, none of them in use. In memory they are zeroes.
    pub fn new() -> Self {
        Self {
            used: AtomicU64::new(0),
            first: AtomicU64::new(0),
            last: AtomicU64::new(0),
        }
    }
}

impl Default for Units {
    fn default() -> Self {
        Self::new()
    }
}

/// What [`Bitmap::claim`] found.
pub struct Claim {
    /// The run's first unit; `None` when there is no such run.
    pub start: Option<usize>,
    /// Units were taken and given back, which others may have found in use.
    pub disturbed: bool,
}

/// A bitmap over borrowed words.
#[derive(Clone, Copy)]
pub struct Bitmap<'a> {
    words: &'a [Units],
    units: usize,
}

impl<'a> Bitmap<'a> {
    /// A bitmap of `units` units; fewer when `words` holds fewer bits.
    pub fn new(words: &'a [Units], units: usize) -> Self {
        let bits = words.len().saturating_mul(BITS);
        Self {
            words,
            units: if units < bits { units } else { bits },
        }
    }

    /// Takes `count` units (at least one) in a row, the first at a multiple of `align` (a power of
    /// two). Looks from unit `from` to the end, then from the beginning.
    pub fn claim(&self, count: usize, align: usize, from: usize) -> Claim {
        let mut claim = Claim {
            start: None,
            disturbed: false,
        };
        for _ in 0..PASSES {
            let mut disturbed = false;
            claim.start = self.pass(count, align, from, &mut disturbed);
            if claim.start.is_none() && from > 0 {
                claim.start = self.pass(count, align, 0, &mut disturbed);
            }
            claim.disturbed |= disturbed;
            if claim.start.is_some() || !disturbed {
                break;
            }
        }
        claim
    }

    fn pass(&self, count: usize, align: usize, from: usize, disturbed: &mut bool) -> Option<usize> {
        let mut next = from;
        loop {
            let start = align_up(self.next_free(next)?, align);
            let run = self.run(start, count)?;
            next = match self.last_used(run) {
                Some(used) => used + 1,
                None if self.try_take(run) => return Some(start),
                None => {
                    *disturbed = true;
                    run.end
                }
            };
        }
    }

    /// Gives the run of `count` units from `start` back. False, and nothing changed, when it is
    /// not exactly a run that was claimed, or no longer is: of two releases at once, one is false.
    pub fn release(&self, start: usize, count: usize) -> bool {
        if !self.holds(start, count) {
            return false;
        }
        let run = Run {
            start,
            end: start + count,
        };
        let Some(units) = self.words.get(start / BITS) else {
            return false;
        };
        let bit = 1 << (start % BITS);
        // Acquire pairs with `try_take`: the last bits are at least as new as this one.
        if units.first.fetch_and(!bit, Ordering::Acquire) & bit == 0 {
            return false;
        }
        if !self.ends_at_end(run) {
            // Another release and another claim came between: it is a run of another length now.
            units.first.fetch_or(bit, Ordering::Release);
            return false;
        }
        if let Some(units) = self.words.get((run.end - 1) / BITS) {
            let bit = 1 << ((run.end - 1) % BITS);
            units.last.fetch_and(!bit, Ordering::Relaxed);
        }
        self.clear(run);
        true
    }

    /// Whether `count` units from `start` are exactly a run that is in use.
    pub fn holds(&self, start: usize, count: usize) -> bool {
        let Some(run) = self.run(start, count) else {
            return false;
        };
        let Some(units) = self.words.get(start / BITS) else {
            return false;
        };
        count > 0
            && units.first.load(Ordering::Acquire) & (1 << (start % BITS)) != 0
            && self.ends_at_end(run)
    }

    /// Whether no unit of this word is free.
    pub fn is_full(&self, word: usize) -> bool {
        match self.words.get(word) {
            Some(units) => units.used.load(Ordering::Relaxed) == u64::MAX,
            None => false,
        }
    }

    /// Units in use, and runs that were claimed. Exact when nobody claims or releases meanwhile.
    pub fn count(&self) -> (usize, usize) {
        let (mut used, mut runs) = (0, 0);
        for units in self.words {
            used += units.used.load(Ordering::Relaxed).count_ones() as usize;
            runs += units.first.load(Ordering::Relaxed).count_ones() as usize;
        }
        (used, runs)
    }

    fn run(&self, start: usize, count: usize) -> Option<Run> {
        let end = start.checked_add(count)?;
        (end <= self.units).then_some(Run { start, end })
    }

    /// The first unit at or behind `unit` that is not in use.
    fn next_free(&self, unit: usize) -> Option<usize> {
        let (mut index, mut below) = (unit / BITS, (1_u64 << (unit % BITS)) - 1);
        loop {
            let used = self.words.get(index)?.used.load(Ordering::Relaxed) | below;
            if used != u64::MAX {
                return Some(index * BITS + used.trailing_ones() as usize);
            }
            index += 1;
            below = 0;
        }
    }

    fn last_used(&self, run: Run) -> Option<usize> {
        let mut last = None;
        for (index, mask) in run {
            let used = self.words.get(index)?.used.load(Ordering::Relaxed) & mask;
            if used != 0 {
                last = Some(index * BITS + (BITS - 1 - used.leading_zeros() as usize));
            }
        }
        last
    }

    /// Whether of the run's units only the last one ends a run.
    fn ends_at_end(&self, run: Run) -> bool {
        for (index, mask) in run {
            let Some(units) = self.words.get(index) else {
                return false;
            };
            let end = if (run.end - 1) / BITS == index {
                1 << ((run.end - 1) % BITS)
            } else {
                0
            };
            if units.last.load(Ordering::Relaxed) & mask != end {
                return false;
            }
        }
        true
    }

    /// Sets the run's bits, word by word; when one is set already, clears the words before it.
    fn try_take(&self, run: Run) -> bool {
        let mut taken = Run {
            end: run.start,
            ..run
        };
        for (index, mask) in run {
            if !self
                .words
                .get(index)
                .is_some_and(|units| take(&units.used, mask))
            {
                self.clear(taken);
                return false;
            }
            // Past the run's end after its last word, when nothing is left to clear.
            taken.end = (index + 1) * BITS;
        }
        if let Some(units) = self.words.get((run.end - 1) / BITS) {
            let bit = 1 << ((run.end - 1) % BITS);
            units.last.fetch_or(bit, Ordering::Relaxed);
        }
        if let Some(units) = self.words.get(run.start / BITS) {
            let bit = 1 << (run.start % BITS);
            units.first.fetch_or(bit, Ordering::Release);
        }
        true
    }

    fn clear(&self, run: Run) {
        for (index, mask) in run {
            if let Some(units) = self.words.get(index) {
                units.used.fetch_and(!mask, Ordering::Release);
            }
        }
    }
}

/// Sets the bits of `mask`; false, and nothing changed, when one of them is set.
fn take(word: &AtomicU64, mask: u64) -> bool {
    let mut bits = word.load(Ordering::Relaxed);
    while bits & mask == 0 {
        // Acquire pairs with `clear`: what the last owner wrote is visible to the next.
        let (success, failure) = (Ordering::Acquire, Ordering::Relaxed);
        match word.compare_exchange_weak(bits, bits | mask, success, failure) {
            Ok(_) => return true,
            Err(changed) => bits = changed,
        }
    }
    false
}

/// `align` is a power of two.
fn align_up(unit: usize, align: usize) -> usize {
    let mask = align.wrapping_sub(1);
    unit.wrapping_add(mask) & !mask
}

/// Units `start..end`. As an iterator: the words that they touch, each with the mask of its bits.
#[derive(Clone, Copy)]
struct Run {
    start: usize,
    end: usize,
}

impl Iterator for Run {
    type Item = (usize, u64);

    fn next(&mut self) -> Option<(usize, u64)> {
        if self.start >= self.end {
            return None;
        }
        let (index, low) = (self.start / BITS, self.start % BITS);
        let mut count = BITS - low;
        if count > self.end - self.start {
            count = self.end - self.start;
        }
        self.start += count;
        Some((index, (u64::MAX >> (BITS - count)) << low))
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::vec::Vec;

    fn words(count: usize) -> Vec<Units> {
        (0..count).map(|_| Units::new()).collect()
    }

    #[test]
    fn runs_do_not_overlap_and_come_back() {
        let words = words(4);
        let bitmap = Bitmap::new(&words, 200);
        let claim = |count, align| bitmap.claim(count, align, 0).start;
        assert_eq!(claim(3, 1), Some(0));
        assert_eq!(claim(70, 64), Some(64));
        assert_eq!(claim(61, 1), Some(3));
        assert_eq!(claim(67, 1), None);
        assert_eq!(claim(66, 1), Some(134));
        assert_eq!(bitmap.count(), (200, 4));
        assert!(!bitmap.release(64, 69), "too short");
        assert!(!bitmap.release(64, 71), "too long");
        assert!(!bitmap.release(65, 69), "not from the first");
        assert!(bitmap.release(64, 70));
        assert!(!bitmap.release(64, 70), "double free");
        assert!(!bitmap.release(3, 131), "over a gap");
        assert!(!bitmap.release(199, 2), "past the end");
        assert!(!bitmap.release(usize::MAX, 2));
        assert!(!bitmap.release(0, 0));
        assert_eq!(claim(70, 1), Some(64));
    }

    #[test]
    fn a_search_wraps() {
        let words = words(2);
        let bitmap = Bitmap::new(&words, 128);
        assert_eq!(bitmap.claim(28, 1, 100).start, Some(100));
        assert_eq!(bitmap.claim(1, 1, 100).start, Some(0));
        assert_eq!(bitmap.claim(99, 1, 100).start, Some(1));
        assert_eq!(bitmap.claim(1, 1, 5).start, None);
    }

    #[test]
    fn concurrent_claims_are_disjoint() {
        let words = words(8);
        let bitmap = Bitmap::new(&words, 512);
        std::thread::scope(|scope| {
            for count in [1, 3, 7, 65] {
                scope.spawn(move || {
                    for _ in 0..20_000 {
                        if let Some(start) = bitmap.claim(count, 1, 0).start {
                            assert!(bitmap.release(start, count), "a unit had two owners");
                        }
                    }
                });
            }
        });
        assert_eq!(bitmap.count(), (0, 0));
        assert!(
            words
                .iter()
                .all(|units| units.last.load(Ordering::Relaxed) == 0)
        );
    }
}
