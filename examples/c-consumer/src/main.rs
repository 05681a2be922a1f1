// SPDX-License-Identifier: MIT OR Apache-2.0
//! A C object in a vcpu-rt program finds the ABI table by its weak symbol, and counts from many
//! threads.
#![cfg_attr(not(test), no_std)]
#![cfg_attr(not(test), no_main)]

use vcpu_rt::{eprintln, println, thread};

vcpu_rt::entry!(main);

unsafe extern "C" {
    safe fn consumer_start() -> i32;
    safe fn consumer_count(n: u64);
    safe fn consumer_sum() -> u64;
    safe fn consumer_found_mode() -> u32;
    safe fn declared_count(n: u64);
    safe fn declared_sum() -> u64;
}

const THREADS: u64 = 8;
const COUNTS: u64 = 100_000;

fn main() -> i32 {
    let status = consumer_start();
    if status != 0 {
        eprintln!(
            "c-consumer: the C object got no per-vCPU memory: errno {}",
            -status
        );
        return 1;
    }
    let mut started = 0;
    thread::scope(|scope| {
        for _ in 0..THREADS {
            let count = || {
                for _ in 0..COUNTS {
                    consumer_count(1);
                    declared_count(1);
                }
            };
            match scope.spawn(count) {
                Ok(_handle) => started += 1,
                Err(error) => eprintln!("c-consumer: {error}"),
            }
        }
    });
    let (sum, expected) = (consumer_sum(), started * COUNTS);
    println!(
        "the C object found mode {} and counted {sum} of {expected}, declared {}",
        consumer_found_mode(),
        declared_sum()
    );
    i32::from(sum != expected || declared_sum() != expected || started != THREADS)
}
