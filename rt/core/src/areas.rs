// SPDX-License-Identifier: MIT OR Apache-2.0
//! The areas: one reservation of `nr_areas * stride` bytes, from which objects are allocated.
//!
//! vCPU k's copy of the object at `p` is at `p + k * stride`. The memory is private, zero-filled
//! and not accounted (MAP_NORESERVE); a page exists once it is touched. Behind the areas, in the
//! same mapping, lies the bitmap of units in use.
//!
//! Allocation takes no lock and calls no allocator: it may be used in a signal handler, in a fork
//! child, and while malloc itself starts.

use core::ptr::{self, NonNull};
use core::slice;
use core::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use rustix::io::Errno;
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous};

use crate::bitmap::Bitmap;
use crate::declared;
use crate::gs_mode::{self, GsMode};
use crate::hook::Hook;
use crate::process;
use crate::report::Line;
use crate::topology::Affinity;
use crate::tunables::{self, GsChoice, Tunables};

/// The unit of allocation, bytes: what the widest compare-exchange (16 bytes) is aligned to.
const UNIT: usize = 16;
/// The largest alignment that [`alloc`] gives, bytes: areas are page-aligned, no more.
pub const MAX_ALIGN: usize = 4096;

/// What was reserved at start.
#[derive(Clone, Copy, Debug)]
pub struct Reservation {
    /// Address of area 0; 0 where the kernel refused even the smallest stride.
    base: usize,
    /// Bytes between areas, a power of two.
    pub stride: u64,
    /// The stride that the tunable, the program or the default asked for.
    pub asked: u64,
    /// Why there are no areas, where there are none.
    pub refused: Option<Errno>,
}

impl Reservation {
    /// Before the start, and in a program without areas.
    pub(crate) const NONE: Self = Self {
        base: 0,
        stride: 0,
        asked: 0,
        refused: None,
    };

    /// Whether nothing was asked for.
    pub(crate) fn is_none(&self) -> bool {
        self.asked == 0
    }

    /// ENOSYS before the start; ENOMEM where the kernel refused the areas, for whatever reason.
    fn usable(&self) -> Result<(), Errno> {
        match self.refused {
            Some(_) => Err(Errno::NOMEM),
            None if self.is_none() => Err(Errno::NOSYS),
            None => Ok(()),
        }
    }

    fn units(&self) -> usize {
        self.stride as usize / UNIT
    }

    fn bitmap(&self, nr_areas: u32) -> Bitmap<'static> {
        let words = ptr::with_exposed_provenance::<AtomicU64>(
            self.base + nr_areas as usize * self.stride as usize,
        );
        // SAFETY: `reserve` mapped one bit per unit behind the areas, zero-filled, for ever. The
        // words are only reached through these atomics.
        let words = unsafe { slice::from_raw_parts(words, self.units().div_ceil(64)) };
        Bitmap::new(words, self.units())
    }
}

/// The areas start in every program that has [`alloc`] or [`free`], which keep this.
#[unsafe(link_section = "vcpu_rt_start")]
pub(crate) static START: Hook = Hook { start, describe };

/// A program that contains a call of this has the areas.
#[inline(always)]
pub(crate) fn keep() {
    START.keep();
}

/// Finds how many vCPUs there can be, reserves the areas and switches the GS mode on where it may, if
/// that was not done. A stride that the user asked for and that does not fit the address space is
/// told on standard error.
///
/// # Safety
/// Called after [`process::start`], while the process has one thread, and no reference from
/// [`process::found`] is in use.
pub unsafe fn start(tunables: &Tunables, declared_minimum: u64) {
    if !process::found().reservation.is_none() {
        return;
    }
    let mut declared_minimum = declared_minimum;
    let declared = declared::bytes().next_power_of_two();
    if declared > declared_minimum {
        declared_minimum = declared;
    }
    let stride = tunables::stride(tunables.stride, declared_minimum);
    let minimum = tunables::stride(Some(0), declared_minimum);
    let affinity = Affinity::of_this_thread();
    let reservation = reserve(affinity.mask_bits, stride, minimum);
    let gs = match tunables.gs {
        GsChoice::Off => GsMode::Off,
        _ if reservation.refused.is_some() => GsMode::Off,
        _ if !affinity.is_known() => GsMode::Unbounded,
        // SAFETY: one thread, by the caller's word. The kernel told how many CPUs there can be, and
        // there are as many areas (docs/decisions/0006).
        _ => unsafe {
            gs_mode::switch_on(tunables.gs, reservation.stride, process::found().fsgsbase)
        },
    };
    // SAFETY: by the caller's word.
    unsafe {
        process::set_areas(affinity, reservation, gs);
        declared::start();
    }
    if tunables.stride.is_some() {
        tell_of_smaller_stride(&reservation);
    }
}

fn describe(line: &mut Line) {
    let found = process::found();
    let reservation = &found.reservation;
    let (gs, refused) = match found.gs {
        GsMode::Off => ("off", None),
        GsMode::On => ("on", None),
        GsMode::Unbounded => ("unbounded", None),
        GsMode::Foreign => ("foreign", None),
        GsMode::GetRefused(errno) => ("refused by PR_GET_GS_MODE", Some(errno)),
        GsMode::SetRefused(errno) => ("refused by PR_SET_GS_MODE", Some(errno)),
    };
    line.outcome(" gs=", gs, refused);
    line.field(" nr_vcpus=", u64::from(found.nr_vcpus));
    line.field(" stride=", reservation.stride);
    if reservation.stride != reservation.asked {
        line.field(" stride_asked=", reservation.asked);
    }
    if let Some(errno) = reservation.refused {
        line.outcome(" areas=", "refused", Some(errno));
    }
}

