// SPDX-License-Identifier: MIT OR Apache-2.0
//! Threads and CPUs.

use vcpu_rt::{Errno, thread};

/// Lets the calling thread run on one CPU only.
///
/// # Errors
/// EINVAL: the process may not use it.
pub fn pin(cpu: u32) -> Result<(), Errno> {
    const SCHED_SETAFFINITY: u32 = 203;
    /// As many as Linux supports on x86-64.
    const CPUS: usize = 8192;
    let mut mask = [0_u64; CPUS / 64];
    mask[cpu as usize / 64] |= 1 << (cpu % 64);
    let arguments = [
        0,
        size_of_val(&mask),
        (&raw const mask).expose_provenance(),
        0,
    ];
    // SAFETY: the kernel reads the mask.
    unsafe { vcpu_rt::syscall(SCHED_SETAFFINITY, arguments) }.map(drop)
}

/// Gives the CPU away as long as `condition` holds.
pub fn yield_while(condition: impl Fn() -> bool) {
    while condition() {
        thread::yield_now();
    }
}
