// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the benchmark programs share: the clock, loops at eight places of a 64-byte line, the way in
//! which samples are printed, and the thread that runs them.

#![no_std]

mod aligned;
mod arguments;
mod clock;
mod cpu;
mod vcpu;

pub use aligned::{LOOPS, Samples, lead, print_samples};
pub use arguments::{number, word};
pub use clock::nanoseconds;
pub use cpu::{pin, yield_while};
pub use vcpu::{expect_mode, leave_vcpu_0};
