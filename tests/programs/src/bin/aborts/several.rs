// SPDX-License-Identifier: MIT OR Apache-2.0
//! Operations over several words, and the worked examples.

use core::ptr::{with_exposed_provenance, with_exposed_provenance_mut};

use vcpu_rt::{Local, Pair, Section, Single, per_vcpu, vcpu};
use vcpu_test_programs::free_list::{self, Head, Node};
use vcpu_test_programs::trace::{self, Trace};

use crate::{Operation, Went, by, copies, fill, judge, one, went};

per_vcpu! {
    static SINGLE: Single<u64>;
    static SECOND: Section<u64>;
    static BUFFER: [Section<u8>; 16];
    static POINTER: Section<*mut u64>;
    static PAIR: Pair;
    static TRACE: Trace;
    static LIST: Head;
}

static NODE: Node = Node::new();

/// The operations with a comparison for equality, of a word of 8 bytes.
macro_rules! compare_equal {
    ($module:ident, $type:ty, $value:expr) => {
        mod $module {
            use super::*;

            per_vcpu! {
                static WORD: Section<$type>;
            }

            fn value(number: usize) -> $type {
                $value(number)
            }

            /// An operation on the word that makes 3 of it, where each copy is 2; `then` judges, with the place
            /// of the area, what else it did.
            fn two_to_three(operation: impl FnOnce(), then: impl FnOnce(usize)) -> Went {
                fill(&WORD, |_| 2_u64);
                operation();
                let place = judge(&WORD, |_| 2_u64, &(), |_| (3, ()));
                then(place);
                went(place)
            }

            pub const OPERATIONS: [Operation; 4] = [
                (concat!(stringify!($module), " compare_equal_store"), || {
                    let store =
                        || assert_eq!(by(&WORD).compare_equal_store(value(2), value(3)), Ok(()));
                    two_to_three(store, |_| {})
                }),
                (
                    concat!(stringify!($module), " compare_equal_store_store"),
                    || {
                        fill(&SECOND, |_| 50_u64);
                        let store = || {
                            let other = (&*SECOND, 60);
                            assert_eq!(
                                by(&WORD).compare_equal_store_store(value(2), other, value(3)),
                                Ok(())
                            );
                        };
                        two_to_three(store, |place| {
                            // It may have been written elsewhere as well, where the commit did not follow.
                            for (index, value) in copies::<_, u64>(&SECOND).enumerate() {
                                assert!(value == 60 || value == 50 && index != place);
                            }
                        })
                    },
                ),
                (
                    concat!(stringify!($module), " compare_equal_compare_equal_store"),
                    || {
                        fill(&SECOND, |_| 50_u64);
                        let store = || {
                            let other = (&*SECOND, 50);
                            assert_eq!(
                                by(&WORD).compare_equal_compare_equal_store(
                                    value(2),
                                    other,
                                    value(3)
                                ),
                                Ok(())
                            );
                        };
                        two_to_three(store, |_| {
                            assert!(copies::<_, u64>(&SECOND).all(|value| value == 50));
                        })
                    },
                ),
                (
                    concat!(stringify!($module), " compare_equal_copy_store"),
                    || {
                        fill(&BUFFER, |_| [b'.'; 16]);
                        let store = || {
                            let bytes = (&*BUFFER, 3, &b"the record"[..]);
                            assert_eq!(
                                by(&WORD).compare_equal_copy_store(value(2), bytes, value(3)),
                                Ok(())
                            );
                        };
                        two_to_three(store, |place| {
                            let now = copies::<_, [u8; 16]>(&BUFFER).nth(place);
                            assert_eq!(now.as_ref(), Some(b"...the record..."));
                        })
                    },
                ),
            ];
        }
    };
}

compare_equal!(integer, u64, |number| number as u64);
compare_equal!(pointer, *mut u8, with_exposed_provenance_mut);

/// What both languages have.
pub const LISTS: [&[Operation]; 3] = [&integer::OPERATIONS, &pointer::OPERATIONS, &OTHERS];

