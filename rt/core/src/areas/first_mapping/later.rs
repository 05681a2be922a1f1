// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where the runtime may be loaded at any time of a process's life: after mlockall too.

pub use crate::areas::grow::map;
