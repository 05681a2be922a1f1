// SPDX-License-Identifier: MIT OR Apache-2.0
//! One function for each operation of per-vCPU words, for those who look at its instructions. Run, it
//! calls them all once.
#![no_std]
#![no_main]

use core::ptr::NonNull;

use vcpu_rt::{
    Cache, Counter, Histogram, Link, Local, Node, NotPut, NotTaken, Pair, PerVcpu, Refused,
    Section, Single, Stack, per_vcpu,
};
use vcpu_test_programs::PASSED;

vcpu_rt::entry!(main);

per_vcpu! {
    static SINGLE: Single;
    static SECTION: Section<u64>;
    static OTHER: Section<u64>;
    static POINTER: Section<*mut u64>;
    static PAIR: Pair;
    static COUNTER: Counter;
    static HISTOGRAM: Histogram;
    static CACHE: Cache<u64, 4, 4>;
    static STACK: Stack<Item>;
}

/// What is in a stack.
#[repr(transparent)]
pub struct Item(Link);

// SAFETY: at its start, and only lists touch it.
unsafe impl Node for Item {
    const LINK: usize = 0;
}

static ITEM: Item = Item(Link::new());

/// Functions that the linker keeps by their names.
macro_rules! functions {
    ($($name:ident($($argument:ident: $type:ty),*) $(-> $output:ty)? = $body:expr;)*) => {
        $(
            /// See the file.
            #[unsafe(no_mangle)]
            #[inline(never)]
            pub fn $name($($argument: $type),*) $(-> $output)? {
                $body
            }
        )*
    };
}

functions! {
    declared_inc() = SINGLE.inc();
    declared_add(value: u64) = SINGLE.add(value);
    declared_load() -> u64 = SINGLE.load();
    declared_store(value: u64) = SINGLE.store(value);
    declared_or(value: u64) = SINGLE.or(value);
    declared_add_return(value: u64) -> u64 = SINGLE.add_return(value);
    declared_exchange(value: u64) -> u64 = SINGLE.exchange(value);
    declared_compare_exchange(old: u64, new: u64) -> bool =
        SINGLE.compare_exchange(old, new).is_ok();
    allocated_inc(single: &Local<Single>) = single.inc();
    allocated_add(single: &Local<Single>, value: u64) = single.add(value);
    allocated_load(single: &Local<Single>) -> u64 = single.load();
    section_add(value: u64) = SECTION.add(value);
    section_add_return(value: u64) -> u64 = SECTION.add_return(value);
    section_compare_equal_store(old: u64, new: u64) -> Result<(), Refused> =
        SECTION.compare_equal_store(old, new);
    section_compare_equal_store_store(old: u64, new: u64) -> Result<(), Refused> =
        SECTION.compare_equal_store_store(old, (&OTHER, new), new);
    section_pop() -> Result<*mut u64, Refused> =
        // SAFETY: the copies are null.
        unsafe { POINTER.compare_not_equal_load_store(core::ptr::null_mut(), 0) };
    pair_compare_exchange(old: &[u64; 2], new: &[u64; 2]) -> bool =
        PAIR.compare_exchange(*old, *new).is_ok();
    counter_inc() = COUNTER.inc();
    histogram_record(value: u64) = HISTOGRAM.record(value);
    cache_push(item: NonNull<u64>) -> Result<(), NotPut> = CACHE.push(1, item);
    cache_pop() -> Result<NonNull<u64>, NotTaken> = CACHE.pop(1);
    stack_push(item: NonNull<Item>) -> Result<(), NotPut> =
        // SAFETY: it is alive for ever, and in no list.
        unsafe { STACK.push(item) };
    stack_pop() -> Result<NonNull<Item>, NotTaken> = STACK.pop();
    loop_inc(single: &Local<Single>, turns: u64) = for _ in 0..turns {
        single.inc();
    };
    loop_section_add(section: &Local<Section<u64>>, turns: u64) = for _ in 0..turns {
        section.add(1);
    };
}

fn main() -> i32 {
    let single = PerVcpu::<Single>::new().expect("the pool has room");
    declared_inc();
    declared_add(1);
    declared_store(declared_load());
    declared_or(0);
    declared_exchange(declared_add_return(1));
    declared_compare_exchange(0, 0);
    allocated_inc(&single);
    allocated_add(&single, allocated_load(&single));
    section_add(section_add_return(1));
    let _refused = section_compare_equal_store(0, 0);
    let _refused = section_compare_equal_store_store(0, 0);
    let _refused = section_pop();
    pair_compare_exchange(&[0; 2], &[0; 2]);
    counter_inc();
    histogram_record(1000);
    assert_eq!(cache_push(NonNull::dangling()), Ok(()));
    assert_eq!(cache_pop(), Ok(NonNull::dangling()));
    assert_eq!(stack_push(NonNull::from(&ITEM)), Ok(()));
    assert_eq!(stack_pop(), Ok(NonNull::from(&ITEM)));
    loop_inc(&single, 10);
    loop_section_add(&SECTION, 10);
    PASSED
}
