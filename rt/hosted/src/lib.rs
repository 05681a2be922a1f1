// SPDX-License-Identifier: MIT OR Apache-2.0
//! vcpu-rt in a process that a C library starts: per-vCPU data, and the registration of threads where
//! the C library has none. See `docs/hosted.md`.
//!
//! A Rust program with std depends on this crate, and has what programs on `vcpu-rt` have, from before
//! `main` on:
//!
//! ```text
//! use vcpu_rt_hosted::{Single, per_vcpu};
//!
//! per_vcpu! {
//!     static HITS: Single;
//! }
//!
//! fn main() {
//!     HITS.inc();
//! }
//! ```
//!
//! The same code, as `libvcpu_rt.so` and `libvcpu_rt.a`, serves programs in C.
#![no_std]

#[doc(hidden)]
pub mod choice;
mod constructor;
#[doc(hidden)]
pub mod environment;
pub mod gs;
#[doc(hidden)]
pub mod libc;
mod limits;
#[doc(hidden)]
pub mod panic;
#[doc(hidden)]
pub mod relro;
#[doc(hidden)]
pub mod start;
#[doc(hidden)]
pub mod symbols;
#[doc(hidden)]
pub mod thread;
mod unload;

pub use vcpu_abi as abi;
pub use vcpu_core::Errno;
pub use vcpu_core::declared::Declared;
pub use vcpu_core::fence::fence;
pub use vcpu_core::object::{Local, Object, Part, PerVcpu};
pub use vcpu_core::own_section::Parts;
pub use vcpu_core::pair::Pair;
pub use vcpu_core::process::{Found, RseqState, found, mode_name};
pub use vcpu_core::section::{Refused, Section};
pub use vcpu_core::single::Single;
pub use vcpu_core::structures::{
    Cache, Chain, Counter, Histogram, Link, Node, NotPut, NotTaken, Snapshot, Stack,
};
pub use vcpu_core::value::{Integer, Value};
pub use vcpu_core::{areas, rseq, vcpu};
pub use vcpu_core::{critical_section, field, per_vcpu};
