// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where the runtime starts the process.

use core::ptr;

use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};

/// Maps the first pool. One system call: nothing is locked yet (exec ends mlockall), and that there
/// shall be no huge pages is said before the first object.
pub fn map(bytes: usize) -> Result<usize, Errno> {
    let protection = ProtFlags::READ | ProtFlags::WRITE;
    let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
    // SAFETY: a new mapping where the kernel likes: it replaces nothing.
    let place = unsafe { mmap_anonymous(ptr::null_mut(), bytes, protection, flags)? };
    Ok(place.expose_provenance())
}
