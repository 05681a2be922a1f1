// SPDX-License-Identifier: MIT OR Apache-2.0
//! Who holds which items, as a fork child sees it too: where a fork stops every other thread, what
//! a thread is in the middle of is known from what it announced before.

use core::ptr::NonNull;
use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering::SeqCst};

use crate::targets::{CLASSES, ITEMS, Item, Items, Target, item, number};

/// The most items that one holds.
const ROOM: usize = 256;
/// In `held`: it is being put into the structure. Whether it is there, is not known.
const LEAVING: u32 = 1 << 31;

/// A thread, or the signal handler on top of it.
pub struct Actor {
    /// Numbers of items, from 1 on; 0 is none.
    held: [AtomicU32; ROOM],
    /// For each class, how many items are perhaps taken and not yet held.
    coming: [AtomicUsize; CLASSES],
}

impl Actor {
    /// One that has nothing.
    pub const fn new() -> Self {
        Self {
            held: [const { AtomicU32::new(0) }; ROOM],
            coming: [const { AtomicUsize::new(0) }; CLASSES],
        }
    }

    /// It has this item.
    pub fn hold(&self, number: usize) {
        let place = self.held.iter().find(|place| place.load(SeqCst) == 0);
        place
            .expect("so many are not taken")
            .store(number as u32 + 1, SeqCst);
    }

    /// Puts up to `count` of its items of this class into the structure, and returns how many.
    pub fn push(&self, target: Target, class: usize, count: usize) -> usize {
        let mut places = [0; ROOM];
        let mut items = [item(0); ROOM];
        let mut found = 0;
        for (place, held) in self.held.iter().enumerate() {
            let held = held.load(SeqCst);
            if held != 0 && (held as usize - 1) % CLASSES == class && found < count {
                (places[found], items[found]) = (place, item(held as usize - 1));
                found += 1;
            }
        }
        if found == 0 {
            return 0;
        }
        let places = &places[..found];
        for &place in places {
            self.held[place].fetch_or(LEAVING, SeqCst);
        }
        let put = target.push(class, &items[..found]).unwrap_or(0);
        for &place in &places[..put] {
            self.held[place].store(0, SeqCst);
        }
        for &place in &places[put..] {
            self.held[place].fetch_and(!LEAVING, SeqCst);
        }
        put
    }

    /// Takes up to `count` items of this class by `take`, and returns how many; none where it has no room
    /// for them.
    pub fn take<'a, E>(
        &self,
        class: usize,
        count: usize,
        take: impl FnOnce() -> Result<&'a [NonNull<Item>], E>,
    ) -> Result<usize, E> {
        let places = self.held.iter();
        if places.filter(|held| held.load(SeqCst) == 0).count() < count {
            return Ok(0);
        }
        self.coming[class].store(count, SeqCst);
        let taken = take();
        if let Ok(items) = &taken {
            assert!(items.len() <= count);
            for &item in *items {
                assert_eq!(
                    number(item) % CLASSES,
                    class,
                    "it came out of another class"
                );
                self.hold(number(item));
            }
        }
        self.coming[class].store(0, SeqCst);
        taken.map(<[_]>::len)
    }

    /// Takes an item and puts it back, so many times, with nothing between but that.
    pub fn churn(&self, target: Target, class: usize, times: usize, taken: &mut Items) {
        if self.held.iter().all(|held| held.load(SeqCst) != 0) {
            return;
        }
        self.coming[class].store(1, SeqCst);
        for _ in 0..times {
            let Ok(&[item]) = target.pop(class, 1, taken) else {
                break;
            };
            if target.push(class, &[item]).is_err() {
                self.hold(number(item));
                break;
            }
        }
        self.coming[class].store(0, SeqCst);
    }

    /// How many items of this class it holds.
    pub fn count(&self, class: usize) -> usize {
        let held = self.held.iter().map(|held| held.load(SeqCst) & !LEAVING);
        held.filter(|held| *held != 0 && (*held as usize - 1) % CLASSES == class)
            .count()
    }

    /// Whether it is in the middle of something with that class.
    pub fn is_busy(&self, class: usize) -> bool {
        let is_leaving = |held: &AtomicU32| {
            let held = held.load(SeqCst);
            held & LEAVING != 0 && ((held & !LEAVING) as usize - 1) % CLASSES == class
        };
        self.coming[class].load(SeqCst) > 0 || self.held.iter().any(is_leaving)
    }
}

/// How often each item is where.
pub struct Census {
    inside: [u8; ITEMS],
    held: [u8; ITEMS],
    leaving: [u8; ITEMS],
    coming: [usize; CLASSES],
}

impl Census {
    /// Of what the actors say.
    pub fn of(actors: &[Actor]) -> Self {
        let mut census = Self {
            inside: [0; ITEMS],
            held: [0; ITEMS],
            leaving: [0; ITEMS],
            coming: [0; CLASSES],
        };
        for actor in actors {
            for held in &actor.held {
                let held = held.load(SeqCst);
                match (held & LEAVING, held & !LEAVING) {
                    (_, 0) => {}
                    (0, held) => census.held[held as usize - 1] += 1,
                    (_, held) => census.leaving[held as usize - 1] += 1,
                }
            }
            for (sum, coming) in census.coming.iter_mut().zip(&actor.coming) {
                *sum += coming.load(SeqCst);
            }
        }
        census
    }

    /// Adds what is in a class on all vCPUs, which it takes out. Returns false where that is refused.
    pub fn drain(&mut self, target: Target, class: usize, taken: &mut Items) -> bool {
        for area in vcpu_rt::vcpu::areas() {
            loop {
                match target.drain(area, class, taken) {
                    Ok([]) => break,
                    Ok(items) => {
                        for &item in items {
                            assert_eq!(number(item) % CLASSES, class);
                            self.inside[number(item)] += 1;
                        }
                    }
                    Err(_) => return false,
                }
            }
        }
        true
    }

    /// Each item of the class is in one place only, and those that are in none are being taken.
    pub fn check(&self, class: usize) {
        let mut missing = 0;
        for number in (class..ITEMS).step_by(CLASSES) {
            let (inside, held) = (self.inside[number], self.held[number]);
            assert!(
                inside + held <= 1,
                "item {number} is {inside} times inside and held {held} times"
            );
            missing += usize::from(inside + held + self.leaving[number] == 0);
        }
        assert!(
            missing <= self.coming[class],
            "{missing} items of class {class} are lost, {} are being taken",
            self.coming[class]
        );
    }

    /// The items of a class that were inside.
    pub fn inside(&self, class: usize) -> impl Iterator<Item = usize> {
        (class..ITEMS)
            .step_by(CLASSES)
            .filter(|number| self.inside[*number] > 0)
    }

    /// Nobody is in the middle of anything.
    pub fn is_quiet(&self) -> bool {
        self.coming == [0; CLASSES] && self.leaving == [0; ITEMS]
    }
}
