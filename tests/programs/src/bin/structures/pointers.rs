// SPDX-License-Identifier: MIT OR Apache-2.0
//! Stacks and caches under a storm: no item is lost, and none is in two places.

use core::mem::MaybeUninit;
use core::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use vcpu_rt::{NotPut, NotTaken, println, vcpu};

use crate::actors::{Actor, Census};
use crate::storm::{self, How, Random, THREADS, Work};
use crate::targets::{CLASSES, ITEMS, Items, SLOTS, Target, item};

/// Threads, the remote one, and behind them the handlers on top of each.
static ACTORS: [Actor; 2 * (THREADS + 1)] = [const { Actor::new() }; 2 * (THREADS + 1)];

/// Items that the remote thread took.
static REMOTELY: AtomicUsize = AtomicUsize::new(0);

/// The remote thread takes no more while it has so many.
const REMOTE: usize = 96;

struct Storm(Target);

static STACK: Storm = Storm(Target::Stack);
static CACHE: Storm = Storm(Target::Cache);

pub fn run(target: Target, how: How, milliseconds: usize) {
    // With few threads some items are held by nobody who does anything.
    for number in 0..ITEMS {
        ACTORS[number % how.threads.max(4)].hold(number);
    }
    let storm = match target {
        Target::Stack => &STACK,
        Target::Cache => &CACHE,
    };
    storm::run(how, milliseconds, storm);
    let mut census = Census::of(&ACTORS);
    assert!(census.is_quiet(), "somebody is still busy");
    let inside = storm.check_all(&mut census, |_| false);
    println!("inside={inside}");
    println!("remotely={}", REMOTELY.load(SeqCst));
    assert!(REMOTELY.load(SeqCst) > 0, "nothing was drained");
}

impl Storm {
    /// Checks every class, except where `is_skipped` knows why it cannot be drained. Returns how many
    /// items were inside, which are out afterwards.
    fn check_all(&self, census: &mut Census, is_skipped: impl Fn(usize) -> bool) -> usize {
        let mut taken: Items = [MaybeUninit::uninit(); ITEMS];
        let mut inside = 0;
        for class in 0..CLASSES {
            if census.drain(self.0, class, &mut taken) {
                census.check(class);
                inside += census.inside(class).count();
            } else {
                assert!(is_skipped(class), "class {class} cannot be drained");
            }
        }
        inside
    }
}

impl Work for Storm {
    fn step(&self, me: usize, random: &mut Random) {
        let (target, actor) = (self.0, &ACTORS[me]);
        let mut taken: Items = [MaybeUninit::uninit(); ITEMS];
        // The others too: what the remote one took, it puts where it runs itself.
        if me == THREADS || random.below(32) == 0 {
            self.step_remotely(actor, random, &mut taken);
            return;
        }
        let (class, count) = (random.below(CLASSES), 1 + random.below(4));
        // A thread holds two of a class: more pushes than pops, so that there is something inside.
        if random.below(3) > 0 {
            actor.push(target, class, count);
        } else {
            let _none_or_busy = actor.take(class, count, || target.pop(class, count, &mut taken));
        }
        actor.churn(target, class, 16, &mut taken);
    }

    fn interrupt(&self, me: usize) {
        let (target, actor) = (self.0, &ACTORS[THREADS + 1 + me]);
        let mut taken: Items = [MaybeUninit::uninit(); ITEMS];
        for class in 0..CLASSES {
            // What it cannot put back now it holds until the next signal.
            if actor.push(target, class, 2) == 0 {
                let _none_or_busy = actor.take(class, 2, || target.pop(class, 2, &mut taken));
                actor.push(target, class, 1);
            }
        }
    }

    fn check_child(&self, me: usize, is_on_top: bool) {
        // Beneath the handler this very thread may hold a lock, and goes on one day.
        let is_skipped = |class| is_on_top && ACTORS[me].is_busy(class);
        // Before a drain takes anything over.
        let mut taken: Items = [MaybeUninit::uninit(); ITEMS];
        for class in (0..CLASSES).filter(|class| !is_skipped(*class)) {
            let actor = &ACTORS[THREADS + 1 + me];
            let result = actor.take(class, 1, || self.0.pop(class, 1, &mut taken));
            assert_ne!(result, Err(NotTaken::Busy), "of class {class}");
        }
        let mut census = Census::of(&ACTORS);
        let inside = self.check_all(&mut census, is_skipped);
        // Whatever the parent's threads left, all of it can be used.
        let mut put = 0;
        for class in (0..CLASSES).filter(|class| !is_skipped(*class)) {
            for number in census.inside(class) {
                match self.0.push(class, &[item(number)]) {
                    Ok(_) => put += 1,
                    Err(why) => assert_eq!((self.0, why), (Target::Cache, NotPut::Full)),
                }
            }
        }
        let mut after = Census::of(&[]);
        let again = self.check_all_of(&mut after, is_skipped);
        assert_eq!(again, put, "of {inside} items, {put} went in again");
    }
}

impl Storm {
    /// How many items are inside, of which nobody knows anything.
    fn check_all_of(&self, census: &mut Census, is_skipped: impl Fn(usize) -> bool) -> usize {
        let mut taken: Items = [MaybeUninit::uninit(); ITEMS];
        let classes = (0..CLASSES).filter(|class| !is_skipped(*class));
        classes
            .map(|class| {
                assert!(census.drain(self.0, class, &mut taken));
                census.inside(class).count()
            })
            .sum()
    }

    /// Drains and resizes other vCPUs' areas, and puts what it got back.
    fn step_remotely(&self, actor: &Actor, random: &mut Random, taken: &mut Items) {
        let mut left = 0;
        for class in 0..CLASSES {
            while actor.push(self.0, class, SLOTS) > 0 {}
            left += actor.count(class);
        }
        if left > REMOTE {
            return;
        }
        let class = random.below(CLASSES);
        let nth = random.below(vcpu::areas().count());
        let area = vcpu::areas().nth(nth).expect("it was counted");
        let all = match self.0 {
            Target::Stack => ITEMS / CLASSES,
            Target::Cache => SLOTS,
        };
        let result = if random.below(8) > 0 {
            actor.take(class, all, || self.0.drain(area, class, taken))
        } else {
            // None one time in eight, else at least half.
            let capacity = SLOTS - random.below(SLOTS / 2);
            let capacity = capacity * random.below(8).min(1);
            actor.take(class, all, || self.0.resize(area, class, capacity, taken))
        };
        match result {
            Ok(count) => REMOTELY.fetch_add(count, SeqCst),
            Err(errno) => {
                assert_eq!(errno, vcpu_rt::Errno::BUSY);
                0
            }
        };
    }
}
