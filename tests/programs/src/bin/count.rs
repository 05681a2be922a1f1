// SPDX-License-Identifier: MIT OR Apache-2.0
//! Counts in per-vCPU data from many threads and prints the sums. `count HOW THREADS ADDS`, where
//! HOW is `plain`, `yield`, `affinity` (threads move to another processor between additions), `moved`
//! (the main thread moves them, at any instruction), `alarm` (a handler that runs every 50 us counts
//! too) or `all`.
#![no_std]
#![no_main]

use core::ffi::{c_int, c_void};
use core::ptr::null_mut;
use core::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

use vcpu_rt::thread::ScopedJoinHandle;
use vcpu_rt::{PerVcpu, Single, println, thread};
use vcpu_test_programs::PASSED;
use vcpu_test_programs::arguments::{number, word};
use vcpu_test_programs::signal::{alarm_every, on_alarm};
use vcpu_test_programs::syscall::{affinity, pin, pin_thread, processors, restrict, sched_yield};
use vcpu_test_programs::table::abi;

vcpu_rt::entry!(main);

/// The counter for the handler, which gets no argument.
static COUNTER: AtomicPtr<PerVcpu<Single>> = AtomicPtr::new(null_mut());
/// Signals handled, counted by a locked instruction.
static HANDLED: AtomicU64 = AtomicU64::new(0);

#[derive(Clone, Copy)]
struct How {
    yields: bool,
    moves: bool,
    alarm: bool,
}

fn main() -> i32 {
    let all = word(1) == "all";
    let how = How {
        yields: all || word(1) == "yield",
        moves: all || word(1) == "affinity",
        alarm: all || word(1) == "alarm",
    };
    let (threads, adds) = (number(2), number(3) as u64);
    let counter = PerVcpu::<Single>::new().expect("the pool has room");
    let words = PerVcpu::<[Single; 3]>::new().expect("the pool has room");
    if how.alarm {
        COUNTER.store((&raw const counter).cast_mut(), Ordering::Release);
        // SAFETY: the handler adds, which may be done between any two instructions.
        unsafe { on_alarm(count_signal) };
        alarm_every(50);
    }
    thread::scope(|scope| {
        let mut handles = [const { None }; 64];
        for (index, place) in handles.iter_mut().enumerate().take(threads) {
            let (counter, words) = (&counter, &words);
            let thread = scope.spawn(move || count(how, index, adds, counter, words));
            *place = Some(thread.expect("a thread"));
        }
        if all || word(1) == "moved" {
            move_around(&handles);
        }
    });
    // One sum while the handler still counts: it may be short of some of its additions only.
    let early = counter.sum();
    assert!(
        early >= threads as u64 * adds,
        "{early} is less than the threads added"
    );
    alarm_every(0);
    let handled = HANDLED.load(Ordering::Relaxed);
    println!("mode={}", abi().mode);
    println!("handled={handled}");
    println!("sum={}", counter.sum() - handled);
    let areas = 0..abi().nr_areas;
    let read: u64 = areas
        .map(|area| counter.read(area).expect("the area exists"))
        .sum();
    println!("read={}", read - handled);
    // Again here, for machines on which nobody reads what is printed.
    let expected = threads as u64 * adds;
    assert_eq!(
        (counter.sum(), read),
        (expected + handled, expected + handled)
    );
    println!("beyond={}", counter.read(abi().nr_areas).is_some());
    for index in 0..3 {
        println!("word[{index}]={}", words.at(index).sum());
    }
    PASSED
}

/// Moves the threads from processor to processor until all of them have ended.
fn move_around(threads: &[Option<ScopedJoinHandle<'_, ()>>]) {
    let allowed = affinity();
    let running = || {
        threads
            .iter()
            .flatten()
            .filter(|thread| !thread.is_finished())
    };
    for cpu in processors(&allowed).cycle() {
        if running().next().is_none() {
            return;
        }
        for (index, thread) in running().enumerate() {
            // Half of them here, half of them elsewhere, so that processors have company. A
            // thread that ended meanwhile is no error.
            if index % 2 == cpu % 2 && thread.id() != 0 {
                let _may_have_ended = pin_thread(thread.id() as usize, cpu);
            }
        }
    }
}

/// The counter gets `adds` ones, word 0 as many sevens, word 1 nothing, word 2 as many large values
/// whose sum wraps.
fn count(
    how: How,
    index: usize,
    adds: u64,
    counter: &PerVcpu<Single>,
    words: &PerVcpu<[Single; 3]>,
) {
    // A sandbox may deny the question, so it is asked only where the answer is used.
    let allowed = if how.moves { affinity() } else { [0; 16] };
    let mut next = processors(&allowed).cycle().skip(index);
    for turn in 0..adds {
        if how.yields && turn % 16 == 0 {
            sched_yield();
        }
        if how.moves && turn % 64 == 0 {
            pin(next.next().expect("a thread may run somewhere")).expect("it is allowed");
        }
        counter.add(1);
        words.at(0).add(7);
        words.at(2).add(u64::MAX / 2);
    }
    if how.moves {
        restrict(&allowed).expect("it was allowed");
    }
}

unsafe extern "C" fn count_signal(_: c_int, _: *mut c_void, _: *mut c_void) {
    // SAFETY: `main` stores the address of a counter that lives until the timer is stopped.
    let counter = unsafe { &*COUNTER.load(Ordering::Acquire) };
    counter.add(1);
    HANDLED.fetch_add(1, Ordering::Relaxed);
}
