// SPDX-License-Identifier: MIT OR Apache-2.0
//! What differs by architecture. x86-64 is the only one so far.

#[cfg(target_arch = "x86_64")]
mod x86_64;
#[cfg(target_arch = "x86_64")]
pub use x86_64::*;

#[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
compile_error!("vcpu-rt runs on x86-64 Linux only");
