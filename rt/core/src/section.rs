// SPDX-License-Identifier: MIT OR Apache-2.0
//! Updates of per-vCPU words: by one `%gs:` instruction, by a critical section, or by a locked
//! instruction where there is neither.

use core::ptr::NonNull;
use core::sync::atomic::{AtomicU64, Ordering};

use vcpu_abi::Mode;

use crate::arch::{self, Attempt};
use crate::process::{self, Found};

/// How often an aborted section is tried again. Then a locked addition to the last area ends the
/// operation: a thread that is aborted without end (a debugger's single steps, a timer faster
/// than the section) must not wait without end.
const ATTEMPTS: u32 = 64;

/// How the words of an object are reached. It is settled before the first object exists and never
/// changes, so each object carries it: beside the object's address a compiler may keep it in
/// registers, and ask for the mode once for many additions, which a static would not allow.
#[derive(Clone, Copy)]
pub struct Access {
    /// The binary logarithm of the stride, and [`Self::GS`].
    shift: u32,
    /// What an mm_cid must be below: `nr_vcpus` in the mode that goes by it, else 0, so that every
    /// one is out of range, also where a kernel fills it although the mode goes by cpu_id: two
    /// indices for one word would lose updates.
    bound: u32,
}

impl Access {
    /// The sign bit of the shift, of which the processor takes the lowest bits.
    const GS: u32 = 1 << 31;

    /// In this process, once it has areas.
    pub(crate) fn of(found: &Found) -> Self {
        let shift = found.reservation.stride.trailing_zeros();
        match found.mode {
            Mode::Gs => Self {
                shift: shift | Self::GS,
                bound: 0,
            },
            Mode::RseqMmCid => Self {
                shift,
                bound: found.nr_vcpus,
            },
            Mode::RseqCpuId | Mode::Shared => Self { shift, bound: 0 },
        }
    }

    /// Binary logarithm of the stride.
    #[inline(always)]
    pub(crate) fn stride_shift(self) -> u32 {
        self.shift & !Self::GS
    }
}

/// Adds `value` to the calling vCPU's copy of the word whose vCPU 0's copy is at `word`,
/// wrapping. Never lost, never counted twice, whatever signals, preemption and migration do.
/// Relaxed: it orders nothing else.
///
/// # Safety
/// `word` is an aligned u64 inside a live object of [`crate::areas::alloc`], and is written by
/// this function only, with this `access`. The calling thread runs on a thread block of vcpu-rt.
#[inline(always)]
pub unsafe fn add(word: NonNull<u64>, value: u64, access: Access) {
    if access.shift & Access::GS != 0 {
        // SAFETY: by the caller's word; the mode is on, for every thread of this memory space,
        // with the areas' stride, and every mm_cid has an area (docs/decisions/0006).
        return unsafe { arch::add_by_gs(word, value) };
    }
    // SAFETY: by the caller's word; ids below the bound have areas.
    let attempt = unsafe { arch::add_by_mm_cid(word, value, access.shift, access.bound) };
    if attempt != Attempt::Committed {
        // SAFETY: by the caller's word.
        unsafe { add_otherwise(word, value) };
    }
}

/// What [`add`] does after an abort or without a valid mm_cid. In the mode that goes by cpu_id it
/// comes here each time, in the GS mode never.
///
/// # Safety
/// As for [`add`].
#[cold]
#[inline(never)]
unsafe fn add_otherwise(word: NonNull<u64>, value: u64) {
    let found = process::found();
    let (shift, bound) = (Access::of(found).stride_shift(), found.nr_vcpus);
    for _ in 0..ATTEMPTS {
        let attempt = match found.mode {
            // SAFETY: by the caller's word; ids below the bound have areas.
            Mode::RseqMmCid => unsafe { arch::add_by_mm_cid(word, value, shift, bound) },
            // SAFETY: as above.
            Mode::RseqCpuId => unsafe { arch::add_by_cpu_id(word, value, shift, bound) },
            Mode::Shared | Mode::Gs => Attempt::OutOfRange,
        };
        match attempt {
            Attempt::Committed => return,
            Attempt::Aborted => {}
            Attempt::OutOfRange => break,
        }
    }
    let offset = u64::from(shared_area(found)) << shift;
    // SAFETY: the area exists: `shared_area` is below nr_areas. It is written by locked
    // instructions only, here, so the atomic view is the only one.
    let word = unsafe { AtomicU64::from_ptr(word.as_ptr().byte_add(offset as usize)) };
    word.fetch_add(value, Ordering::Relaxed);
}

/// The area for locked updates. In shared mode every area is locked, so threads are spread by
/// their thread pointers. Otherwise only the last one is: locked and unlocked updates must not
/// share a word.
fn shared_area(found: &Found) -> u32 {
    if found.mode != Mode::Shared {
        return found.nr_vcpus;
    }
    // Fibonacci hashing of the page number, scaled to the CPUs that the process may use: ids
    // below that count are areas that sums visit.
    let page = (arch::thread_pointer() >> 12) as u32;
    let hash = u64::from(page.wrapping_mul(0x9e37_79b9));
    ((hash * u64::from(found.affinity.allowed)) >> 32) as u32
}
