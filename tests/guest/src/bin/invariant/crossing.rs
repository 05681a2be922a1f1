// SPDX-License-Identifier: MIT OR Apache-2.0
//! The number of threads passes the number of CPUs, upwards and downwards: Linux 7.3 then changes
//! the ownership of mm_cids, from threads to CPUs and back, under threads that run.

use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use core::time::Duration;

use vcpu_guest_programs::base::verify_many;
use vcpu_guest_programs::gs::turn_on;
use vcpu_guest_programs::machine::{allowed_cpus, numbers};
use vcpu_rt::thread::ScopedJoinHandle;
use vcpu_rt::{println, thread};

use super::STRIDE;

const AT_ONCE: u64 = 1000;
const MOST: usize = 64;

pub fn cross(rounds: usize) {
    turn_on(STRIDE);
    let most = (2 * numbers(&allowed_cpus()).count() + 2).min(MOST);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let watch = || {
            while !stop.load(Ordering::Acquire) {
                verify_many(STRIDE, AT_ONCE, "a thread that stays");
            }
        };
        scope.spawn(watch).expect("a thread");
        for round in 0..rounds {
            // One by one in even rounds, all at once in odd ones.
            up_and_down(most, round % 2 == 0);
        }
        stop.store(true, Ordering::Release);
    });
    println!("rounds={rounds}, each up to {} threads and back", most + 2);
}

/// Starts threads, each of which looks at its base until there shall be fewer, and lets them go, the
/// last first.
fn up_and_down(most: usize, slowly: bool) {
    let pause = || {
        if slowly {
            thread::sleep(Duration::from_millis(2));
        }
    };
    let wanted = AtomicUsize::new(most);
    thread::scope(|scope| {
        let mut handles: [Option<ScopedJoinHandle<'_, ()>>; MOST] = [const { None }; MOST];
        for (index, place) in handles.iter_mut().enumerate().take(most) {
            let wanted = &wanted;
            let work = move || {
                while index < wanted.load(Ordering::Acquire) {
                    verify_many(STRIDE, AT_ONCE, "a thread that comes and goes");
                }
            };
            *place = Some(scope.spawn(work).expect("a thread"));
            pause();
        }
        for left in (0..most).rev() {
            wanted.store(if slowly { left } else { 0 }, Ordering::Release);
            if let Some(thread) = handles[left].take() {
                thread.join();
            }
            verify_many(STRIDE, AT_ONCE, "the main thread after another one's end");
        }
    });
}
