// SPDX-License-Identifier: MIT OR Apache-2.0
//! Performs, one at a time, the operations that a tracer asks for, and judges each: it must have
//! happened exactly once, on exactly one area. The tracer answers in place of [`next_operation`].
#![no_std]
#![no_main]

use core::fmt::Debug;
use core::ptr::with_exposed_provenance;

use vcpu_rt::{Local, Pair, Section, Single, per_vcpu, vcpu};
use vcpu_test_programs::PASSED;
use vcpu_test_programs::free_list::{self, Head, Node};
use vcpu_test_programs::trace::{self, Trace};

vcpu_rt::entry!(main);

/// How the last operation went, as `next_operation` is told.
#[repr(u64)]
#[derive(Clone, Copy, PartialEq, Eq)]
enum Went {
    /// On the area of a vCPU.
    OwnArea = 0,
    /// On the last area, by locked instructions.
    LastArea = 1,
    /// There is none of this number, or none was asked for yet.
    Nowhere = 2,
}

/// An operation by its name, and how it is performed and judged.
type Operation = (&'static str, fn() -> Went);

/// Which operation to perform, or `u64::MAX` to end. `name` is that of the last one.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn next_operation(went: Went, name: *const u8, length: usize) -> u64 {
    // Nothing that a compiler could know of.
    let (_, _, _, end) = core::hint::black_box((went, name, length, u64::MAX));
    end
}

fn main() -> i32 {
    let mut went = Went::Nowhere;
    let mut name = "";
    loop {
        let number = next_operation(went, name.as_ptr(), name.len());
        if number == u64::MAX {
            return PASSED;
        }
        (name, went) = match LISTS.into_iter().flatten().nth(number as usize) {
            Some((name, perform)) => (*name, perform()),
            None => ("", Went::Nowhere),
        };
    }
}

/// What each copy holds before the operation.
fn fill<K, V: Copy>(word: &Local<K>, value: impl Fn(u64) -> V) {
    for (index, area) in (0..).zip(vcpu::areas()) {
        let copy = word.copy(area).expect("it exists").cast::<V>();
        // SAFETY: the process has one thread, which is in no operation. V is what the word holds.
        unsafe { copy.write_volatile(value(index)) };
    }
}

/// The copy in each area now.
fn copies<K, V: Copy>(word: &Local<K>) -> impl Iterator<Item = V> {
    vcpu::areas().map(|area| {
        let copy = word.copy(area).expect("it exists").cast::<V>();
        // SAFETY: as for `fill`.
        unsafe { copy.read_volatile() }
    })
}

/// The one area, by its place among them, on which an operation that returned `output` did to
/// `word` what `model` does to a value. All others must be as they were.
fn judge<K, V: Copy + PartialEq + Debug, R: PartialEq + Debug>(
    word: &Local<K>,
    before: impl Fn(u64) -> V,
    output: &R,
    model: impl Fn(V) -> (V, R),
) -> usize {
    let could_be = |place: usize| {
        model(before(place as u64)).1 == *output
            && copies::<K, V>(word).enumerate().all(|(index, now)| {
                let before = before(index as u64);
                let expected = if index == place {
                    model(before).0
                } else {
                    before
                };
                now == expected
            })
    };
    let mut places = (0..vcpu::areas().count()).filter(|place| could_be(*place));
    match (places.next(), places.next()) {
        (Some(place), None) => place,
        found => panic!("on areas {found:?}, with {output:?}"),
    }
}

fn went(place: usize) -> Went {
    if place + 1 == vcpu::areas().count() {
        Went::LastArea
    } else {
        Went::OwnArea
    }
}

/// An operation of one word that does, and returns, what `model` says.
fn one<K, V: Copy + PartialEq + Debug, R: PartialEq + Debug>(
    word: &Local<K>,
    before: impl Fn(u64) -> V,
    operation: impl FnOnce(&Local<K>) -> R,
    model: impl Fn(V) -> (V, R),
) -> Went {
    fill(word, &before);
    let output = operation(word);
    went(judge(word, before, &output, model))
}

