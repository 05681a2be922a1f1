// SPDX-License-Identifier: MIT OR Apache-2.0
//! The areas, in which objects are allocated: one per vCPU, and the last one, in each pool.
//!
//! vCPU k's copy of the object at `p` is at `p + k * stride`, whichever pool `p` is in. The memory is
//! private, zero-filled and not accounted (MAP_NORESERVE); a page exists once it is touched. The
//! start maps one pool, in a process of a C library the first object does; when none has room another
//! one is mapped. `docs/pools.md` tells how.
//!
//! Allocation takes no lock and calls no allocator: it may be used in a signal handler, in a fork
//! child, and while malloc itself starts.

#[cfg_attr(feature = "test-hooks", path = "areas/bound_of_a_test.rs")]
mod bound;
mod clear;
mod grow;
mod layout;
mod mapping;
mod pool;
mod reservation;
mod statistics;

use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicBool, Ordering};

use rustix::io::Errno;
use rustix::mm::{Advice, madvise};

use self::clear::{PAGES_WORTH_A_CALL, Pagemap, clear};
use self::layout::{PAGE, UNIT};
#[doc(hidden)]
pub use self::mapping::{try_map, try_where_nothing_is_locked};
use self::pool::{Pool, Units};
pub use self::reservation::{Reservation, describe, start, start_with};
pub(crate) use self::reservation::{START, keep};
pub use self::statistics::{Statistics, resident, statistics};
use crate::process::{self, Found};

/// The largest alignment that [`alloc`] gives, bytes: areas are page-aligned, no more.
pub const MAX_ALIGN: usize = PAGE;

/// Allocates an object of `size` bytes in every area, zeroed everywhere, and returns vCPU 0's
/// copy. Objects take whole units of 16 bytes.
///
/// # Errors
/// EINVAL: size 0 or above the stride; alignment not a power of two, or above [`MAX_ALIGN`].
/// ENOMEM: no room, and no address space for another pool, or the kernel refused the areas at start.
/// ENOSYS: the runtime has not started.
pub fn alloc(size: usize, align: usize) -> Result<NonNull<u8>, Errno> {
    keep();
    let found = process::found();
    found.reservation.usable()?;
    if size == 0
        || size as u64 > found.reservation.stride
        || !align.is_power_of_two()
        || align > MAX_ALIGN
    {
        return Err(Errno::INVAL);
    }
    let (count, align) = (size.div_ceil(UNIT), align.div_ceil(UNIT));
    let (pool, units, used_before) = claim(found, count, align)?;
    if used_before {
        let mut pagemap = Pagemap::Unopened;
        for area in found.used_areas() {
            let copy = pool.copy(units, area);
            clear(&pool, copy, count * UNIT, PAGES_WORTH_A_CALL, &mut pagemap);
        }
    }
    NonNull::new(ptr::with_exposed_provenance_mut(pool.copy(units, 0))).ok_or(Errno::NOMEM)
}

/// Units from the first pool that has them, or from a new one.
fn claim(found: &Found, count: usize, align: usize) -> Result<(Pool, Units, bool), Errno> {
    advise_small_pages(found);
    loop {
        let mut pools = grow::pools(found);
        let newest = pools.newest();
        for pool in &mut pools {
            if let Some((units, used_before)) = pool.claim(count, align) {
                return Ok((pool, units, used_before));
            }
        }
        // Each time round somebody has got a new pool, so others get on where this does not.
        grow::grow(grow::layout(found), newest)?;
    }
}

/// Before the first object: with transparent huge pages a few touched bytes per area would cost
/// 2 MiB each. The start leaves it to the programs that allocate, of the pool that it mapped.
fn advise_small_pages(found: &Found) {
    static ADVISED: AtomicBool = AtomicBool::new(false);
    // Told twice, by a handler or another thread in the middle, is no harm; too late would be.
    if found.reservation.place != 0 && !ADVISED.load(Ordering::Relaxed) {
        let place = ptr::with_exposed_provenance_mut(found.reservation.place);
        let bytes = grow::layout(found).bytes();
        // SAFETY: the advice changes no contents. EINVAL means a kernel without huge pages.
        let _no_huge_pages = unsafe { madvise(place, bytes, Advice::LinuxNoHugepage) };
        ADVISED.store(true, Ordering::Relaxed);
    }
}

/// Frees the object of `size` bytes whose vCPU 0's copy is at `object`.
///
/// # Errors
/// EINVAL, and nothing is freed: the pointer is not from [`alloc`], the object has another size
/// (in units of 16 bytes), or it is free already; when two threads free one object, that is what
/// one of them is told. ENOSYS: the runtime has not started.
///
/// # Safety
/// `object` and `size` are of one [`alloc`]. No thread uses the object any more.
pub unsafe fn free(object: *mut u8, size: usize) -> Result<(), Errno> {
    keep();
    let found = process::found();
    found.reservation.usable()?;
    match find(found, object, size) {
        Some((pool, units)) if pool.release(units) => Ok(()),
        _ => Err(Errno::INVAL),
    }
}

/// Makes one area's copy of an object zero and gives its memory back: whole pages of it go to the
/// kernel, what shares a page with other objects is overwritten. The object stays allocated, and
/// the next touch finds zeroes.
///
/// # Errors
/// EINVAL: as for [`free`], or there is no such area. ENOSYS: the runtime has not started.
///
/// # Safety
/// As for [`free`], of this one copy, while the call lasts: nobody updates it, or reads it and minds
/// which of the values it finds.
pub unsafe fn discard(object: *mut u8, size: usize, area: u32) -> Result<(), Errno> {
    keep();
    let found = process::found();
    found.reservation.usable()?;
    match find(found, object, size) {
        Some((pool, units))
            if area < found.nr_areas() && pool.bitmap().holds(units.start, units.count) =>
        {
            let copy = pool.copy(units, area);
            clear(&pool, copy, units.count * UNIT, 1, &mut Pagemap::Unopened);
            Ok(())
        }
        _ => Err(Errno::INVAL),
    }
}

/// The pool that an address is in, and the units there.
fn find(found: &Found, object: *mut u8, size: usize) -> Option<(Pool, Units)> {
    for pool in grow::pools(found) {
        if let Some(units) = pool.units_at(object.addr(), size) {
            return Some((pool, units));
        }
    }
    None
}