const OTHERS: [Operation; 3] = [
    ("compare_not_equal_load_store", || {
        fill(&SECOND, |index| 100 + index);
        fill(&POINTER, address_of_second);
        // SAFETY: each copy is the address of a word.
        let popped = unsafe { by(&POINTER).compare_not_equal_load_store(core::ptr::null_mut(), 0) };
        let popped = popped.map(|pointer| pointer.expose_provenance() as u64);
        let place = judge(&POINTER, address_of_second, &popped, |address| {
            let second: *const u64 = with_exposed_provenance(address as usize);
            // SAFETY: as above.
            (unsafe { second.read_volatile() }, Ok(address))
        });
        went(place)
    }),
    ("add_to_pointee", || {
        fill(&SECOND, |index| 100 + index);
        fill(&POINTER, address_of_second);
        // SAFETY: each copy is the address of a word that nothing else changes.
        let added = unsafe { by(&POINTER).add_to_pointee(5) };
        went(judge(
            &SECOND,
            |index| 100 + index,
            &added,
            |value| (value + 5, Ok(())),
        ))
    }),
    ("pair compare_exchange", || {
        let exchange = |pair: &Local<Pair>| by(pair).compare_exchange([4, 5], [6, 7]);
        one(&PAIR, |_| [4_u64, 5], exchange, |value| ([6, 7], Ok(value)))
    }),
];

/// What Rust alone has.
pub const OWN: [Operation; 4] = [
    ("pair load", || {
        one(
            &PAIR,
            |index| [index, !index],
            |pair| pair.load(),
            |value| (value, value),
        )
    }),
    ("trace append", || {
        // The counts come first in the ring; the third record of each.
        fill(&TRACE, |_| 2_u64);
        let appended = trace::append(&TRACE, [33, 44]);
        let place = judge(&TRACE, |_| 2_u64, &appended, |count| (count + 1, Ok(())));
        let area = vcpu::areas().nth(place).expect("it exists");
        let (_, mut records) = trace::read(&TRACE, area).expect("it exists");
        assert_eq!(records.nth(2), Some([33, 44]));
        went(place)
    }),
    ("free list pop", || {
        let address = (&raw const NODE).expose_provenance() as u64;
        fill(&LIST, |_| 5 << 48 | address);
        let popped = free_list::pop(&LIST);
        let popped = popped.map(|node| node.map(|node| (&raw const *node).addr() as u64));
        let model = |_| (6 << 48, Ok(Some(address)));
        went(judge(&LIST, |_| 5 << 48 | address, &popped, model))
    }),
    ("free list push", || {
        let address = (&raw const NODE).expose_provenance() as u64;
        fill(&LIST, |_| 5_u64 << 48);
        let pushed = free_list::push(&LIST, &NODE);
        let model = |_| (6 << 48 | address, Ok(()));
        went(judge(&LIST, |_| 5_u64 << 48, &pushed, model))
    }),
];

/// Where the copy of [`SECOND`] is in the area that comes at this place.
fn address_of_second(place: u64) -> u64 {
    let area = vcpu::areas().nth(place as usize).expect("it exists");
    let copy = SECOND.copy(area).expect("it exists");
    copy.as_ptr().expose_provenance() as u64
}

unsafe extern "C" {
    safe fn c_loop_inc(word: *mut Single, turns: u64);
    safe fn c_loop_section_add(word: *mut Section, turns: u64);
}

/// What C alone has: loops, of one turn.
pub const OF_C: [Operation; 2] = [
    ("loop_inc", || {
        let turn = |word: &Local<Single>| c_loop_inc(word.as_ptr(), 1);
        one(&SINGLE, |index| 7 * index, turn, |value| (value + 1, ()))
    }),
    ("loop_section_add", || {
        let turn = |word: &Local<Section>| c_loop_section_add(word.as_ptr(), 1);
        one(&SECOND, |index| 7 * index, turn, |value| (value + 1, ()))
    }),
];
