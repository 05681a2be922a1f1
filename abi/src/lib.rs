// SPDX-License-Identifier: MIT OR Apache-2.0
//! The stable ABI of `vcpu-rt`: structures and numbers, no code that runs.
//!
//! - the `rseq` module: the kernel's `struct rseq` and `struct rseq_cs`, as of Linux 7.3, and
//!   where a `vcpu-rt` thread keeps its own;
//! - the `gs_mode` module: the prctl that makes the kernel load the GS base;
//! - the `table` module: the symbol `vcpu_abi`, by which other libraries find all this;
//! - the `update` module: what its functions for per-vCPU data take;
//! - the `cell` module: declared per-vCPU variables;
//! - the `tunables` module: the environment variables and their limits.
//!
//! `include/vcpu_rt.h` says the same to C and C++. A constant that this crate calls `NAME` is
//! `VCPU_NAME` there, since the kernel's and glibc's headers own the plain names; a test of the
//! workspace compares every offset, size and constant of the two.
#![no_std]

mod cell;
mod gs_mode;
mod rseq;
mod table;
mod tunables;
mod update;

pub use cell::*;
pub use gs_mode::*;
pub use rseq::*;
pub use table::*;
pub use tunables::*;
pub use update::*;
