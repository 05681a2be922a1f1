// SPDX-License-Identifier: MIT OR Apache-2.0
//! In a process of a C library threads come from anywhere: one of which nothing is known is
//! registered at its first operation.

use crate::thread;

/// Whether the thread has become registered.
#[inline(always)]
pub fn register() -> bool {
    thread::register_at_first_use()
}
