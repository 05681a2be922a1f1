// SPDX-License-Identifier: MIT OR Apache-2.0
//! The lock-free parts of `vcpu-core`, compiled from their own files over the atomics of loom. The
//! tests run them under every interleaving of a few threads, within a bound on preemptions, and
//! under every value that the memory orders allow a load to see.

#[path = "../../../rt/core/src/bitmap.rs"]
pub mod bitmap;
#[path = "../../../rt/core/src/list.rs"]
pub mod list;

/// What `vcpu-core` takes from `core`.
mod sync {
    pub use loom::sync::atomic::{AtomicU64, Ordering};
}
