// SPDX-License-Identifier: MIT OR Apache-2.0
//! Creates a thread that does nothing and joins it, a thousand times a sample; prints nanoseconds a
//! pair, a line a sample.

#![no_std]
#![no_main]

use vcpu_bench_programs::nanoseconds;
use vcpu_rt::{eprintln, println, thread};

vcpu_rt::entry!(main);

const SAMPLES: u32 = 20;
const PAIRS: u32 = 1_000;

fn main() -> i32 {
    if !vcpu_rt::rseq::is_registered() {
        eprintln!("a kernel that registers rseq is needed: its cost belongs to the figure");
        return 1;
    }
    create_and_join(PAIRS);
    for _ in 0..SAMPLES {
        let start = nanoseconds();
        create_and_join(PAIRS);
        println!("{:.1}", (nanoseconds() - start) / f64::from(PAIRS));
    }
    0
}

fn create_and_join(pairs: u32) {
    for _ in 0..pairs {
        match thread::spawn(|| ()) {
            Ok(handle) => handle.join(),
            Err(error) => panic!("no thread: {error:?}"),
        }
    }
}
