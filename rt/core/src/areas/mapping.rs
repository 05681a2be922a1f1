// SPDX-License-Identifier: MIT OR Apache-2.0
//! How pools are mapped: memory that does not exist until it is touched, whatever holds for new mappings.

use core::ptr;

use rustix::io::Errno;
use rustix::mm::{
    Advice, MapFlags, MprotectFlags, MremapFlags, ProtFlags, madvise, mmap_anonymous, mprotect,
    mremap, munlock, munmap,
};

use crate::areas::layout::PAGE;

/// Accounted to nobody.
const FLAGS: MapFlags = MapFlags::PRIVATE.union(MapFlags::NORESERVE);

/// Maps `bytes` of zeroes by one system call, in a program that has just started: nothing is locked, since exec
/// ends mlockall. That there shall be no huge pages is said before the first object.
pub fn map_where_nothing_is_locked(bytes: usize) -> Result<usize, Errno> {
    let protection = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: a new mapping where the kernel likes: it replaces nothing.
    let place = unsafe { mmap_anonymous(ptr::null_mut(), bytes, protection, FLAGS)? };
    Ok(place.expose_provenance())
}

/// Maps `bytes` of zeroes at any time of a process's life.
///
/// After mlockall(MCL_FUTURE) the kernel fills every new mapping at once and counts it against
/// RLIMIT_MEMLOCK. Both go by the mapping's own flags where one *grows*: so it is one page, without
/// access, of which nothing can be filled; munlock takes the flag off; then it grows. Only then it
/// becomes writable, which fills what is locked, and is what overcommit mode 2 counts.
/// Where a filter refuses the way there, it is mapped at once: then hardly anything is locked.
/// Without huge pages, of which the first touched byte of each area would take one.
pub fn map(bytes: usize) -> Result<usize, Errno> {
    let writable = MprotectFlags::READ | MprotectFlags::WRITE;
    // SAFETY: a new mapping where the kernel likes: it replaces nothing. The calls that follow
    // are about it alone.
    unsafe {
        let page = mmap_anonymous(ptr::null_mut(), PAGE, ProtFlags::empty(), FLAGS)?;
        let grown =
            munlock(page, PAGE).and_then(|()| mremap(page, PAGE, bytes, MremapFlags::MAYMOVE));
        let place = match grown {
            Ok(place) => place,
            Err(errno) => {
                let _it_was_mapped = munmap(page, PAGE);
                if errno == Errno::NOMEM {
                    return Err(errno);
                }
                mmap_anonymous(ptr::null_mut(), bytes, ProtFlags::empty(), FLAGS)?
            }
        };
        // EINVAL: a kernel without huge pages.
        let _no_huge_pages = madvise(place, bytes, Advice::LinuxNoHugepage);
        if let Err(errno) = mprotect(place, bytes, writable) {
            let _it_was_mapped = munmap(place, bytes);
            return Err(errno);
        }
        Ok(place.expose_provenance())
    }
}

/// Whether a pool of so many bytes could be mapped, in a program that has just started. Nothing stays mapped, which
/// the 0 says: a program that has no object shall not have a pool either.
pub fn try_where_nothing_is_locked(bytes: usize) -> Result<usize, Errno> {
    unmap(map_where_nothing_is_locked(bytes)?, bytes)
}

/// The same at any time of a process's life.
pub fn try_map(bytes: usize) -> Result<usize, Errno> {
    unmap(map(bytes)?, bytes)
}

fn unmap(place: usize, bytes: usize) -> Result<usize, Errno> {
    // SAFETY: mapped just now, and nobody has been told.
    let _it_was_mapped = unsafe { munmap(ptr::with_exposed_provenance_mut(place), bytes) };
    Ok(0)
}