/// The operations that both kinds of word have, of one width.
macro_rules! both_kinds {
    ($module:ident, $kind:ident, $type:ident) => {
        mod $module {
            use super::*;

            per_vcpu! {
                static WORD: $kind<$type>;
            }

            /// A different value in each area.
            fn each(index: u64) -> $type {
                10 + 7 * index as $type
            }

            pub const OPERATIONS: [Operation; 6] = [
                (concat!(stringify!($module), " load"), || {
                    one(&WORD, each, |word| word.load(), |value| (value, value))
                }),
                (concat!(stringify!($module), " store"), || {
                    one(&WORD, each, |word| word.store(3), |_| (3, ()))
                }),
                (concat!(stringify!($module), " add"), || {
                    let sum = |value: $type| (value.wrapping_add($type::MAX - 4), ());
                    one(&WORD, each, |word| word.add($type::MAX - 4), sum)
                }),
                (concat!(stringify!($module), " add_return"), || {
                    let sum = |value| (value + 5, value + 5);
                    one(&WORD, each, |word| word.add_return(5), sum)
                }),
                (concat!(stringify!($module), " exchange"), || {
                    one(&WORD, each, |word| word.exchange(3), |value| (3, value))
                }),
                (concat!(stringify!($module), " compare_exchange"), || {
                    let exchange = |word: &Local<$kind<$type>>| word.compare_exchange(8, 9);
                    one(&WORD, |_| 8, exchange, |value| (9, Ok(value)))
                }),
            ];
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

/// Those that only `Single` has.
macro_rules! bits {
    ($module:ident, $type:ident) => {
        mod $module {
            use super::*;

            per_vcpu! {
                static WORD: Single<$type>;
            }

            fn each(index: u64) -> $type {
                0x55 ^ (index as $type) << 1
            }

            pub const OPERATIONS: [Operation; 3] = [
                (concat!(stringify!($module), " and"), || {
                    one(
                        &WORD,
                        each,
                        |word| word.and(0x0e),
                        |value| (value & 0x0e, ()),
                    )
                }),
                (concat!(stringify!($module), " or"), || {
                    one(
                        &WORD,
                        each,
                        |word| word.or(0x28),
                        |value| (value | 0x28, ()),
                    )
                }),
                (concat!(stringify!($module), " xor"), || {
                    one(
                        &WORD,
                        each,
                        |word| word.xor(0x7f),
                        |value| (value ^ 0x7f, ()),
                    )
                }),
            ];
        }
    };
}

bits!(bits8, u8);
bits!(bits16, u16);
bits!(bits32, u32);
bits!(bits64, u64);

per_vcpu! {
    static FIRST: Section<u64>;
    static SECOND: Section<u64>;
    static BUFFER: [Section<u8>; 16];
    static POINTER: Section<*mut u64>;
    static PAIR: Pair;
    static TRACE: Trace;
    static LIST: Head;
}

static NODE: Node = Node::new();

/// An operation on [`FIRST`] that makes 3 of it, where each copy is 2; `then` judges, with the place
/// of the area, what else it did.
fn two_to_three(operation: impl FnOnce(), then: impl FnOnce(usize)) -> Went {
    fill(&FIRST, |_| 2_u64);
    operation();
    let place = judge(&FIRST, |_| 2_u64, &(), |_| (3, ()));
    then(place);
    went(place)
}

const SEVERAL: [Operation; 11] = [
    ("compare_equal_store", || {
        let store = || assert_eq!(FIRST.compare_equal_store(2, 3), Ok(()));
        two_to_three(store, |_| {})
    }),
    ("compare_equal_store_store", || {
        fill(&SECOND, |_| 50_u64);
        let store = || {
            let other = (&*SECOND, 60);
            assert_eq!(FIRST.compare_equal_store_store(2, other, 3), Ok(()));
        };
        two_to_three(store, |place| {
            // It may have been written elsewhere as well, where the commit did not follow.
            for (index, value) in copies::<_, u64>(&SECOND).enumerate() {
                assert!(value == 60 || value == 50 && index != place);
            }
        })
    }),
    ("compare_equal_compare_equal_store", || {
        fill(&SECOND, |_| 50_u64);
        let store = || {
            let other = (&*SECOND, 50);
            assert_eq!(FIRST.compare_equal_compare_equal_store(2, other, 3), Ok(()));
        };
        two_to_three(store, |_| {
            assert!(copies::<_, u64>(&SECOND).all(|value| value == 50));
        })
    }),
    ("compare_equal_copy_store", || {
        fill(&BUFFER, |_| [b'.'; 16]);
        let store = || {
            let bytes = (&*BUFFER, 3, &b"the record"[..]);
            assert_eq!(FIRST.compare_equal_copy_store(2, bytes, 3), Ok(()));
        };
        two_to_three(store, |place| {
            let now = copies::<_, [u8; 16]>(&BUFFER).nth(place);
            assert_eq!(now.as_ref(), Some(b"...the record..."));
        })
    }),
    ("compare_not_equal_load_store", || {
        fill(&SECOND, |index| 100 + index);
        fill(&POINTER, address_of_second);
        // SAFETY: each copy is the address of a word.
        let popped = unsafe { POINTER.compare_not_equal_load_store(core::ptr::null_mut(), 0) };
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
        let added = unsafe { POINTER.add_to_pointee(5) };
        went(judge(
            &SECOND,
            |index| 100 + index,
            &added,
            |value| (value + 5, Ok(())),
        ))
    }),
    ("pair compare_exchange", || {
        let exchange = |pair: &Local<Pair>| pair.compare_exchange([4, 5], [6, 7]);
        one(&PAIR, |_| [4_u64, 5], exchange, |value| ([6, 7], Ok(value)))
    }),
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

const LISTS: [&[Operation]; 13] = [
    &single8::OPERATIONS,
    &single16::OPERATIONS,
    &single32::OPERATIONS,
    &single64::OPERATIONS,
    &section8::OPERATIONS,
    &section16::OPERATIONS,
    &section32::OPERATIONS,
    &section64::OPERATIONS,
    &bits8::OPERATIONS,
    &bits16::OPERATIONS,
    &bits32::OPERATIONS,
    &bits64::OPERATIONS,
    &SEVERAL,
];
