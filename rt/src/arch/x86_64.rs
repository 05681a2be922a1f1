// SPDX-License-Identifier: MIT OR Apache-2.0
//! All assembly of `vcpu-rt`, by topic. A second architecture would define the same names.

pub mod entry;
pub mod memory;
pub mod string;
pub mod thread;
pub mod thread_local;
