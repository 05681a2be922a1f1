// SPDX-License-Identifier: MIT OR Apache-2.0
//! Increments a per-vCPU counter in rseq mode, in a loop at each of eight places of a 64-byte line;
//! prints nanoseconds an increment, a line for each place, a column for each sample.

#![no_std]
#![no_main]

use core::arch::asm;

use vcpu_bench_programs::nanoseconds;
use vcpu_rt::{PerVcpu, Single, eprintln, print, println, rseq};

vcpu_rt::entry!(main);

const SAMPLES: u32 = 40;
const INCREMENTS: u32 = 100_000;

/// The bytes between the padding and the loop, which is the compiler's business. The benchmark
/// builds without, looks, and builds again with what it saw.
const LEAD: usize = match option_env!("VCPU_RT_BENCH_LEAD") {
    Some(text) => match usize::from_str_radix(text, 10) {
        Ok(lead) => lead,
        Err(_) => panic!("VCPU_RT_BENCH_LEAD is a number of bytes"),
    },
    None => 0,
};

/// Defines a function of this name whose loop begins `$offset` bytes into a 64-byte line.
macro_rules! increment_at {
    ($name:ident, $offset:literal) => {
        #[unsafe(no_mangle)]
        #[inline(never)]
        extern "C" fn $name(counter: &PerVcpu<Single>, increments: u32) {
            // SAFETY: padding that does nothing.
            unsafe {
                asm!(
                    ".balign 64",
                    ".fill {padding}, 1, 0x90",
                    padding = const ($offset + 64 - LEAD) % 64,
                    options(nomem, nostack, preserves_flags),
                );
            }
            for _ in 0..increments {
                counter.add(1);
            }
        }
    };
}

increment_at!(increment_at_0, 0);
increment_at!(increment_at_8, 8);
increment_at!(increment_at_16, 16);
increment_at!(increment_at_24, 24);
increment_at!(increment_at_32, 32);
increment_at!(increment_at_40, 40);
increment_at!(increment_at_48, 48);
increment_at!(increment_at_56, 56);

const LOOPS: [extern "C" fn(&PerVcpu<Single>, u32); 8] = [
    increment_at_0,
    increment_at_8,
    increment_at_16,
    increment_at_24,
    increment_at_32,
    increment_at_40,
    increment_at_48,
    increment_at_56,
];

fn main() -> i32 {
    if rseq::mm_cid() == u32::MAX {
        eprintln!("a kernel with mm_cid is needed");
        return 1;
    }
    let counter = match PerVcpu::new() {
        Ok(counter) => counter,
        Err(errno) => panic!("no counter: {errno:?}"),
    };
    for increment_at in LOOPS {
        increment_at(&counter, INCREMENTS);
        for _ in 0..SAMPLES {
            let start = nanoseconds();
            increment_at(&counter, INCREMENTS);
            print!("{:.4} ", (nanoseconds() - start) / f64::from(INCREMENTS));
        }
        println!("");
    }
    let expected = 8 * u64::from((1 + SAMPLES) * INCREMENTS);
    if counter.sum() != expected {
        eprintln!("{} of {expected} increments were counted", counter.sum());
        return 1;
    }
    0
}
