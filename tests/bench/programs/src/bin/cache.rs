// SPDX-License-Identifier: MIT OR Apache-2.0
//! A cache of pointers pushed to and popped from, in a loop at each of eight places of a 64-byte line:
//! `bench-cache MODE LOOP`. `batch`: 32 times an item one by one, and back; `classes`: one item in
//! each of 16 classes, and back. Prints nanoseconds a push and a pop, a line for each place, a column
//! for each sample.

#![no_std]
#![no_main]

use core::arch::asm;
use core::hint::assert_unchecked;
use core::ptr::NonNull;

use vcpu_bench_programs::{Samples, aligned_functions, expect_mode, print_samples, word};
use vcpu_rt::{Cache, PerVcpu};

vcpu_rt::entry!(main);

/// A bound for programs with the feature `test-hooks`, which other programs do not ask for: whatever
/// the machine has.
#[cfg(feature = "test-hooks")]
#[unsafe(no_mangle)]
static vcpu_rt_test_nr_vcpus: u32 = 8192;

const CLASSES: usize = 16;
const BATCH: usize = 32;

type Items = Cache<u64, CLASSES, 64>;

/// The item that is pushed. It is never touched.
static ITEM: u64 = 0;

/// Pushes as often as `$count` says, to the classes that `$class_of` gives, and pops as often.
macro_rules! push_and_pop {
    ($cache:ident, $count:ident, $class_of:expr) => {{
        let item = NonNull::from(&ITEM);
        for number in 0..$count as usize {
            if $cache.push($class_of(number), item).is_err() {
                fail();
            }
        }
        for number in 0..$count as usize {
            match $cache.pop($class_of(number)) {
                Ok(item) => use_it(item),
                Err(_) => fail(),
            }
        }
    }};
}

#[inline(always)]
fn use_it(item: NonNull<u64>) {
    // SAFETY: does nothing with a register.
    unsafe {
        asm!("/* {} */", in(reg) item.as_ptr().addr(), options(nomem, nostack, preserves_flags))
    };
}

#[cold]
fn fail() -> ! {
    panic!("the class is full, or empty")
}

fn main() {
    expect_mode(word(1));
    let (functions, count): ([extern "C" fn(&PerVcpu<Items>, u32); 8], _) = match word(2) {
        "batch" => (
            aligned_functions!("batch", |cache: &PerVcpu<Items>, count| push_and_pop!(
                cache,
                count,
                |_| 0
            )),
            BATCH,
        ),
        "classes" => (
            aligned_functions!("classes", |cache: &PerVcpu<Items>, count| {
                // SAFETY: it is called with their number, which spares checks of each class.
                unsafe { assert_unchecked(count as usize <= CLASSES) };
                push_and_pop!(cache, count, |number| number)
            }),
            CLASSES,
        ),
        _ => panic!("there is no such loop"),
    };
    let cache = match PerVcpu::<Items>::new() {
        Ok(cache) => cache,
        Err(errno) => panic!("no cache: {errno:?}"),
    };
    let samples = Samples {
        samples: 9,
        calls: (32_000 / count) as u32,
        rounds: count as u32,
        operations: 1,
    };
    check(&cache);
    print_samples(functions, &cache, samples);
    check(&cache);
}

/// Items come back in the order that is wanted, and the classes are empty afterwards.
fn check(cache: &PerVcpu<Items>) {
    let items = [0_u64; CLASSES * BATCH];
    for class in 0..CLASSES {
        for item in &items[class * BATCH..][..BATCH] {
            assert!(cache.push(class, NonNull::from(item)).is_ok());
        }
    }
    for class in 0..CLASSES {
        for item in items[class * BATCH..][..BATCH].iter().rev() {
            assert!(cache.pop(class) == Ok(NonNull::from(item)));
        }
        assert!(cache.pop(class).is_err());
    }
}
