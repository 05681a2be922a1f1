// SPDX-License-Identifier: MIT OR Apache-2.0
//! Histograms.

use core::ops::RangeInclusive;

use crate::object::{Local, Object};
use crate::single::Single;

/// Binary logarithm of the buckets that each power of two is divided into.
const PRECISION: u32 = 3;
/// Below 8 one bucket for each value, then eight for each of the 61 powers of two from 8 on.
const BUCKETS: usize = (64 - PRECISION as usize + 1) << PRECISION;

/// How often values of 64 bits occurred, by magnitude: a bucket for each value below 16, then eight
/// buckets of equal width for each power of two (log-linear, as in HDR histograms). So a bucket's
/// width is at most an eighth of its lowest value. 3968 bytes on each vCPU: it fits the smallest
/// stride. Each bucket is a [`Counter`](super::Counter), with what that promises.
#[repr(transparent)]
pub struct Histogram {
    buckets: [Single<u64>; BUCKETS],
}

// SAFETY: words.
unsafe impl Object for Histogram {}

impl Local<Histogram> {
    /// Counts `value`.
    #[inline(always)]
    pub fn record(&self, value: u64) {
        crate::field!(self, buckets).at(bucket_of(value)).inc();
    }

    /// The sums of all buckets. Each is as [`Counter::sum`](super::Counter) says; those of different
    /// buckets are read one after the other.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let mut counts = [0_u64; BUCKETS];
        // By areas, not by buckets: each area's memory is visited once.
        for (_, copy) in self.copies() {
            let copy = copy.cast::<u64>();
            for (bucket, count) in counts.iter_mut().enumerate() {
                // SAFETY: the object is alive while it is borrowed and has so many words. Volatile, and the
                // size of a word: one load, which its vCPU's instructions do not tear.
                *count = count.wrapping_add(unsafe { copy.add(bucket).read_volatile() });
            }
        }
        Snapshot { counts }
    }

    /// How many values were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.snapshot().count()
    }
}

/// The counts of a [`Histogram`] at one time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    counts: [u64; BUCKETS],
}

impl Snapshot {
    /// How many values were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts
            .iter()
            .fold(0, |sum: u64, count| sum.wrapping_add(*count))
    }

    /// What was counted since `earlier`, an earlier snapshot of the same histogram.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut counts = self.counts;
        for (count, before) in counts.iter_mut().zip(&earlier.counts) {
            *count = count.wrapping_sub(*before);
        }
        Self { counts }
    }

    /// The buckets that are not empty, lowest first: their values, and how many there were.
    pub fn buckets(&self) -> impl Iterator<Item = (RangeInclusive<u64>, u64)> + '_ {
        let counts = self.counts.iter().enumerate();
        counts
            .filter(|(_, count)| **count > 0)
            .map(|(bucket, count)| (values_of(bucket), *count))
    }

    /// The bucket with the smallest value that at least the part `fraction` of all values does not
    /// exceed: 0.5 is the median, 0 the minimum, 1 the maximum. The exact quantile is one of the range's
    /// values. `None` without values, or when `fraction` is not within 0 to 1.
    #[must_use]
    pub fn quantile(&self, fraction: f64) -> Option<RangeInclusive<u64>> {
        let count = self.count();
        if count == 0 || !(0.0..=1.0).contains(&fraction) {
            return None;
        }
        let exact = fraction * count as f64;
        let below = exact as u64;
        // Rounded up, by hand: core has no `ceil`.
        let rank = if (below as f64) < exact {
            below + 1
        } else {
            below
        };
        let rank = rank.clamp(1, count);
        let mut seen = 0;
        self.buckets().find_map(|(values, count)| {
            seen += count;
            (seen >= rank).then_some(values)
        })
    }
}

/// The bucket that counts `value`.
#[inline(always)]
fn bucket_of(value: u64) -> usize {
    // How far the leading bits, four from 8 on, are above the lowest ones.
    let shift = (63 - PRECISION) - (value | 1 << PRECISION).leading_zeros();
    ((u64::from(shift) << PRECISION) + (value >> shift)) as usize
}

/// The values that `bucket` counts.
fn values_of(bucket: usize) -> RangeInclusive<u64> {
    let bucket = bucket as u64;
    let shift = (bucket >> PRECISION).saturating_sub(1);
    let lowest = (bucket - (shift << PRECISION)) << shift;
    lowest..=lowest + ((1 << shift) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_cover_every_value_once() {
        let mut next = 0_u128;
        for bucket in 0..BUCKETS {
            let values = values_of(bucket);
            assert_eq!(u128::from(*values.start()), next);
            assert_eq!(bucket_of(*values.start()), bucket);
            assert_eq!(bucket_of(*values.end()), bucket);
            let width = values.end() - values.start() + 1;
            assert!(width == 1 || width <= values.start() / 8);
            next = u128::from(*values.end()) + 1;
        }
        assert_eq!(next, 1 << 64);
    }

    #[test]
    fn quantiles() {
        let mut snapshot = Snapshot {
            counts: [0; BUCKETS],
        };
        assert_eq!(snapshot.quantile(0.5), None);
        for value in 1..=1000 {
            snapshot.counts[bucket_of(value)] += 1;
        }
        for (fraction, exact) in [
            (0.0, 1),
            (0.001, 1),
            (0.0011, 2),
            (0.5, 500),
            (0.99, 990),
            (0.9991, 1000),
            (1.0, 1000),
        ] {
            let values = snapshot.quantile(fraction).expect("there are values");
            assert!(values.contains(&exact), "{fraction}: {values:?}");
        }
        for wrong in [-0.1, 1.1, f64::NAN] {
            assert_eq!(snapshot.quantile(wrong), None);
        }
        let none = snapshot.since(&snapshot.clone());
        assert_eq!((none.count(), none.buckets().count()), (0, 0));
    }
}
