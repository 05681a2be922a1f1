// SPDX-License-Identifier: MIT OR Apache-2.0
//! A C library's counter, to which C and Rust add at once, from threads on a vCPU and from one that
//! is not registered. The sum is exact.
#![cfg_attr(not(test), no_std)]
#![cfg_attr(not(test), no_main)]

use core::cell::UnsafeCell;
use core::ptr::null_mut;

use vcpu_rt::{Local, Single, eprintln, println, rseq, thread, vcpu};

vcpu_rt::entry!(main);

/// `struct counter` of `c/counter.h`.
#[repr(C)]
struct Counter {
    word: *mut Single<u64>,
    alone: u64,
    before: u64,
}

/// A counter that C functions change.
struct Shared(UnsafeCell<Counter>);

// SAFETY: C's functions may be called by any thread.
unsafe impl Sync for Shared {}

static COUNTER: Shared = Shared(UnsafeCell::new(Counter {
    word: null_mut(),
    alone: 0,
    before: 0,
}));

unsafe extern "C" {
    fn counter_start(counter: *mut Counter);
    fn counter_end(counter: *mut Counter);
    fn counter_add(counter: *mut Counter, value: u64);
    fn counter_sum(counter: *const Counter) -> u64;
    fn counter_reset(counter: *mut Counter);
}

const THREADS: u64 = 16;
const TURNS: u64 = 100_000;

fn main() -> i32 {
    let counter = COUNTER.0.get();
    // SAFETY: started once, before there are threads. Started, it has its word for good.
    let word = unsafe {
        counter_start(counter);
        (*counter).word
    };
    if word.is_null() {
        eprintln!("c-counter: the C library got no per-vCPU memory");
        return 1;
    }
    // SAFETY: C's single word lives until the end, and nobody changes it but by such operations.
    let word = unsafe { Local::from_ptr(word) };
    // SAFETY: a started counter.
    unsafe {
        counter_add(counter, 77);
        counter_reset(counter);
    }
    let mut started = 0;
    thread::scope(|scope| {
        for index in 0..THREADS {
            let word = &word;
            match scope.spawn(move || count(index, word)) {
                Ok(_handle) => started += 1,
                Err(error) => eprintln!("c-counter: {error}"),
            }
        }
    });
    // SAFETY: a started counter, which nobody uses any more afterwards.
    let sum = unsafe {
        let sum = counter_sum(counter);
        counter_end(counter);
        sum
    };
    let expected = started * TURNS * (1 + 2);
    let mode = vcpu::current_mode();
    println!("mode {mode:?}: C and Rust counted {sum} of {expected}");
    i32::from(sum != expected || started != THREADS)
}

/// Every other addition is Rust's.
fn count(index: u64, word: &Local<Single<u64>>) {
    if index == 0 && rseq::is_registered() {
        // Its additions go to the last area.
        let _is_registered_at_worst = thread::unregister();
    }
    for _ in 0..TURNS {
        word.add(1);
        // SAFETY: a started counter.
        unsafe { counter_add(COUNTER.0.get(), 2) };
    }
}
