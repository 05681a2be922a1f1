// SPDX-License-Identifier: MIT OR Apache-2.0
//! All pools: the one that was reserved at start, and a list of those that were mapped since. Pools
//! are only ever added, so whoever walks the list needs nothing to hold on to.

use core::ptr;
use core::sync::atomic::AtomicU64;

use rustix::io::Errno;
use rustix::mm::{
    Advice, MapFlags, MprotectFlags, MremapFlags, ProtFlags, madvise, mmap_anonymous, mprotect,
    mremap, munlock, munmap,
};

use crate::areas::layout::{Layout, PAGE};
use crate::areas::pool::Pool;
use crate::list;
use crate::process::Found;

/// Where the pool is that was mapped last, or 0.
static NEWEST: AtomicU64 = AtomicU64::new(0);

/// The pools at one time, the start's first.
pub struct Pools {
    layout: Layout,
    /// Where the next one is, or 0.
    next: usize,
    /// What follows the start's.
    newest: usize,
    first: bool,
}

/// All pools. There are areas.
pub fn pools(found: &Found) -> Pools {
    Pools {
        layout: layout(found),
        next: found.reservation.place,
        newest: list::newest(&NEWEST) as usize,
        first: true,
    }
}

/// The layout of every pool. There are areas.
pub fn layout(found: &Found) -> Layout {
    Layout {
        nr_areas: found.nr_areas() as usize,
        stride: found.reservation.stride as usize,
    }
}

impl Pools {
    /// What [`grow`] asks for: which pool was the newest when these were looked through.
    pub fn newest(&self) -> usize {
        self.newest
    }
}

impl Iterator for Pools {
    type Item = Pool;

    fn next(&mut self) -> Option<Pool> {
        if self.next == 0 {
            return None;
        }
        // SAFETY: the start or `map` mapped it, by this layout, for ever.
        let pool = unsafe { Pool::at(self.next, self.layout)? };
        self.next = if self.first {
            self.newest
        } else {
            list::before(&pool.header().before) as usize
        };
        self.first = false;
        Some(pool)
    }
}

/// Adds a pool, unless somebody else just did: `newest` is what the caller looked through.
///
/// # Errors
/// ENOMEM: the kernel refuses the address space.
pub fn grow(layout: Layout, newest: usize) -> Result<(), Errno> {
    let place = map(layout.bytes()).map_err(|_| Errno::NOMEM)?;
    // SAFETY: just mapped.
    let pool = unsafe { Pool::at(place, layout).ok_or(Errno::NOMEM)? };
    if !list::add(&NEWEST, newest as u64, place as u64, &pool.header().before) {
        // One pool for all who found no room: the caller looks into the other one.
        // SAFETY: nobody else has seen this one.
        let _it_was_mapped =
            unsafe { munmap(ptr::with_exposed_provenance_mut(place), layout.bytes()) };
    }
    Ok(())
}

/// Maps `bytes` of zeroes that take no memory until they are touched, whatever holds for new
/// mappings.
///
/// After mlockall(MCL_FUTURE) the kernel fills every new mapping at once and counts it against
/// RLIMIT_MEMLOCK. Both go by the mapping's own flags where one *grows*: so it is one page, without
/// access, of which nothing can be filled; munlock takes the flag off; then it grows. Only then it
/// becomes writable, which fills what is locked, and is what overcommit mode 2 counts.
/// Without huge pages, of which the first touched byte of each area would take one.
pub fn map(bytes: usize) -> Result<usize, Errno> {
    let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
    let writable = MprotectFlags::READ | MprotectFlags::WRITE;
    // SAFETY: a new mapping where the kernel likes: it replaces nothing. The calls that follow
    // are about it alone.
    unsafe {
        let page = mmap_anonymous(ptr::null_mut(), PAGE, ProtFlags::empty(), flags)?;
        let grown =
            munlock(page, PAGE).and_then(|()| mremap(page, PAGE, bytes, MremapFlags::MAYMOVE));
        let place = match grown {
            Ok(place) => place,
            Err(errno) => {
                let _it_was_mapped = munmap(page, PAGE);
                return Err(errno);
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
