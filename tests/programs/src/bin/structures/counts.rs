// SPDX-License-Identifier: MIT OR Apache-2.0
//! A counter and a histogram under a storm: exact when it is over, never going back meanwhile.

use core::ops::RangeInclusive;
use core::sync::atomic::{AtomicU64, Ordering::SeqCst};

use vcpu_rt::{Counter, Histogram, per_vcpu, println};

use crate::storm::{self, How, Random, THREADS, Work};

per_vcpu! {
    static COUNTER: Counter;
    static HISTOGRAM: Histogram;
}

/// What is recorded, and added: from every part of the range, several to a bucket.
const VALUES: [u64; 12] = [
    0,
    1,
    15,
    16,
    17,
    18,
    1000,
    1023,
    1024,
    1 << 40,
    (1 << 40) + 1,
    u64::MAX,
];

/// How often one thread, or the handler on top of it, recorded each value.
struct Tally {
    begun: [AtomicU64; VALUES.len()],
    done: [AtomicU64; VALUES.len()],
    /// The last sum that it saw.
    last: AtomicU64,
}

static TALLIES: [Tally; 2 * (THREADS + 1)] = [const {
    Tally {
        begun: [const { AtomicU64::new(0) }; VALUES.len()],
        done: [const { AtomicU64::new(0) }; VALUES.len()],
        last: AtomicU64::new(0),
    }
}; 2 * (THREADS + 1)];

/// How often all of them recorded values of that range, by one of their numbers.
fn recorded(values: &RangeInclusive<u64>, number: impl Fn(&Tally) -> &[AtomicU64]) -> u64 {
    let of_one = |tally: &Tally| -> u64 {
        let counts = number(tally).iter().zip(VALUES);
        let counts = counts.filter(|(_, value)| values.contains(value));
        counts.map(|(count, _)| count.load(SeqCst)).sum()
    };
    TALLIES.iter().map(of_one).sum()
}

const ANY: RangeInclusive<u64> = 0..=u64::MAX;

fn begun(values: &RangeInclusive<u64>) -> u64 {
    recorded(values, |tally| &tally.begun)
}

fn done(values: &RangeInclusive<u64>) -> u64 {
    recorded(values, |tally| &tally.done)
}

struct Storm;

pub fn run(how: How, milliseconds: usize) {
    storm::run(how, milliseconds, &Storm);
    let expected = done(&ANY);
    println!("sum={}", COUNTER.sum());
    println!("count={}", HISTOGRAM.count());
    println!("expected={expected}");
    assert_eq!((COUNTER.sum(), HISTOGRAM.count()), (expected, expected));
    check_buckets();
    let highest = HISTOGRAM.snapshot().quantile(1.0);
    assert_eq!(highest.map(|values| *values.end()), Some(u64::MAX));
}

/// Between what was done before and what was begun after: when nothing happens exactly.
fn check_buckets() {
    let before: [u64; VALUES.len()] = VALUES.map(|value| done(&(value..=value)));
    let snapshot = HISTOGRAM.snapshot();
    let mut seen = 0;
    for (values, count) in snapshot.buckets() {
        let inside = VALUES.iter().zip(before);
        let inside = inside.filter(|(value, _)| values.contains(value));
        let least: u64 = inside.map(|(_, count)| count).sum();
        assert!(
            least <= count && count <= begun(&values),
            "{count} in {values:?}, {least} at least"
        );
        seen += least;
    }
    assert_eq!(seen, before.iter().sum::<u64>(), "a bucket is empty");
}

fn record(tally: &Tally, index: usize) {
    tally.begun[index].fetch_add(1, SeqCst);
    COUNTER.inc();
    HISTOGRAM.record(VALUES[index]);
    tally.done[index].fetch_add(1, SeqCst);
}

/// A sum that this observer takes is not below the one that it took before, and has all that
/// was done.
fn observe(tally: &Tally) {
    let least = done(&ANY);
    let sum = COUNTER.sum();
    let most = begun(&ANY);
    let last = tally.last.swap(sum, SeqCst);
    assert!(last <= sum, "{last}, and then {sum}");
    assert!(least <= sum && sum <= most, "{least} to {most}: {sum}");
}

impl Work for Storm {
    fn step(&self, me: usize, random: &mut Random) {
        let tally = &TALLIES[me];
        if me == THREADS {
            observe(tally);
            check_buckets();
            return;
        }
        record(tally, random.below(VALUES.len()));
        if random.below(64) == 0 {
            observe(tally);
        }
    }

    fn interrupt(&self, me: usize) {
        let tally = &TALLIES[THREADS + 1 + me];
        let count = tally.begun[3].load(SeqCst) as usize;
        record(tally, 3);
        record(tally, count % VALUES.len());
        observe(tally);
    }

    fn check_child(&self, me: usize, _: bool) {
        observe(&TALLIES[me]);
        check_buckets();
        let before = COUNTER.sum();
        record(&TALLIES[THREADS + 1 + me], 0);
        assert_eq!(COUNTER.sum(), before + 1);
    }
}
