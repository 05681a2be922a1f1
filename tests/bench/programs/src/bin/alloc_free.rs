// SPDX-License-Identifier: MIT OR Apache-2.0
//! Prints nanoseconds of an allocation and its free, a line for each size, a column for each sample:
//! 16 and 1024 bytes written by nobody, the same with a copy that is in use, and 64 KiB, which go
//! back to the kernel.

#![no_std]
#![no_main]

use vcpu_bench_programs::nanoseconds;
use vcpu_rt::{areas, print, println};

vcpu_rt::entry!(main);

const SAMPLES: u32 = 20;
const PAIRS: u32 = 2_000;

fn main() {
    for (size, copies) in [(16, 0), (1024, 0), (16, 2), (1024, 2), (65_536, 2)] {
        // What lies on the page besides keeps it from being the object's alone.
        areas::alloc(16, 16).expect("the pool has room");
        for _ in 0..SAMPLES {
            let start = nanoseconds();
            for _ in 0..PAIRS {
                let object = areas::alloc(size, 16).expect("the pool has room");
                for area in 0..copies {
                    let stride = 2 << 20;
                    // SAFETY: its own object, in an area that every machine has.
                    unsafe { object.as_ptr().add(area * stride).write_volatile(1) };
                }
                // SAFETY: nobody uses it.
                unsafe { areas::free(object.as_ptr(), size) }.expect("it is allocated");
            }
            print!("{:.1} ", (nanoseconds() - start) / f64::from(PAIRS));
        }
        println!("");
    }
}
