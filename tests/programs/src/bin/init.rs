// SPDX-License-Identifier: MIT OR Apache-2.0
//! The first process of a machine: nothing is mounted, nobody waits for it. It prints what it
//! found, counts from several threads, and switches the machine off.
#![no_std]
#![no_main]

use vcpu_rt::{PerVcpu, Single, println, rseq, thread};
use vcpu_test_programs::machine::{assert_first_process, power_off};
use vcpu_test_programs::table::abi;

vcpu_rt::entry!(main);

const THREADS: u64 = 8;
const ADDS: u64 = 200_000;

fn main() -> i32 {
    assert_first_process();
    let table = abi();
    println!("mode={}", table.mode);
    println!("rseq_size={}", table.rseq_size);
    println!("rseq_len={}", table.rseq_len);
    println!("features={}", table.features);
    println!("index_offset={}", table.index_offset);
    println!("registered={}", rseq::is_registered());
    println!("mm_cid={}", rseq::mm_cid());
    let counter = PerVcpu::<Single>::new().expect("the pool has room");
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope
                .spawn(|| (0..ADDS).for_each(|_| counter.add(1)))
                .expect("a thread");
        }
    });
    println!(
        "lost={}",
        (THREADS * ADDS).wrapping_sub(counter.sum()).cast_signed()
    );
    let last = table.nr_areas - 1;
    println!("last_area={}", counter.read(last).expect("it exists"));
    println!("end=reached");
    power_off()
}
