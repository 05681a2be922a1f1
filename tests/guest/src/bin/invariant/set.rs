// SPDX-License-Identifier: MIT OR Apache-2.0
//! SET while other threads run and sleep: once it has returned, whatever a thread sees next is the
//! new base. First from "off" to a stride, then from stride to stride.

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use core::time::Duration;

use vcpu_guest_programs::generations::Generations;
use vcpu_guest_programs::machine::{allowed_cpus, numbers};
use vcpu_guest_programs::process::check_in_child;
use vcpu_rt::{println, thread};

/// As many as run on a machine of a few CPUs, with switches all the time; see `observers`.
const THREADS: usize = 16;

/// How many threads look, and whether some of them sleep: 16 of which some do or, in every other
/// round, fewer than there are CPUs, which are never switched out by themselves.
#[derive(Clone, Copy)]
struct Observers {
    count: usize,
    sleepers: bool,
}

fn observers(round: usize) -> Observers {
    let cpus = numbers(&allowed_cpus()).count();
    match round % 2 {
        0 => Observers {
            count: THREADS,
            sleepers: true,
        },
        _ => Observers {
            count: cpus.saturating_sub(1).clamp(1, THREADS),
            sleepers: false,
        },
    }
}

struct Shared {
    generations: Generations,
    /// The generation that each thread has surely seen, plus 1.
    seen: [AtomicU64; THREADS],
    stop: AtomicBool,
}

/// Each round is a process of its own: only there the mode is off while 16 threads run.
pub fn while_threads_run(rounds: usize, changes: u64) {
    for round in 0..rounds {
        let observers = observers(round);
        check_in_child("a process whose mode changes", || {
            one_process(changes, observers);
        });
    }
    println!("processes={rounds} changes={changes} each, threads={THREADS} or fewer than CPUs");
}

fn one_process(changes: u64, observers: Observers) {
    let shared = Shared {
        generations: Generations::new(),
        seen: [const { AtomicU64::new(0) }; THREADS],
        stop: AtomicBool::new(false),
    };
    thread::scope(|scope| {
        for index in 0..observers.count {
            let shared = &shared;
            let work = move || look(index, observers.sleepers, shared);
            scope.spawn(work).expect("a thread");
        }
        let seen = &shared.seen[..observers.count];
        wait_until_seen(seen, 0);
        for change in 0..changes {
            let generation = shared.generations.advance();
            // Now and then all threads must have seen it; the others come one upon the other.
            if change % 8 == 0 || change + 1 == changes {
                wait_until_seen(seen, generation);
            }
        }
        shared.stop.store(true, Ordering::Release);
    });
}

fn wait_until_seen(threads: &[AtomicU64], generation: u64) {
    for seen in threads {
        while seen.load(Ordering::Acquire) < generation + 1 {
            thread::sleep(Duration::from_micros(200));
        }
    }
}

/// Half of the threads spin; of the others, where there are sleepers, each sleeps or gives way
/// between two looks.
fn look(index: usize, sleepers: bool, shared: &Shared) {
    while !shared.stop.load(Ordering::Acquire) {
        match index % 4 {
            _ if !sleepers => {}
            0 => thread::sleep(Duration::from_millis(1)),
            1 => thread::yield_now(),
            _ => {}
        }
        if let Some(generation) = shared.generations.observe() {
            shared.seen[index].store(generation + 1, Ordering::Release);
        }
    }
}
