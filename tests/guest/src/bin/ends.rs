// SPDX-License-Identifier: MIT OR Apache-2.0
//! Ends under the mode: the kernel's debug build asserts that no base is ever beyond the user half.
//! `ends threads ROUNDS` (threads end in storms while the stride changes), `ends processes ROUNDS`
//! (processes with running threads end by exit_group, by a signal, by execve).
#![no_std]
#![no_main]

use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use core::time::Duration;

use rustix::process::{Signal, kill_process};
use vcpu_guest_programs::arguments::{number, word};
use vcpu_guest_programs::base::{prepare, verify, verify_many};
use vcpu_guest_programs::check_eq;
use vcpu_guest_programs::generations::Generations;
use vcpu_guest_programs::gs::{STRIDE, begin, turn_on};
use vcpu_guest_programs::process::{exec_self, expect_exit, fork, wait_for};
use vcpu_rt::{println, thread};

vcpu_rt::entry!(main);

const AT_ONCE: usize = 24;

fn main() {
    if word(1) == "end" {
        return;
    }
    begin();
    prepare();
    match word(1) {
        "threads" => threads(number(2)),
        "processes" => (0..number(2)).for_each(|_| processes()),
        other => panic!("what is {other}?"),
    }
}

/// Threads that come, look, and go at once, detached, while one thread changes the stride.
fn threads(rounds: usize) {
    static GENERATIONS: Generations = Generations::new();
    static ALIVE: AtomicUsize = AtomicUsize::new(0);
    let stop = AtomicBool::new(false);
    let last = thread::scope(|scope| {
        let change = || {
            let mut last = 0;
            while !stop.load(Ordering::Acquire) {
                last = GENERATIONS.advance();
                thread::sleep(Duration::from_micros(100));
            }
            last
        };
        let changer = scope.spawn(change).expect("a thread");
        for _ in 0..rounds {
            while ALIVE.load(Ordering::Acquire) >= AT_ONCE {
                thread::yield_now();
            }
            ALIVE.fetch_add(1, Ordering::Relaxed);
            let work = || {
                for _ in 0..20 {
                    GENERATIONS.observe();
                }
                ALIVE.fetch_sub(1, Ordering::Release);
            };
            thread::spawn(work).expect("a thread").detach();
        }
        stop.store(true, Ordering::Release);
        changer.join()
    });
    println!("threads ended={rounds} strides set={last}");
    check_eq!(last > 0, true, "the stride changed");
    verify(GENERATIONS.stride(), "the main thread at the end");
}

/// One process for each kind of end, several at a time, each with threads that run.
fn processes() {
    turn_on(STRIDE);
    let exits = [(); 4].map(|()| fork(|| with_threads(|| 7)));
    let executes = [(); 4].map(|()| {
        fork(|| {
            with_threads(|| {
                let errno = exec_self(&[c"ends", c"end"]);
                panic!("execve: {errno:?}")
            })
        })
    });
    let killed = [(); 4].map(|()| {
        fork(|| {
            with_threads(|| {
                loop {
                    verify_many(STRIDE, 100, "a process that will be killed");
                }
            })
        })
    });
    thread::sleep(Duration::from_millis(5));
    for child in killed {
        kill_process(child, Signal::KILL).expect("it runs");
        let expected = Some(Signal::KILL.as_raw());
        check_eq!(wait_for(child).terminating_signal(), expected, "its end");
    }
    for child in exits {
        expect_exit(child, 7, "a process that exits");
    }
    for child in executes {
        expect_exit(child, 0, "a process that executes another program");
    }
    verify(STRIDE, "the parent");
}

/// Calls `end` while three threads run.
fn with_threads(end: impl FnOnce() -> i32) -> i32 {
    for _ in 0..3 {
        let work = || {
            loop {
                verify_many(STRIDE, 100, "a thread of a process that ends");
            }
        };
        thread::spawn(work).expect("a thread").detach();
    }
    verify_many(STRIDE, 2000, "a process that ends");
    end()
}
