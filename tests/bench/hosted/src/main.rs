// SPDX-License-Identifier: MIT OR Apache-2.0
//! Increments in a program with std, by the loops of `bench-increment MODE allocated_one`, with the same output.

use std::time::Instant;

use vcpu_bench_programs::aligned_loops;
use vcpu_rt_hosted::{PerVcpu, Single, found, mode_name};

/// As there.
const SAMPLES: usize = 15;
const ROUNDS: u32 = 60_000;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let mode = mode_name(found().mode);
    assert_eq!(
        arguments.get(1).map(String::as_str),
        Some(mode),
        "another mode"
    );
    assert_eq!(arguments.get(2).map(String::as_str), Some("allocated_one"));
    let word = PerVcpu::<Single>::new().expect("the pool has room");
    let loops: [extern "C" fn(&PerVcpu<Single>, u32); 8] =
        aligned_loops!("hosted_one", |word: &PerVcpu<Single>| word.inc());
    for run in loops {
        let sample = || {
            let start = Instant::now();
            run(&word, ROUNDS);
            start.elapsed().as_secs_f64() * 1e9 / f64::from(ROUNDS)
        };
        sample();
        let samples: Vec<String> = (0..SAMPLES).map(|_| format!("{:.4}", sample())).collect();
        println!("{}", samples.join(" "));
    }
    let counted = loops.len() as u64 * (1 + SAMPLES as u64) * u64::from(ROUNDS);
    assert_eq!(word.sum(), counted, "increments were lost");
}
