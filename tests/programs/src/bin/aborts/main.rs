// SPDX-License-Identifier: MIT OR Apache-2.0
//! Performs, one at a time, the operations that a tracer asks for, in Rust and in C, and judges each: it
//! must have happened exactly once, on exactly one area. The tracer answers in place of [`next_operation`].
#![no_std]
#![no_main]

mod numbers;
mod several;
mod slab;

use core::fmt::Debug;
use core::sync::atomic::{AtomicBool, Ordering};

use vcpu_rt::{Local, vcpu};
use vcpu_test_programs::PASSED;
use vcpu_test_programs::in_c::By;

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
        (name, went) = match operations().nth(number as usize) {
            Some((in_c, (name, perform))) => {
                IN_C.store(in_c, Ordering::Relaxed);
                (*name, perform())
            }
            None => ("", Went::Nowhere),
        };
    }
}

/// The language of the operation that is performed.
static IN_C: AtomicBool = AtomicBool::new(false);

/// The word, to be updated in that language.
fn by<W>(word: &Local<W>) -> By<'_, W> {
    By::new(word, IN_C.load(Ordering::Relaxed))
}

/// Every operation, and whether it is C's.
fn operations() -> impl Iterator<Item = (bool, &'static Operation)> {
    let both = || numbers::LISTS.into_iter().chain(several::LISTS);
    let of_rust = both().chain([&several::OWN[..]]).flatten();
    let of_c = both()
        .chain(numbers::LISTS_OF_C)
        .chain([&several::OF_C[..], &slab::OPERATIONS]);
    let in_rust = of_rust.map(|operation| (false, operation));
    in_rust.chain(of_c.flatten().map(|operation| (true, operation)))
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
