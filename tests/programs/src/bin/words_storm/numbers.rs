// SPDX-License-Identifier: MIT OR Apache-2.0
//! Operations of one word, of each kind and width.

use vcpu_rt::{Section, Single, per_vcpu, vcpu};

use crate::ledger::{Caller, Entry, Subject, mix};

/// What both kinds have. Sums 0 and 1: what was added. 2: all values that add_return gave. 3: which
/// values were put and not taken out again. 4: successful exchanges after a comparison.
macro_rules! both_kinds {
    ($module:ident, $kind:ident, $type:ident) => {
        mod $module {
            use super::*;

            per_vcpu! {
                static WORDS: [$kind<$type>; 7];
            }

            /// So that sums of narrow words, which wrap early, wrap like a u64.
            const SHIFT: u32 = u64::BITS - $type::BITS;

            pub const SUBJECT: Subject = Subject {
                name: stringify!($module),
                step,
                measure,
            };

            fn step(caller: &mut Caller, entry: &mut Entry) {
                let value = caller.next() as $type;
                caller.by(&WORDS.at(0)).add(value);
                entry.add(0, u64::from(value) << SHIFT);

                let sum = caller.by(&WORDS.at(1)).add_return(1);
                entry.add(1, 1 << SHIFT);
                entry.add(2, if SHIFT <= 32 { u64::from(sum) } else { 0 });

                let before = caller.by(&WORDS.at(2)).exchange(value);
                entry.add(3, mix(u64::from(value)));
                entry.sub(3, mix(u64::from(before)));

                let word = WORDS.at(3);
                let mut seen = caller.by(&word).load();
                while let Err(other) = caller
                    .by(&word)
                    .compare_exchange(seen, seen.wrapping_add(1))
                {
                    seen = other;
                }
                entry.add(4, 1 << SHIFT);

                // Never half of a value.
                caller.by(&WORDS.at(4)).store(pattern(value));
                let loaded = caller.by(&WORDS.at(4)).load();
                assert_eq!(loaded, pattern(loaded), "a torn word");
            }

            /// The same byte everywhere.
            fn pattern(value: $type) -> $type {
                (value & 0xff).wrapping_mul($type::MAX / 0xff)
            }

            fn measure() -> Entry {
                let mut entry = Entry::default();
                let read = |index: usize| WORDS.at(index).sum();
                entry.add(0, u64::from(read(0)) << SHIFT);
                entry.add(1, u64::from(read(1)) << SHIFT);
                entry.add(4, u64::from(read(3)) << SHIFT);
                for area in vcpu::areas() {
                    let read = |index: usize| WORDS.at(index).read(area).expect("it exists");
                    let count = u64::from(read(1));
                    // On each area the sums were 1, 2, 3 and so on: none twice.
                    entry.add(
                        2,
                        if SHIFT <= 32 {
                            count * (count + 1) / 2
                        } else {
                            0
                        },
                    );
                    entry.add(3, mix(u64::from(read(2))));
                    assert_eq!(read(4), pattern(read(4)), "a torn word");
                    assert_eq!((read(5), read(6)), (0, 0), "a neighbour was hit");
                }
                entry
            }
        }
    };
}

both_kinds!(single8, Single, u8);
both_kinds!(single16, Single, u16);
both_kinds!(single32, Single, u32);
both_kinds!(single64, Single, u64);
both_kinds!(section8, Section, u8);
both_kinds!(section16, Section, u16);
both_kinds!(section32, Section, u32);
both_kinds!(section64, Section, u64);

/// What only `Single` has. Sum 0: what was added and subtracted. 1 and 2: bits set by `or` and
/// cleared by `and`, each of which one step owns, so that a lost update is a missing bit.
macro_rules! single_alone {
    ($module:ident, $type:ident) => {
        mod $module {
            use core::sync::atomic::{AtomicUsize, Ordering};

            use super::*;

            per_vcpu! {
                static COUNT: Single<$type>;
                static FLIPPED: Single<$type>;
                static SET: [Single<$type>; WORDS];
                static CLEARED: [Single<$type>; WORDS];
            }

            const WORDS: usize = 512;
            const SHIFT: u32 = u64::BITS - $type::BITS;

            /// The next bit that nobody owns.
            static NEXT: AtomicUsize = AtomicUsize::new(0);

            pub const SUBJECT: Subject = Subject {
                name: stringify!($module),
                step,
                measure,
            };

            fn step(caller: &mut Caller, entry: &mut Entry) {
                let value = caller.next() as $type;
                caller.by(&COUNT).inc();
                caller.by(&COUNT).inc();
                caller.by(&COUNT).dec();
                caller.by(&COUNT).sub(value);
                entry.add(0, 1 << SHIFT);
                entry.sub(0, u64::from(value) << SHIFT);

                caller.by(&FLIPPED).xor(value);
                entry.flips ^= u64::from(value);

                let unit = NEXT.fetch_add(1, Ordering::Relaxed);
                let (word, bit) = (unit / $type::BITS as usize, unit % $type::BITS as usize);
                if word < WORDS {
                    caller.by(&SET.at(word)).or(1 << bit);
                    caller.by(&CLEARED.at(word)).and(!(1 << bit));
                    entry.add(1, 1);
                    entry.add(2, 1);
                }
            }

            fn measure() -> Entry {
                let mut entry = Entry::default();
                entry.add(0, u64::from(COUNT.sum()) << SHIFT);
                for area in vcpu::areas() {
                    entry.flips ^= u64::from(FLIPPED.read(area).expect("it exists"));
                    for word in 0..WORDS {
                        let set = SET.at(word).read(area).expect("it exists");
                        let left = CLEARED.at(word).read(area).expect("it exists");
                        entry.add(1, u64::from(set.count_ones()));
                        entry.add(2, u64::from(left.count_zeros()));
                    }
                }
                entry
            }

            /// All ones, of which `and` takes away.
            pub fn prepare() {
                for area in vcpu::areas() {
                    for word in 0..WORDS {
                        let copy = CLEARED.at(word).copy(area).expect("it exists");
                        // SAFETY: before anybody uses the word.
                        unsafe { copy.cast::<$type>().write($type::MAX) };
                    }
                }
            }
        }
    };
}

single_alone!(bits8, u8);
single_alone!(bits16, u16);
single_alone!(bits32, u32);
single_alone!(bits64, u64);

/// Before the first step.
pub fn prepare() {
    bits8::prepare();
    bits16::prepare();
    bits32::prepare();
    bits64::prepare();
}

/// The subjects of this module.
pub const SUBJECTS: [&Subject; 12] = [
    &single8::SUBJECT,
    &single16::SUBJECT,
    &single32::SUBJECT,
    &single64::SUBJECT,
    &section8::SUBJECT,
    &section16::SUBJECT,
    &section32::SUBJECT,
    &section64::SUBJECT,
    &bits8::SUBJECT,
    &bits16::SUBJECT,
    &bits32::SUBJECT,
    &bits64::SUBJECT,
];
