// SPDX-License-Identifier: MIT OR Apache-2.0
//! The atomics of the code that `tests/models` compiles a second time, over a model checker's.

pub use core::sync::atomic::{AtomicU64, Ordering};
