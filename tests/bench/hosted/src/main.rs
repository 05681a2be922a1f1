// SPDX-License-Identifier: MIT OR Apache-2.0
//! Increments in a program with std, by loops that are as those of `bench-increment MODE LOOP`, with the same
//! output.

use std::time::Instant;

use vcpu_bench_programs::{LOOPS, aligned_loops, eight_times};
use vcpu_rt_hosted::{PerVcpu, Single, found, mode_name, per_vcpu};

/// As there.
const SAMPLES: usize = 15;
const INCREMENTS: u32 = 60_000;

per_vcpu! {
    static DECLARED: Single;
}

type Loops = [extern "C" fn(&PerVcpu<Single>, u32); LOOPS];

/// The loops of a name, and increments in a round.
fn loops(name: &str) -> (Loops, u32) {
    match name {
        "allocated_one" => (
            aligned_loops!("allocated_one", |word: &PerVcpu<Single>| word.inc()),
            1,
        ),
        "declared_one" => (
            aligned_loops!("declared_one", |_word: &PerVcpu<Single>| DECLARED.inc()),
            1,
        ),
        "allocated_eight" => (
            aligned_loops!("allocated_eight", |word: &PerVcpu<Single>| eight_times!(
                word.inc()
            )),
            8,
        ),
        "declared_eight" => (
            aligned_loops!("declared_eight", |_word: &PerVcpu<Single>| eight_times!(
                DECLARED.inc()
            )),
            8,
        ),
        _ => panic!("there is no such loop"),
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, mode, name] = &arguments[..] else {
        panic!("the arguments are MODE LOOP");
    };
    assert_eq!(mode, mode_name(found().mode), "another mode");
    let (loops, operations) = loops(name);
    let word = PerVcpu::<Single>::new().expect("the pool has room");
    for run in loops {
        let sample = || {
            let start = Instant::now();
            run(&word, INCREMENTS / operations);
            start.elapsed().as_secs_f64() * 1e9 / f64::from(INCREMENTS)
        };
        sample();
        let samples: Vec<String> = (0..SAMPLES).map(|_| format!("{:.4}", sample())).collect();
        println!("{}", samples.join(" "));
    }
    let counted = loops.len() as u64 * (1 + SAMPLES as u64) * u64::from(INCREMENTS);
    assert_eq!(word.sum() + DECLARED.sum(), counted, "increments were lost");
}