/// The stride that the user asked for could not be reserved.
fn tell_of_smaller_stride(reservation: &Reservation) {
    let mut line = Line::new();
    line.text("a stride of ")
        .number(reservation.asked)
        .text(" needs more address space than the kernel gives; ");
    if reservation.refused.is_some() {
        line.text("there are no per-vCPU areas").print();
    } else if reservation.stride < reservation.asked {
        line.number(reservation.stride).text(" is used").print();
    }
}

/// Reserves the areas of `nr_vcpus` vCPUs and the last one. A refused reservation (RLIMIT_AS,
/// overcommit mode 2) is tried again with half the stride, down to `minimum`.
fn reserve(nr_vcpus: u32, asked: u64, minimum: u64) -> Reservation {
    let mut stride = asked;
    loop {
        match map(nr_vcpus as usize + 1, stride as usize) {
            Ok(base) => {
                return Reservation {
                    base,
                    stride,
                    asked,
                    refused: None,
                };
            }
            Err(_) if stride / 2 >= minimum => stride /= 2,
            Err(errno) => {
                return Reservation {
                    base: 0,
                    stride: asked,
                    asked,
                    refused: Some(errno),
                };
            }
        }
    }
}

fn map(nr_areas: usize, stride: usize) -> Result<usize, Errno> {
    let bitmap_bytes = stride / UNIT / 8;
    let bytes = nr_areas
        .checked_mul(stride)
        .and_then(|areas| areas.checked_add(bitmap_bytes))
        .ok_or(Errno::NOMEM)?;
    let protection = ProtFlags::READ | ProtFlags::WRITE;
    let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
    // SAFETY: a new mapping where the kernel likes: it replaces nothing.
    let base = unsafe { mmap_anonymous(ptr::null_mut(), bytes, protection, flags)? };
    Ok(base.expose_provenance())
}

/// Units below it were handed out before, so their copies may hold old values.
static EVER_USED: AtomicUsize = AtomicUsize::new(0);

/// Allocates an object of `size` bytes in every area, zeroed everywhere, and returns vCPU 0's
/// copy.
///
/// # Errors
/// EINVAL: size 0 or above the stride; alignment not a power of two, or above [`MAX_ALIGN`].
/// ENOMEM: no room, or the reservation was refused at start. ENOSYS: the runtime has not started.
pub fn alloc(size: usize, align: usize) -> Result<NonNull<u8>, Errno> {
    keep();
    let found = process::found();
    let reservation = &found.reservation;
    reservation.usable()?;
    if size == 0
        || size as u64 > reservation.stride
        || !align.is_power_of_two()
        || align > MAX_ALIGN
    {
        return Err(Errno::INVAL);
    }
    advise_small_pages(found.nr_areas(), reservation);
    let count = size.div_ceil(UNIT);
    let start = reservation
        .bitmap(found.nr_areas())
        .claim(count, align.div_ceil(UNIT))
        .ok_or(Errno::NOMEM)?;
    let used_before = EVER_USED.fetch_max(start + count, Ordering::Relaxed);
    let first = reservation.base + start * UNIT;
    if start < used_before {
        for area in found.used_areas() {
            zero(first + area as usize * reservation.stride as usize, count);
        }
    }
    NonNull::new(ptr::with_exposed_provenance_mut(first)).ok_or(Errno::NOMEM)
}

/// Zeroes one copy. It reads first: a page that was never touched then stays the shared zero
/// page and costs no memory.
fn zero(address: usize, units: usize) {
    let words = ptr::with_exposed_provenance::<AtomicU64>(address);
    // SAFETY: the run was just claimed, lies inside one area, and is aligned to the unit.
    let words = unsafe { slice::from_raw_parts(words, units * UNIT / 8) };
    for word in words {
        if word.load(Ordering::Relaxed) != 0 {
            word.store(0, Ordering::Relaxed);
        }
    }
}

/// Once, before the first object: with transparent huge pages a few touched bytes per area would
/// cost 2 MiB each.
fn advise_small_pages(nr_areas: u32, reservation: &Reservation) {
    static ADVISED: AtomicBool = AtomicBool::new(false);
    if !ADVISED.swap(true, Ordering::Relaxed) {
        let base = ptr::with_exposed_provenance_mut(reservation.base);
        let bytes = nr_areas as usize * reservation.stride as usize;
        // SAFETY: the advice changes no contents. EINVAL means a kernel without huge pages.
        let _no_huge_pages = unsafe { madvise(base, bytes, Advice::LinuxNoHugepage) };
    }
}

/// Frees the object of `size` bytes whose vCPU 0's copy is at `object`.
///
/// # Errors
/// EINVAL, and nothing is freed: the pointer is not from [`alloc`], or (part of) the object is
/// free already. ENOSYS: the runtime has not started.
///
/// # Safety
/// `object` and `size` are of one [`alloc`]. No thread uses the object any more.
pub unsafe fn free(object: *mut u8, size: usize) -> Result<(), Errno> {
    keep();
    let found = process::found();
    let reservation = &found.reservation;
    reservation.usable()?;
    let offset = object
        .addr()
        .checked_sub(reservation.base)
        .ok_or(Errno::INVAL)?;
    if size == 0 || !offset.is_multiple_of(UNIT) || offset as u64 >= reservation.stride {
        return Err(Errno::INVAL);
    }
    let bitmap = reservation.bitmap(found.nr_areas());
    if bitmap.release(offset / UNIT, size.div_ceil(UNIT)) {
        Ok(())
    } else {
        Err(Errno::INVAL)
    }
}
