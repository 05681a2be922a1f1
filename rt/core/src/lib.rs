// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the no_std and the hosted form of vcpu-rt share: rseq registration, access modes, per-vCPU
//! areas, tunables and the contents of the ABI table.
//!
//! This crate defines no C symbol and starts nothing: whoever owns the process (the startup code
//! of `vcpu-rt`) calls [`process::start`] once, then registers its threads with [`rseq`].
#![no_std]

pub mod access;
pub mod arch;
pub mod areas;
pub mod auxv;
pub mod bitmap;
pub mod declared;
pub mod fence;
// What a thread that has no valid id can do about it.
#[cfg_attr(not(vcpu_rt_hosted), path = "first_use/never.rs")]
#[cfg_attr(vcpu_rt_hosted, path = "first_use/registers.rs")]
mod first_use;
pub mod foreign;
pub mod generation;
pub mod gs_mode;
#[cfg(vcpu_rt_hosted)]
pub mod gs_request;
pub mod hook;
mod list;
pub mod object;
pub mod own_section;
pub mod pair;
pub mod process;
pub mod report;
pub mod rseq;
pub mod section;
pub mod signal_mask;
pub mod single;
pub mod structures;
mod sync;
pub mod table;
#[cfg(vcpu_rt_hosted)]
pub mod thread;
pub mod topology;
pub mod tunables;
pub mod value;
pub mod vcpu;
pub mod word;

pub use rustix::io::Errno;
