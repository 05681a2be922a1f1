// SPDX-License-Identifier: MIT OR Apache-2.0
//! Copies become zero again, without a byte of memory for those that were never touched.
//!
//! A read would be enough to keep an untouched page untouched: it maps the kernel's page of zeroes.
//! But that takes a page of the page table where there is none, 4 KiB for each 2 MiB of areas. So
//! before the first look at such a span the kernel is asked, by /proc/self/pagemap, whether
//! anything is there. (mincore(2) does not answer that: it calls a page absent that was swapped out,
//! `mm/mincore.c`.) That takes some microseconds, so a pool whose objects come and go is not asked
//! about for ever: after [`PATIENCE`] the pages are read, and the tables paid for. So they are where
//! the kernel does not answer.

use core::mem::MaybeUninit;
use core::ptr;
use core::slice;
use core::sync::atomic::{AtomicU64, Ordering};

use linux_raw_sys::general::{
    __NR_close, __NR_openat, __NR_pread64, AT_FDCWD, O_CLOEXEC, O_RDONLY,
};
use rustix::mm::{Advice, madvise};

use crate::arch;
use crate::areas::layout::{PAGE, TABLE_SPAN};
use crate::areas::pool::Pool;

/// From so many whole pages on it is cheaper to give them back than to overwrite them.
pub const PAGES_WORTH_A_CALL: usize = 16;

/// How often the kernel is asked about a pool.
const PATIENCE: u32 = 64;

/// Zeroes `bytes` at `address`, which are in one area of `pool`, are aligned to a unit, and which
/// nobody else uses. From `whole_pages` whole pages on these are given back to the kernel.
pub fn clear(pool: &Pool, address: usize, bytes: usize, whole_pages: usize, pagemap: &mut Pagemap) {
    let end = address + bytes;
    let first_page = (address + PAGE - 1) & !(PAGE - 1);
    let last_page = end & !(PAGE - 1);
    if last_page >= first_page + whole_pages * PAGE && give_back(first_page, last_page) {
        clear_touched(pool, address, first_page, pagemap);
        clear_touched(pool, last_page, end, pagemap);
    } else {
        clear_touched(pool, address, end, pagemap);
    }
}

/// The pages are zero afterwards, unless it is refused, as it is for locked ones.
fn give_back(start: usize, end: usize) -> bool {
    let address = ptr::with_exposed_provenance_mut(start);
    // SAFETY: whole pages of an object that nobody uses, of a private mapping without a file, which
    // this makes zero.
    start < end && unsafe { madvise(address, end - start, Advice::LinuxDontNeed) }.is_ok()
}

/// Zeroes what is not zero, without touching a page of the page table that does not exist.
fn clear_touched(pool: &Pool, mut start: usize, end: usize, pagemap: &mut Pagemap) {
    while start < end {
        let mut part = (start & !(TABLE_SPAN - 1)) + TABLE_SPAN;
        if part > end {
            part = end;
        }
        let (word, mark) = pool.table_mark(start);
        let mut exists = word.load(Ordering::Relaxed) & mark != 0;
        if !exists && pagemap.may_hold(pool, start, part) {
            word.fetch_or(mark, Ordering::Relaxed);
            exists = true;
        }
        if exists {
            zero(start, part);
        }
        start = part;
    }
}

/// It reads first: a page that was never touched then stays the shared zero page and costs no
/// memory.
fn zero(start: usize, end: usize) {
    let words = ptr::with_exposed_provenance::<AtomicU64>(start);
    // SAFETY: whole units of one area, mapped for ever.
    let words = unsafe { slice::from_raw_parts(words, (end - start) / 8) };
    for word in words {
        if word.load(Ordering::Relaxed) != 0 {
            word.store(0, Ordering::Relaxed);
        }
    }
}

/// /proc/self/pagemap, opened when it is first asked (Documentation/admin-guide/mm/pagemap.rst).
pub enum Pagemap {
    /// Not yet.
    Unopened,
    /// Its descriptor.
    Open(usize),
    /// Asked often enough; or no /proc, a filter, no descriptor left, a process that may not look at
    /// itself.
    Refused,
}

impl Pagemap {
    /// Pages whose entries are read at a time.
    const ENTRIES: usize = 64;
    /// A page is present (bit 63) or swapped out (bit 62).
    const TOUCHED: u64 = 3 << 62;

    /// Whether a page from `start` to `end` was ever touched and not given back; true also where
    /// nobody can tell.
    fn may_hold(&mut self, pool: &Pool, start: usize, end: usize) -> bool {
        let file = match *self {
            Self::Open(file) => file,
            Self::Refused => return true,
            Self::Unopened => match open(pool) {
                Some(file) => {
                    *self = Self::Open(file);
                    file
                }
                None => {
                    *self = Self::Refused;
                    return true;
                }
            },
        };
        let (mut page, end) = (start / PAGE, end.div_ceil(PAGE));
        while page < end {
            let mut count = end - page;
            if count > Self::ENTRIES {
                count = Self::ENTRIES;
            }
            // Not zeroed: that would be a call of memset.
            let mut entries = [MaybeUninit::<u64>::uninit(); Self::ENTRIES];
            let place = entries.as_mut_ptr().expose_provenance();
            // SAFETY: the kernel writes at most that many bytes.
            let read = unsafe { arch::syscall(__NR_pread64, [file, place, count * 8, page * 8]) };
            if read != Ok(count * 8) {
                return true;
            }
            // SAFETY: the kernel wrote them.
            let entries = unsafe { slice::from_raw_parts(entries.as_ptr().cast::<u64>(), count) };
            for entry in entries {
                if entry & Self::TOUCHED != 0 {
                    return true;
                }
            }
            page += count;
        }
        false
    }
}

fn open(pool: &Pool) -> Option<usize> {
    let asked = &pool.header().asked;
    if asked.load(Ordering::Relaxed) >= PATIENCE {
        return None;
    }
    asked.fetch_add(1, Ordering::Relaxed);
    let path = c"/proc/self/pagemap".as_ptr().expose_provenance();
    let flags = (O_RDONLY | O_CLOEXEC) as usize;
    // SAFETY: a terminated path.
    unsafe { arch::syscall(__NR_openat, [AT_FDCWD as usize, path, flags, 0]) }.ok()
}

impl Drop for Pagemap {
    fn drop(&mut self) {
        if let Self::Open(file) = *self {
            // SAFETY: opened here, and seen by nobody else.
            let _closed_in_any_case = unsafe { arch::syscall(__NR_close, [file, 0, 0, 0]) };
        }
    }
}
