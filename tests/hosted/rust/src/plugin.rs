// SPDX-License-Identifier: MIT OR Apache-2.0
//! What `tests/hosted/plugin.c` is, in Rust: a shared object with the runtime in it.

use vcpu_rt_hosted::{Single, found, per_vcpu};

per_vcpu! {
    static HITS: Single;
}

/// In a constructor of the object: behind the runtime's.
#[used]
#[unsafe(link_section = ".init_array.00101")]
static CONSTRUCTOR: extern "C" fn() = start;

extern "C" fn start() {
    HITS.inc();
}

/// The access mode's number.
#[unsafe(no_mangle)]
extern "C" fn plugin_mode() -> u32 {
    found().mode as u32
}

/// So many additions.
#[unsafe(no_mangle)]
extern "C" fn plugin_add(rounds: u64) {
    (0..rounds).for_each(|_| HITS.inc());
}

/// All additions so far.
#[unsafe(no_mangle)]
extern "C" fn plugin_sum() -> u64 {
    HITS.sum()
}
