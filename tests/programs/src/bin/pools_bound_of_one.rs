// SPDX-License-Identifier: MIT OR Apache-2.0
//! Areas for one vCPU on a machine that has more (the feature `test-hooks`): ids beyond it use the
//! last area, and the GS mode, which would not ask, stays off.
#![no_std]
#![no_main]

use vcpu_rt::{PerVcpu, Single, found, gs_mode::GsMode, println, thread};
use vcpu_test_programs::PASSED;

vcpu_rt::entry!(main);

#[unsafe(no_mangle)]
static vcpu_rt_test_nr_vcpus: u32 = 1;

fn main() -> i32 {
    assert_eq!((found().nr_vcpus(), found().nr_areas()), (1, 2));
    assert!(matches!(found().gs(), GsMode::Unbounded | GsMode::Off));
    let counter = PerVcpu::<Single>::new().expect("the pool has room");
    thread::scope(|scope| {
        for _ in 0..8 {
            scope
                .spawn(|| (0..1_000_000).for_each(|_| counter.add(1)))
                .expect("a thread");
        }
    });
    println!("sum={}", counter.sum());
    println!("last={}", counter.read(1).expect("it exists"));
    PASSED
}
