// SPDX-License-Identifier: MIT OR Apache-2.0
//! The clock of the benchmark programs.

/// CLOCK_MONOTONIC in nanoseconds, by the system call: it is read twice a measurement, so what it
/// costs does not show.
pub fn nanoseconds() -> f64 {
    const CLOCK_GETTIME: u32 = 228;
    const CLOCK_MONOTONIC: usize = 1;
    let mut now = [0_i64; 2];
    let now_address = (&raw mut now).expose_provenance();
    // SAFETY: on success the kernel writes seconds and nanoseconds to `now`, two 64-bit words.
    let read = unsafe { vcpu_rt::syscall(CLOCK_GETTIME, [CLOCK_MONOTONIC, now_address, 0, 0]) };
    assert!(read.is_ok(), "clock_gettime failed");
    now[0] as f64 * 1e9 + now[1] as f64
}
