// SPDX-License-Identifier: MIT OR Apache-2.0
//! Functions for those who look at their instructions: `hosted_rust fast_paths` calls each once.

use vcpu_rt_hosted::{Local, Pair, PerVcpu, Single};

/// One update.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn inc(single: &Local<Single>) {
    single.inc();
}

/// Several in a loop, so that there are registers with something to keep.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn pair_compare_exchange(pair: &Local<Pair>, turns: u64) -> u64 {
    (0..turns)
        .filter(|&turn| pair.compare_exchange([turn; 2], [turn + 1; 2]).is_ok())
        .count() as u64
}

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
    inc(&single);
    loop_inc(&single, 10);
    loop_inc_four_times(&single, 10);
    assert_eq!(single.sum(), 51);
    let pair = PerVcpu::<Pair>::new().expect("the pool has room");
    assert!(pair_compare_exchange(&pair, 10) > 0);
}
