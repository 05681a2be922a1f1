// SPDX-License-Identifier: MIT OR Apache-2.0
//! The limits of the process, which are the program's: what a pool may take of them.

use core::mem::MaybeUninit;

use linux_raw_sys::general::{__NR_prlimit64, RLIMIT_AS, RLIMIT_DATA, rlimit64};
use vcpu_core::arch;

/// A pool takes one part of so many: a program with a limit has more to map than counters.
const PARTS: u64 = 16;

/// How large a pool may be where nobody asked for a stride, bytes. Pools count against both limits, as private
/// memory that can be written (`may_expand_vm`, `mm/mmap.c`), whether anybody touches them or not.
pub fn pool_bytes() -> usize {
    let least = limit(RLIMIT_AS).min(limit(RLIMIT_DATA));
    (least / PARTS) as usize
}

/// The limit that holds now, bytes: RLIM64_INFINITY, the largest number, where there is none or a filter hides it.
fn limit(resource: u32) -> u64 {
    let mut found = MaybeUninit::<rlimit64>::uninit();
    let place = found.as_mut_ptr().expose_provenance();
    // SAFETY: of this process; nothing is set, and the kernel fills the struct.
    match unsafe { arch::syscall(__NR_prlimit64, [0, resource as usize, 0, place]) } {
        // SAFETY: the kernel filled it.
        Ok(_) => unsafe { found.assume_init() }.rlim_cur,
        Err(_) => u64::MAX,
    }
}
