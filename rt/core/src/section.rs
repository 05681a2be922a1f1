// SPDX-License-Identifier: MIT OR Apache-2.0
//! Updates of per-vCPU words: by a critical section, or by a locked instruction where there is
//! none.

use core::ptr::NonNull;
use core::sync::atomic::{AtomicU64, Ordering};

use vcpu_abi::{MODE_RSEQ_CPU_ID, MODE_RSEQ_MM_CID, MODE_SHARED};

use crate::arch::{self, Attempt};
use crate::process;

/// How often an aborted section is tried again. Then a locked addition to the last area ends the
/// operation: a thread that is aborted without end (a debugger's single steps, a timer faster
/// than the section) must not wait without end.
const ATTEMPTS: u32 = 64;

/// Adds `value` to the calling vCPU's copy of the word whose vCPU 0's copy is at `word`,
/// wrapping. Never lost, never counted twice, whatever signals, preemption and migration do.
/// Relaxed: it orders nothing else.
///
/// # Safety
/// `word` is an aligned u64 inside a live object of [`crate::areas::alloc`], and is written by
/// this function only. The calling thread runs on a thread block of vcpu-rt.
#[inline(always)]
pub unsafe fn add(word: NonNull<u64>, value: u64) {
    // SAFETY: by the caller's word; ids below the bound have areas.
    let attempt = unsafe { arch::add_by_mm_cid(word, value, process::stride_shift()) };
    if attempt != Attempt::Committed {
        // SAFETY: by the caller's word.
        unsafe { add_otherwise(word, value) };
    }
}

/// What [`add`] does after an abort or without a valid mm_cid. In the mode that goes by cpu_id it
/// comes here each time.
///
/// # Safety
/// As for [`add`].
#[cold]
#[inline(never)]
unsafe fn add_otherwise(word: NonNull<u64>, value: u64) {
    let (mode, stride_shift) = (process::mode(), process::stride_shift());
    for _ in 0..ATTEMPTS {
        let attempt = match mode {
            // SAFETY: by the caller's word.
            MODE_RSEQ_MM_CID => unsafe { arch::add_by_mm_cid(word, value, stride_shift) },
            // SAFETY: by the caller's word.
            MODE_RSEQ_CPU_ID => unsafe { arch::add_by_cpu_id(word, value, stride_shift) },
            _ => Attempt::OutOfRange,
        };
        match attempt {
            Attempt::Committed => return,
            Attempt::Aborted => {}
            Attempt::OutOfRange => break,
        }
    }
    let offset = u64::from(shared_area(mode)) << stride_shift;
    // SAFETY: the area exists: `shared_area` is below nr_areas. It is written by locked
    // instructions only, here, so the atomic view is the only one.
    let word = unsafe { AtomicU64::from_ptr(word.as_ptr().byte_add(offset as usize)) };
    word.fetch_add(value, Ordering::Relaxed);
}

/// The area for locked updates. In shared mode every area is locked, so threads are spread by
/// their thread pointers. Otherwise only the last one is: locked and unlocked updates must not
/// share a word.
fn shared_area(mode: u32) -> u32 {
    let found = process::found();
    if mode != MODE_SHARED {
        return found.nr_vcpus;
    }
    // Fibonacci hashing of the page number, scaled to the CPUs that the process may use: ids
    // below that count are areas that sums visit.
    let page = (arch::thread_pointer() >> 12) as u32;
    let hash = u64::from(page.wrapping_mul(0x9e37_79b9));
    ((hash * u64::from(found.affinity.allowed)) >> 32) as u32
}
