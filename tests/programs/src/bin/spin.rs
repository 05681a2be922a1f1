// SPDX-License-Identifier: MIT OR Apache-2.0
//! Wants a processor for itself, for at most a hundred seconds: the competitor of a test. It
//! sleeps now and then, so that the scheduler lets it preempt when it wakes.
#![no_std]
#![no_main]

use core::hint::black_box;
use core::time::Duration;

use vcpu_rt::thread;

vcpu_rt::entry!(main);

fn main() {
    for _ in 0..500_000 {
        for index in 0..100_000 {
            black_box(index);
        }
        thread::sleep(Duration::from_micros(100));
    }
}
