// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the guest's programs share: the prctl, raw system calls, observations of the GS base,
//! processes, the machine's CPUs.
//!
//! They run on a kernel of `kernel/`, started by `guest_init`. The runtime must be told to leave
//! the mode alone (`VCPU_RT_GS=off`): each program sets it itself.
#![no_std]

pub mod arguments;
pub mod base;
pub mod check;
pub mod clone;
pub mod file;
pub mod generations;
pub mod gs;
pub mod machine;
pub mod memory;
pub mod plan;
pub mod process;
pub mod ptrace;
pub mod signal;
pub mod syscall;
pub mod threads;
