// SPDX-License-Identifier: MIT OR Apache-2.0
//! A lock-free allocator of runs of units: one bit per unit, set while the unit is in use.
//!
//! There is no lock, so a signal handler and a fork child may use it at any time. A claim that
//! spans words and meets another one gives back the words it took and looks on. For that moment
//! a third claim can find them in use: on a bitmap that is nearly full it may say "none" although
//! the loser's units are about to be free again.
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicU64, Ordering};

const BITS: usize = u64::BITS as usize;

/// How many passes a claim makes when others disturb each of them.
const PASSES: usize = 64;

/// A bitmap over borrowed words.
#[derive(Clone, Copy)]
pub struct Bitmap<'a> {
    words: &'a [AtomicU64],
    units: usize,
}

impl<'a> Bitmap<'a> {
    /// A bitmap of `units` units; fewer when `words` holds fewer bits.
    pub fn new(words: &'a [AtomicU64], units: usize) -> Self {
        let bits = words.len().saturating_mul(BITS);
        Self {
            words,
            units: if units < bits { units } else { bits },
        }
    }

    /// Takes `count` units in a row, the first at a multiple of `align` (a power of two), and
    /// returns the first. `None` when there is no such run.
    pub fn claim(&self, count: usize, align: usize) -> Option<usize> {
        for _ in 0..PASSES {
            let mut disturbed = false;
            let mut start = 0;
            while let Some(run) = self.run(start, count) {
                start = match self.last_used(run) {
                    Some(used) => align_up(used + 1, align),
                    None if self.try_take(run) => return Some(run.start),
                    None => {
                        disturbed = true;
                        align_up(run.end, align)
                    }
                };
            }
            if !disturbed {
                return None;
            }
        }
        None
    }

    /// Gives `count` units from `start` back. False, and nothing changed, when one of them is not
    /// in use or does not exist.
    pub fn release(&self, start: usize, count: usize) -> bool {
        let Some(run) = self.run(start, count) else {
            return false;
        };
        for (index, mask) in run {
            match self.words.get(index) {
                Some(word) if word.load(Ordering::Relaxed) & mask == mask => {}
                _ => return false,
            }
        }
        self.clear(run);
        true
    }

    fn run(&self, start: usize, count: usize) -> Option<Run> {
        let end = start.checked_add(count)?;
        (end <= self.units).then_some(Run { start, end })
    }

    fn last_used(&self, run: Run) -> Option<usize> {
        let mut last = None;
        for (index, mask) in run {
            let used = self.words.get(index)?.load(Ordering::Relaxed) & mask;
            if used != 0 {
                last = Some(index * BITS + (BITS - 1 - used.leading_zeros() as usize));
            }
        }
        last
    }

    /// Sets the run's bits, word by word; when one is set already, clears the words before it.
    fn try_take(&self, run: Run) -> bool {
        let mut taken = Run {
            end: run.start,
            ..run
        };
        for (index, mask) in run {
            if !self.words.get(index).is_some_and(|word| take(word, mask)) {
                self.clear(taken);
                return false;
            }
            // Past the run's end after its last word, when nothing is left to clear.
            taken.end = (index + 1) * BITS;
        }
        true
    }

    fn clear(&self, run: Run) {
        for (index, mask) in run {
            if let Some(word) = self.words.get(index) {
                word.fetch_and(!mask, Ordering::Release);
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

    fn words(count: usize) -> Vec<AtomicU64> {
        (0..count).map(|_| AtomicU64::new(0)).collect()
    }

    #[test]
    fn runs_do_not_overlap_and_come_back() {
        let words = words(4);
        let bitmap = Bitmap::new(&words, 200);
        assert_eq!(bitmap.claim(3, 1), Some(0));
        assert_eq!(bitmap.claim(70, 64), Some(64));
        assert_eq!(bitmap.claim(61, 1), Some(3));
        assert_eq!(bitmap.claim(67, 1), None);
        assert_eq!(bitmap.claim(66, 1), Some(134));
        assert!(bitmap.release(64, 70));
        assert!(!bitmap.release(64, 70), "double free");
        assert!(!bitmap.release(60, 5), "partly free");
        assert!(!bitmap.release(199, 2), "past the end");
        assert!(!bitmap.release(usize::MAX, 2));
        assert_eq!(bitmap.claim(70, 1), Some(64));
    }

    #[test]
    fn concurrent_claims_are_disjoint() {
        let words = words(8);
        let bitmap = Bitmap::new(&words, 512);
        std::thread::scope(|scope| {
            for count in [1, 3, 7, 65] {
                scope.spawn(move || {
                    for _ in 0..20_000 {
                        if let Some(start) = bitmap.claim(count, 1) {
                            assert!(bitmap.release(start, count), "a unit had two owners");
                        }
                    }
                });
            }
        });
        assert!(words.iter().all(|word| word.load(Ordering::Relaxed) == 0));
    }
}
