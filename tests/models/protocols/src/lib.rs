// SPDX-License-Identifier: MIT OR Apache-2.0
//! Models of how [`Cache`] and [`Stack`] are drained and resized, and a checker that visits every
//! interleaving of them.
//!
//! Not `loom`: it has threads and atomics, and no sections that a fence, a signal or another thread of
//! the same vCPU throws back to their start. [`machine`] has those, and the store buffers of x86-64.
//! Each step of a model is one load or store of the code that it stands for.
//!
//! In every state that can be reached each item is in one place: inside, or held by the thread that took
//! it out. And a process that is forked in that state finds its copy usable, with the same items inside.
//!
//! [`Cache`]: ../../../../rt/core/src/structures/cache.rs
//! [`Stack`]: ../../../../rt/core/src/structures/stack.rs

pub mod cache;
pub mod machine;
pub mod stack;
