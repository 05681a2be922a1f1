// SPDX-License-Identifier: MIT OR Apache-2.0
//! A startup runtime for static x86-64 Linux programs without libc.
//!
//! It starts the program, gives every thread a registered struct rseq at a constant offset from
//! `%fs`, gives the process per-vCPU data, and publishes the table `vcpu_abi` by which other
//! libraries find both. See `docs/runtime.md` for the boot order and the thread block.
//!
//! ```text
//! #![cfg_attr(not(test), no_std)]
//! #![cfg_attr(not(test), no_main)]
//!
//! vcpu_rt::entry!(main);
//!
//! fn main() {
//!     vcpu_rt::println!("Hello from mm_cid {}", vcpu_rt::rseq::mm_cid());
//! }
//! ```
//!
//! This library defines no C symbol: [`entry!`] emits them in the program's crate, except in its
//! test build.
#![no_std]

pub mod arch;
pub mod block;
mod entry;
pub mod env;
pub mod io;
pub mod panic;
pub mod process;
mod program_headers;
pub mod rseq;
pub mod signal;
pub mod stack_overflow;
#[doc(hidden)]
pub mod start;
pub mod sync;
pub mod thread;
mod thread_local;
mod tls;

pub use rustix::io::Errno;
pub use thread_local::LocalKey;
#[doc(hidden)]
pub use thread_local::Room;
pub use vcpu_abi as abi;
pub use vcpu_core::arch::syscall;
pub use vcpu_core::declared::Declared;
pub use vcpu_core::fence::fence;
pub use vcpu_core::object::{Local, Object, Part, PerVcpu};
pub use vcpu_core::own_section::Parts;
pub use vcpu_core::pair::Pair;
pub use vcpu_core::process::{Found, found};
pub use vcpu_core::section::{Refused, Section};
pub use vcpu_core::single::Single;
pub use vcpu_core::structures::{
    Cache, Chain, Counter, Histogram, Link, Node, NotPut, NotTaken, Snapshot, Stack,
};
pub use vcpu_core::value::{Integer, Value};
#[doc(hidden)]
pub use vcpu_core::{__vcpu_data_functions, hook, tunables};
pub use vcpu_core::{areas, gs_mode, process as vcpu_process, table, vcpu};
pub use vcpu_core::{critical_section, field, per_vcpu};
