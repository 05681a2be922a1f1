// SPDX-License-Identifier: MIT OR Apache-2.0
//! A lock-free allocator of runs of units: one bit per unit, set while the unit is in use.
//!
//! There is no lock, so a signal handler and a fork child may use it at any time. A claim that
//! spans words and meets another one gives back the words it took and looks on. For that moment
//! a third claim can find them in use: on a bitmap that is nearly full it may say "none" although
//! the loser's units are about to be free again.
#![forbid(unsafe_code)]

use core::ops::Range;
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
        Self {
            words,
            units: units.min(words.len().saturating_mul(BITS)),
        }
    }

    /// Takes `count` units in a row, the first at a multiple of `align` (a power of two), and
    /// returns the first. `None` when there is no such run.
    pub fn claim(&self, count: usize, align: usize) -> Option<usize> {
        for _ in 0..PASSES {
            let mut disturbed = false;
            let mut start = 0;
            while let Some(run) = self.run(start, count) {
                start = match self.last_used(run.clone()) {
                    Some(used) => align_up(used + 1, align),
                    None if self.try_take(run.clone()) => return Some(run.start),
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
        let all_used = masks(run.clone()).all(|(word, mask)| {
            self.words
                .get(word)
                .is_some_and(|word| word.load(Ordering::Relaxed) & mask == mask)
        });
        all_used && {
            self.clear(run);
            true
        }
    }

    fn run(&self, start: usize, count: usize) -> Option<Range<usize>> {
        let end = start.checked_add(count)?;
        (end <= self.units).then_some(start..end)
    }

    fn last_used(&self, run: Range<usize>) -> Option<usize> {
        let mut last = None;
        for (index, mask) in masks(run) {
            let used = self.words.get(index)?.load(Ordering::Relaxed) & mask;
            if used != 0 {
                last = Some(index * BITS + (BITS - 1 - used.leading_zeros() as usize));
            }
        }
        last
    }

    /// Sets the run's bits, word by word; when one is set already, clears the words before it.
    fn try_take(&self, run: Range<usize>) -> bool {
        let mut taken = run.start..run.start;
        for (index, mask) in masks(run.clone()) {
            let Some(word) = self.words.get(index) else {
                return false;
            };
            // Acquire pairs with `clear`: what the last owner wrote is visible to the next.
            let take = |bits: u64| (bits & mask == 0).then_some(bits | mask);
            if word
                .fetch_update(Ordering::Acquire, Ordering::Relaxed, take)
                .is_err()
            {
                self.clear(taken);
                return false;
            }
            taken.end = ((index + 1) * BITS).min(run.end);
        }
        true
    }

    fn clear(&self, run: Range<usize>) {
        for (index, mask) in masks(run) {
            if let Some(word) = self.words.get(index) {
                word.fetch_and(!mask, Ordering::Release);
            }
        }
    }
}

/// `align` is a power of two.
fn align_up(unit: usize, align: usize) -> usize {
    let mask = align.wrapping_sub(1);
    unit.wrapping_add(mask) & !mask
}

/// The words that a run touches, each with the mask of its bits.
fn masks(run: Range<usize>) -> impl Iterator<Item = (usize, u64)> {
    let mut at = run.start;
    core::iter::from_fn(move || {
        if at >= run.end {
            return None;
        }
        let (index, low) = (at / BITS, at % BITS);
        let count = (BITS - low).min(run.end - at);
        at += count;
        Some((index, (u64::MAX >> (BITS - count)) << low))
    })
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
