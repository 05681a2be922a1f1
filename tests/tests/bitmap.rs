// SPDX-License-Identifier: MIT OR Apache-2.0
//! The bitmap of units against a list of the runs that are in use, on generated requests. What
//! several do at once is for `tests/models`.

use proptest::prelude::*;
use vcpu_core::bitmap::{Bitmap, Units};

const MOST_UNITS: usize = 300;

#[derive(Clone, Debug)]
enum Request {
    Claim {
        count: usize,
        align: usize,
        from: usize,
    },
    /// Releases the nth run in use, with its bounds moved.
    Release {
        index: usize,
        start_off: usize,
        count_off: isize,
    },
}

fn request() -> impl Strategy<Value = Request> {
    let count = prop_oneof![1..5_usize, 60..70_usize, 1..MOST_UNITS];
    let claim = (count, 0..9_u32, 0..MOST_UNITS);
    let off = prop_oneof![4 => Just((0, 0)), 1 => (0..3_usize, -3..4_isize)];
    prop_oneof![
        claim.prop_map(|(count, align, from)| Request::Claim {
            count,
            align: 1 << align,
            from
        }),
        (any::<prop::sample::Index>(), off).prop_map(|(index, (start_off, count_off))| {
            Request::Release {
                index: index.index(64),
                start_off,
                count_off,
            }
        }),
    ]
}

/// The runs in use, as first unit and count.
struct Oracle {
    units: usize,
    runs: Vec<(usize, usize)>,
}

impl Oracle {
    fn is_free(&self, start: usize, count: usize) -> bool {
        let meets = |run: &(usize, usize)| run.0 < start + count && start < run.0 + run.1;
        start + count <= self.units && !self.runs.iter().any(meets)
    }

    /// The lowest place from `from` on, else the lowest of all.
    fn place(&self, count: usize, align: usize, from: usize) -> Option<usize> {
        let fits = |start: &usize| start.is_multiple_of(align) && self.is_free(*start, count);
        let behind = (from..self.units).find(fits);
        behind.or_else(|| (0..self.units).find(fits))
    }

    fn release(&mut self, start: usize, count: usize) -> bool {
        let place = self.runs.iter().position(|run| *run == (start, count));
        place.map(|place| self.runs.swap_remove(place)).is_some()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn as_the_oracle_says(
        units in 1..MOST_UNITS,
        requests in prop::collection::vec(request(), 1..60),
    ) {
        let words: Vec<Units> = (0..units.div_ceil(64)).map(|_| Units::new()).collect();
        let bitmap = Bitmap::new(&words, units);
        let mut oracle = Oracle { units, runs: Vec::new() };
        for request in requests {
            match request {
                Request::Claim { count, align, from } => {
                    let place = oracle.place(count, align, from);
                    let claim = bitmap.claim(count, align, from);
                    prop_assert_eq!(claim.start, place);
                    prop_assert!(!claim.disturbed);
                    oracle.runs.extend(place.map(|start| (start, count)));
                }
                Request::Release { index, start_off, count_off } => {
                    let Some(&(start, count)) = oracle.runs.get(index % oracle.runs.len().max(1))
                    else { continue };
                    let start = start + start_off;
                    let count = count.saturating_add_signed(count_off);
                    let held = bitmap.holds(start, count);
                    let released = oracle.release(start, count);
                    prop_assert_eq!(held, released);
                    prop_assert_eq!(bitmap.release(start, count), released);
                    // A second time it never is.
                    prop_assert!(!bitmap.release(start, count));
                }
            }
            let used = oracle.runs.iter().map(|run| run.1).sum();
            prop_assert_eq!(bitmap.count(), (used, oracle.runs.len()));
        }
    }
}
