// SPDX-License-Identifier: MIT OR Apache-2.0
//! Medians, and how far a ratio of medians strays when both sides are the same program.

/// A ratio of two medians with its A/A interval.
pub struct Ratio {
    /// Ours over theirs.
    pub value: f64,
    /// The 2.5% point of ours over ours.
    pub aa_low: f64,
    /// The 97.5% point of ours over ours.
    pub aa_high: f64,
}

impl Ratio {
    /// Compares summaries (such as the median) of shuffled runs. Our program ran under two names,
    /// so that the interval also sees what differs between two runs of the same file.
    ///
    /// The interval: both groups of ours are pooled, and two groups of the same sizes are drawn from
    /// the pool, with replacement, 2000 times. The interval holds 95% of their ratios, and is
    /// widened to the ratio that was seen between the two groups.
    pub fn new<T: Copy>(ours: [&[T]; 2], theirs: &[T], summary: impl Fn(&[T]) -> f64) -> Self {
        const DRAWS: usize = 2000;
        let [first, second] = ours;
        let pool = [first, second].concat();
        let mut random = Random::new();
        let mut draw = |length: usize| -> Vec<T> {
            (0..length)
                .map(|_| pool[random.below(pool.len())])
                .collect()
        };
        let mut ratios: Vec<f64> = (0..DRAWS)
            .map(|_| summary(&draw(first.len())) / summary(&draw(second.len())))
            .collect();
        ratios.sort_by(f64::total_cmp);
        let seen = summary(first) / summary(second);
        Self {
            value: summary(first) / summary(theirs),
            aa_low: ratios[DRAWS / 40].min(seen),
            aa_high: ratios[DRAWS - 1 - DRAWS / 40].max(seen),
        }
    }
}

impl Ratio {
    /// The largest of some, at least one.
    pub fn worst(ratios: &[Self]) -> &Self {
        let worst = ratios.iter().max_by(|a, b| a.value.total_cmp(&b.value));
        worst.expect("there is one")
    }
}

/// The middle value; of an even number, the mean of the two in the middle.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 {
        sorted[middle]
    } else {
        sorted[middle - 1].midpoint(sorted[middle])
    }
}

/// Numbers for shuffling and drawing: splitmix64 from a fixed seed, so that the same runs give
/// the same interval.
pub struct Random(u64);

impl Random {
    /// The start of the sequence.
    pub fn new() -> Self {
        Self(0x5eed)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        usize::try_from(mixed % bound as u64).expect("below a usize")
    }

    /// Puts the items into a random order.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Random, Ratio, median};

    #[test]
    fn the_median_of_odd_and_even_numbers_of_values() {
        assert!((median(&[3.0, 1.0, 2.0]) - 2.0).abs() < 1e-12);
        assert!((median(&[4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < 1e-12);
    }

    #[test]
    fn a_shuffle_keeps_every_item() {
        let mut items: Vec<usize> = (0..100).collect();
        Random::new().shuffle(&mut items);
        assert_ne!(items, (0..100).collect::<Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..100).collect::<Vec<_>>());
    }

    #[test]
    fn the_interval_widens_with_the_noise_and_holds_what_was_seen() {
        let quiet = [10.0, 10.1, 9.9, 10.0, 10.05];
        let noisy = [10.0, 14.0, 7.0, 12.0, 9.0];
        let still = Ratio::new([&quiet, &quiet], &[20.0; 5], median);
        let loud = Ratio::new([&noisy, &noisy], &[20.0; 5], median);
        assert!((still.value - 0.5).abs() < 1e-12);
        assert!(loud.aa_high - loud.aa_low > 2.0 * (still.aa_high - still.aa_low));
        let apart = Ratio::new([&[3.0; 5], &[1.0; 5]], &[1.0; 5], median);
        assert!(apart.aa_low <= 3.0 && apart.aa_high >= 3.0);
    }
}
