// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is built on per-vCPU words: counters, histograms, lists and caches of pointers. The design
//! and what holds when are in `docs/structures.md`.
//!
//! All of them may be used by any thread, in signal handlers and in fork children, at the same
//! time. Nothing waits: an operation that meets another one on a shared area, or a drain, says
//! that it is busy.

mod cache;
mod counter;
mod histogram;
mod stack;

pub use cache::Cache;
pub use counter::Counter;
pub use histogram::{Histogram, Snapshot};
pub use stack::{Chain, Link, Node, Stack};

/// Why nothing was put in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotPut {
    /// There is no room.
    Full,
    /// It is being drained or resized; or this thread acts on a shared area, and another one is in
    /// the middle of an operation there.
    Busy,
}

/// Why nothing was taken out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotTaken {
    /// There is nothing.
    Empty,
    /// As [`NotPut::Busy`].
    Busy,
}
