// SPDX-License-Identifier: MIT OR Apache-2.0
//! A program with areas for as many vCPUs as the benchmark says when it builds this. It counts once
//! and exits; with an argument it says so and waits for its stdin to end, so that it can be looked at.

#![no_std]
#![no_main]

use vcpu_rt::{PerVcpu, Single, env, println};

vcpu_rt::entry!(main);

#[unsafe(no_mangle)]
static vcpu_rt_test_nr_vcpus: u32 = match option_env!("VCPU_RT_BENCH_BOUND") {
    Some(text) => match u32::from_str_radix(text, 10) {
        Ok(bound) => bound,
        Err(_) => panic!("VCPU_RT_BENCH_BOUND is a number of vCPUs"),
    },
    None => 64,
};

fn main() {
    let counter = PerVcpu::<Single>::new().expect("the pool has room");
    counter.add(1);
    if env::args_len() > 1 {
        println!("counted");
        const READ: u32 = 0;
        let mut byte = 0_u8;
        let place = (&raw mut byte).expose_provenance();
        // SAFETY: the kernel writes at most the one byte.
        let read = unsafe { vcpu_rt::syscall(READ, [0, place, 1, 0]) };
        assert_eq!(read, Ok(0), "nobody writes to stdin");
    }
}
