// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the test programs share: raw system calls, signal handlers, the words of the command
//! line. They run on `vcpu-rt` alone, so there is no libc to ask.
#![no_std]

pub mod arguments;
pub mod free_list;
pub mod gs;
pub mod in_c;
pub mod machine;
pub mod pools;
pub mod signal;
pub mod syscall;
pub mod table;
pub mod thread_locals;
pub mod trace;

/// The exit status of a program whose checks all held. Nothing ends with it by accident: panics
/// end with 101, failed starts with 127, shells with 126 to 128 and up, signals above 128.
pub const PASSED: i32 = 93;
