// SPDX-License-Identifier: MIT OR Apache-2.0
//! All pools: the one that was mapped at start, if one was, and a list of those that were mapped since. Pools
//! are only ever added, so whoever walks the list needs nothing to hold on to.

use core::ptr;
use core::sync::atomic::AtomicU64;

use rustix::io::Errno;
use rustix::mm::munmap;

use crate::areas::layout::Layout;
use crate::areas::mapping::map;
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
    let start = found.reservation.place;
    let newest = list::newest(&NEWEST) as usize;
    let first = start != 0;
    Pools {
        layout: layout(found),
        next: if first { start } else { newest },
        newest,
        first,
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
        // SAFETY: the start or `grow` mapped it, by this layout, for ever.
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
