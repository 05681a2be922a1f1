// SPDX-License-Identifier: MIT OR Apache-2.0
//! Claims and releases of runs of units.

use loom::model::Builder;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicU64, Ordering};
use loom::thread;

use vcpu_models::bitmap::{BITS, Bitmap, Units};

/// The preemptions of one execution: most errors need one or two (the CHESS papers), and more
/// would take hours.
const PREEMPTIONS: usize = 3;

fn check(model: impl Fn() + Sync + Send + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound = Some(PREEMPTIONS);
    builder.check(model);
}

/// A bitmap, and one word beside each unit for whoever owns the unit. These are accessed relaxed, so
/// they say whether claim and release order what owners write.
struct Pool {
    words: Vec<Units>,
    units: usize,
    contents: Vec<AtomicU64>,
}

impl Pool {
    /// `units` units in so many words; the rest is in use.
    fn new(words: usize, units: usize) -> Arc<Self> {
        Arc::new(Self {
            words: (0..words).map(|_| Units::new()).collect(),
            units,
            contents: (0..2).map(|_| AtomicU64::new(0)).collect(),
        })
    }

    fn bitmap(&self) -> Bitmap<'_> {
        Bitmap::new(&self.words, self.units)
    }

    fn claim(&self, count: usize) -> Option<usize> {
        self.bitmap().claim(count, 1, 0).start
    }
}

/// Two owners of the only run never meet: each finds it as the last one left it.
#[test]
fn one_run_has_one_owner() {
    check(|| {
        let pool = Pool::new(1, 1);
        let own = |pool: &Pool| {
            let Some(start) = pool.claim(1) else { return };
            assert_eq!(pool.contents[0].swap(1, Ordering::Relaxed), 0, "two owners");
            pool.contents[0].store(0, Ordering::Relaxed);
            assert!(pool.bitmap().release(start, 1));
        };
        let other = Arc::clone(&pool);
        let thread = thread::spawn(move || own(&other));
        own(&pool);
        thread.join().unwrap();
        assert_eq!(pool.bitmap().count(), (0, 0));
        assert_eq!(pool.claim(1), Some(0));
    });
}

/// A load of what the last owner wrote, without a modification that would find the newest value.
#[test]
fn a_release_shows_what_was_written() {
    check(|| {
        let pool = Pool::new(1, 1);
        assert_eq!(pool.claim(1), Some(0));
        let other = Arc::clone(&pool);
        let thread = thread::spawn(move || {
            other.contents[0].store(7, Ordering::Relaxed);
            assert!(other.bitmap().release(0, 1));
        });
        if pool.claim(1).is_some() {
            assert_eq!(pool.contents[0].load(Ordering::Relaxed), 7);
        }
        thread.join().unwrap();
    });
}

/// Of two frees of one object one wins, and a third, of a wrong size, never does.
#[test]
fn of_two_releases_one_wins() {
    check(|| {
        let pool = Pool::new(1, 4);
        assert_eq!(pool.claim(2), Some(0));
        let threads: Vec<_> = [2, 1]
            .map(|count| {
                let pool = Arc::clone(&pool);
                thread::spawn(move || pool.bitmap().release(0, count))
            })
            .into();
        let mine = pool.bitmap().release(0, 2);
        let [theirs, short] = threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect::<Vec<_>>()[..]
        else {
            unreachable!("two threads")
        };
        assert!(mine ^ theirs);
        assert!(!short);
        assert_eq!(pool.bitmap().count(), (0, 0));
        assert_eq!(pool.claim(4), Some(0));
    });
}

/// A free that comes a second time, while the place gets another owner with an object of another
/// size, does not free that.
#[test]
fn a_late_release_spares_the_next_owner() {
    check(|| {
        let pool = Pool::new(1, 3);
        assert_eq!(pool.claim(1), Some(0));
        let other = Arc::clone(&pool);
        let late = thread::spawn(move || other.bitmap().release(0, 1));
        let freed = pool.bitmap().release(0, 1);
        let start = pool.claim(2);
        assert!(freed ^ late.join().unwrap());
        // If the late one won, it may have done so behind the claim.
        let start = start.or_else(|| pool.claim(2)).expect("all is free");
        assert!(pool.bitmap().holds(start, 2));
        assert_eq!(pool.bitmap().count(), (2, 1));
        assert!(pool.bitmap().release(start, 2));
    });
}

/// Claims that span words and meet give back what they took.
#[test]
fn claims_over_two_words_are_disjoint() {
    check(|| {
        let pool = Pool::new(2, BITS + 2);
        // All but two units on each side of the words' border.
        assert_eq!(pool.claim(BITS - 2), Some(0));
        let other = Arc::clone(&pool);
        let thread = thread::spawn(move || other.claim(3));
        let mine = pool.claim(2);
        let theirs = thread.join().unwrap();
        match (mine, theirs) {
            (Some(mine), Some(theirs)) => panic!("{mine} and {theirs} of four units"),
            (Some(mine), None) => assert!(pool.bitmap().release(mine, 2)),
            (None, Some(theirs)) => assert!(pool.bitmap().release(theirs, 3)),
            // Each met the other one's units before these were given back.
            (None, None) => {}
        }
        assert_eq!(pool.bitmap().count(), (BITS - 2, 1));
        assert_eq!(pool.claim(4), Some(BITS - 2));
    });
}
