// SPDX-License-Identifier: MIT OR Apache-2.0
//! How much of the areas is in use.

use core::mem::MaybeUninit;
use core::slice;

use linux_raw_sys::general::__NR_mincore;
use rustix::io::Errno;

use crate::arch;
use crate::areas::grow;
use crate::areas::layout::{PAGE, UNIT};
use crate::process;

/// What [`statistics`] returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statistics {
    /// Pools that are mapped.
    pub pools: usize,
    /// Bytes between areas.
    pub stride: u64,
    /// Areas of each pool.
    pub nr_areas: u32,
    /// Bytes of address space that the pools take, what lies behind their areas included.
    pub address_space: u64,
    /// Objects that live.
    pub objects: usize,
    /// Bytes of each area that they take, in units of 16.
    pub used: u64,
    /// Bytes of each area that are free, in pieces of any size.
    pub free: u64,
}

/// How much is allocated. It counts while others go on: exact when nobody allocates or frees
/// meanwhile. It may be called in a signal handler; it makes no system call.
///
/// # Errors
/// As [`super::alloc`].
pub fn statistics() -> Result<Statistics, Errno> {
    super::keep();
    let found = process::found();
    found.reservation.usable()?;
    let layout = grow::layout(found);
    let mut statistics = Statistics {
        pools: 0,
        stride: layout.stride as u64,
        nr_areas: layout.nr_areas as u32,
        address_space: 0,
        objects: 0,
        used: 0,
        free: 0,
    };
    for pool in grow::pools(found) {
        let (used, objects) = pool.bitmap().count();
        statistics.pools += 1;
        statistics.address_space += layout.bytes() as u64;
        statistics.objects += objects;
        statistics.used += (used * UNIT) as u64;
        statistics.free += ((layout.units() - used) * UNIT) as u64;
    }
    Ok(statistics)
}

/// Bytes of one area, of all pools, that are in memory, by mincore(2): in whole pages, without
/// what was swapped out, and with pages that were only read and are the kernel's page of zeroes.
///
/// # Errors
/// EINVAL: there is no such area. What mincore answers where it is refused. Otherwise as
/// [`super::alloc`].
pub fn resident(area: u32) -> Result<u64, Errno> {
    super::keep();
    let found = process::found();
    found.reservation.usable()?;
    let layout = grow::layout(found);
    if area as usize >= layout.nr_areas {
        return Err(Errno::INVAL);
    }
    let mut pages = 0;
    for pool in grow::pools(found) {
        let start = pool.base + area as usize * layout.stride;
        pages += resident_pages(start, start + layout.stride)?;
    }
    Ok(pages * PAGE as u64)
}

fn resident_pages(mut start: usize, end: usize) -> Result<u64, Errno> {
    const PAGES: usize = 512;
    let mut resident = 0;
    while start < end {
        let mut count = (end - start) / PAGE;
        if count > PAGES {
            count = PAGES;
        }
        // Not zeroed: that would be a call of memset.
        let mut vector = [MaybeUninit::<u8>::uninit(); PAGES];
        let place = vector.as_mut_ptr().expose_provenance();
        // SAFETY: the kernel writes a byte a page.
        unsafe { arch::syscall(__NR_mincore, [start, count * PAGE, place, 0])? };
        // SAFETY: the kernel wrote them.
        let vector = unsafe { slice::from_raw_parts(vector.as_ptr().cast::<u8>(), count) };
        for page in vector {
            resident += u64::from(page & 1);
        }
        start += count * PAGE;
    }
    Ok(resident)
}
