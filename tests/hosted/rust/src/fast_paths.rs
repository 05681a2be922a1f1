// SPDX-License-Identifier: MIT OR Apache-2.0
//! Functions for those who look at their instructions: `hosted_rust fast_paths` calls each once.

use vcpu_rt_hosted::{Local, PerVcpu, Single};

/// One update a round.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn loop_inc(single: &Local<Single>, turns: u64) {
    for _ in 0..turns {
        single.inc();
    }
}

/// Several.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn loop_inc_four_times(single: &Local<Single>, turns: u64) {
    for _ in 0..turns {
        single.inc();
        single.inc();
        single.inc();
        single.inc();
    }
}

/// Checks what they count.
pub fn run() {
    let single = PerVcpu::<Single>::new().expect("the pool has room");
    loop_inc(&single, 10);
    loop_inc_four_times(&single, 10);
    assert_eq!(single.sum(), 50);
}
