// SPDX-License-Identifier: MIT OR Apache-2.0
//! Operations of one word, of each kind and width.

use core::ptr::with_exposed_provenance_mut;

use vcpu_rt::{Local, Section, Single, per_vcpu};

use crate::{Operation, by, one};

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
                    one(&WORD, each, |word| by(word).load(), |value| (value, value))
                }),
                (concat!(stringify!($module), " store"), || {
                    one(&WORD, each, |word| by(word).store(3), |_| (3, ()))
                }),
                (concat!(stringify!($module), " add"), || {
                    let sum = |value: $type| (value.wrapping_add($type::MAX - 4), ());
                    one(&WORD, each, |word| by(word).add($type::MAX - 4), sum)
                }),
                (concat!(stringify!($module), " add_return"), || {
                    let sum = |value| (value + 5, value + 5);
                    one(&WORD, each, |word| by(word).add_return(5), sum)
                }),
                (concat!(stringify!($module), " exchange"), || {
                    one(&WORD, each, |word| by(word).exchange(3), |value| (3, value))
                }),
                (concat!(stringify!($module), " compare_exchange"), || {
                    let exchange = |word: &Local<$kind<$type>>| by(word).compare_exchange(8, 9);
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

/// Those that only `Single` has in Rust, and both kinds have in C.
macro_rules! bits {
    ($module:ident, $kind:ident, $type:ident) => {
        mod $module {
            use super::*;

            per_vcpu! {
                static WORD: $kind<$type>;
            }

            fn each(index: u64) -> $type {
                0x55 ^ (index as $type) << 1
            }

            pub const OPERATIONS: [Operation; 6] = [
                (concat!(stringify!($module), " and"), || {
                    one(
                        &WORD,
                        each,
                        |word| by(word).and(0x0e),
                        |value| (value & 0x0e, ()),
                    )
                }),
                (concat!(stringify!($module), " or"), || {
                    one(
                        &WORD,
                        each,
                        |word| by(word).or(0x28),
                        |value| (value | 0x28, ()),
                    )
                }),
                (concat!(stringify!($module), " xor"), || {
                    one(
                        &WORD,
                        each,
                        |word| by(word).xor(0x7f),
                        |value| (value ^ 0x7f, ()),
                    )
                }),
                (concat!(stringify!($module), " sub"), || {
                    let difference = |value: $type| (value.wrapping_sub(3), ());
                    one(&WORD, each, |word| by(word).sub(3), difference)
                }),
                (concat!(stringify!($module), " inc"), || {
                    one(&WORD, each, |word| by(word).inc(), |value| (value + 1, ()))
                }),
                (concat!(stringify!($module), " dec"), || {
                    one(&WORD, each, |word| by(word).dec(), |value| (value - 1, ()))
                }),
            ];
        }
    };
}

bits!(single_bits8, Single, u8);
bits!(section_bits8, Section, u8);
bits!(single_bits16, Single, u16);
bits!(section_bits16, Section, u16);
bits!(single_bits32, Single, u32);
bits!(section_bits32, Section, u32);
bits!(single_bits64, Single, u64);
bits!(section_bits64, Section, u64);

/// Those of pointers.
macro_rules! pointers {
    ($module:ident, $kind:ident) => {
        mod $module {
            use super::*;

            type Word = $kind<*mut u8>;

            per_vcpu! {
                static WORD: Word;
            }

            fn each(index: u64) -> *mut u8 {
                with_exposed_provenance_mut(10 + 7 * index as usize)
            }

            fn three() -> *mut u8 {
                with_exposed_provenance_mut(3)
            }

            pub const OPERATIONS: [Operation; 4] = [
                (concat!(stringify!($module), " load"), || {
                    one(&WORD, each, |word| by(word).load(), |value| (value, value))
                }),
                (concat!(stringify!($module), " store"), || {
                    one(
                        &WORD,
                        each,
                        |word| by(word).store(three()),
                        |_| (three(), ()),
                    )
                }),
                (concat!(stringify!($module), " exchange"), || {
                    let exchange = |word: &Local<Word>| by(word).exchange(three());
                    one(&WORD, each, exchange, |value| (three(), value))
                }),
                (concat!(stringify!($module), " compare_exchange"), || {
                    let (old, new) = (each(0), three());
                    let exchange = |word: &Local<Word>| by(word).compare_exchange(old, new);
                    one(&WORD, |_| old, exchange, |value| (new, Ok(value)))
                }),
            ];
        }
    };
}

pointers!(single_pointer, Single);
pointers!(section_pointer, Section);

/// What both languages have.
pub const LISTS: [&[Operation]; 14] = [
    &single8::OPERATIONS,
    &single16::OPERATIONS,
    &single32::OPERATIONS,
    &single64::OPERATIONS,
    &section8::OPERATIONS,
    &section16::OPERATIONS,
    &section32::OPERATIONS,
    &section64::OPERATIONS,
    &single_bits8::OPERATIONS,
    &single_bits16::OPERATIONS,
    &single_bits32::OPERATIONS,
    &single_bits64::OPERATIONS,
    &single_pointer::OPERATIONS,
    &section_pointer::OPERATIONS,
];

/// What C alone has.
pub const LISTS_OF_C: [&[Operation]; 4] = [
    &section_bits8::OPERATIONS,
    &section_bits16::OPERATIONS,
    &section_bits32::OPERATIONS,
    &section_bits64::OPERATIONS,
];
