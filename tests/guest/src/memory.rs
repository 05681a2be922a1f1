// SPDX-License-Identifier: MIT OR Apache-2.0
//! Mappings, by address: they are for the kernel and for assembly.

use core::ptr::{null_mut, with_exposed_provenance_mut};

use linux_raw_sys::general::MAP_32BIT;
use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap_anonymous, mprotect, munmap};

use crate::gs::PAGE;

fn map_with(bytes: usize, flags: MapFlags) -> usize {
    let protection = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: a new mapping.
    let start = unsafe { mmap_anonymous(null_mut(), bytes, protection, flags) };
    start
        .unwrap_or_else(|errno| panic!("mmap of {bytes} bytes: {errno:?}"))
        .expose_provenance()
}

/// Zeroed memory, private, which costs something once it is touched.
pub fn map(bytes: usize) -> usize {
    map_with(bytes, MapFlags::PRIVATE | MapFlags::NORESERVE)
}

/// The same below 2 GiB, where addresses of 32 bits reach.
pub fn map_low(bytes: usize) -> usize {
    map_with(
        bytes,
        MapFlags::PRIVATE | MapFlags::from_bits_retain(MAP_32BIT),
    )
}

/// A value, all its bytes zero at first, that fork children share with their parent.
///
/// # Safety
/// All zeroes are a value of this type, of at most a page, that several processes may use at once.
pub unsafe fn shared<T: Sync>() -> &'static T {
    const { assert!(size_of::<T>() <= PAGE) };
    let start = map_with(PAGE, MapFlags::SHARED);
    // SAFETY: a fresh page that stays; the rest is the caller's word.
    unsafe { &*with_exposed_provenance_mut::<T>(start) }
}

/// The end of a page behind which nothing is mapped.
pub fn page_before_hole() -> usize {
    let start = map(2 * PAGE);
    unmap(start + PAGE, PAGE);
    start + PAGE
}

/// Unmaps pages that nobody uses any more.
pub fn unmap(start: usize, bytes: usize) {
    // SAFETY: by the callers, which mapped them for themselves.
    unsafe { munmap(with_exposed_provenance_mut(start), bytes) }.expect("it was mapped");
}

/// Makes pages read-only.
pub fn protect(start: usize, bytes: usize) {
    let start = with_exposed_provenance_mut(start);
    // SAFETY: nobody has a reference to them.
    unsafe { mprotect(start, bytes, MprotectFlags::READ) }.expect("it is mapped");
}
