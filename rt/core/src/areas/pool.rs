// SPDX-License-Identifier: MIT OR Apache-2.0
//! One pool: `nr_areas * stride` bytes from which objects are allocated, and before them what is
//! known of them. Fresh memory, which is all zeroes, is an empty pool.

use core::ptr::{self, NonNull};
use core::slice;
use core::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};

use crate::areas::layout::{HEADER_BYTES, Layout, TABLE_SPAN, UNIT};
use crate::bitmap::{BITS, Bitmap};

/// What is known of a pool beside its units.
#[repr(C)]
pub struct Header {
    /// For the list of pools.
    pub before: AtomicU64,
    /// Units from here on were never handed out, so they are zero on every vCPU.
    fresh: AtomicUsize,
    /// A word of the bitmap: below it there were no free units when it was last looked at.
    search_from: AtomicUsize,
    /// A request that found no room, see [`Failure`].
    failed: AtomicU64,
    /// How often units became free: a failure before that says nothing.
    releases: AtomicU32,
    /// How often the kernel was asked what is touched.
    pub asked: AtomicU32,
}

const _: () = assert!(size_of::<Header>() <= HEADER_BYTES);

/// A request for which there was no room: nor is there for one that asks for as much or more, as
/// long as no unit was released. Full pools are passed by in a few instructions.
#[derive(Clone, Copy)]
struct Failure(u64);

impl Failure {
    /// Units are at most 2^26, and the largest alignment is 2^8 units.
    fn new(releases: u32, count: usize, align: usize) -> Self {
        let request = (count as u64) << 4 | u64::from(align.trailing_zeros());
        Self(u64::from(releases) << 32 | request)
    }

    fn rules_out(self, releases: u32, count: usize, align: usize) -> bool {
        let failed_count = (self.0 as u32 >> 4) as usize;
        let failed_align = self.0 as u32 & 0xf;
        failed_count != 0
            && self.0 >> 32 == u64::from(releases)
            && count >= failed_count
            && align.trailing_zeros() >= failed_align
    }
}

/// A pool that is mapped. Pools stay for as long as the process.
#[derive(Clone, Copy)]
pub struct Pool {
    /// Address of area 0.
    pub base: usize,
    /// The layout of every pool.
    pub layout: Layout,
    header: NonNull<Header>,
}

/// A run of units of a pool.
#[derive(Clone, Copy)]
pub struct Units {
    /// The first.
    pub start: usize,
    /// How many.
    pub count: usize,
}

impl Pool {
    /// The pool that is mapped at `place`.
    ///
    /// # Safety
    /// `layout.bytes()` are mapped there, for ever, which were zero, and are reached through pools
    /// only.
    pub unsafe fn at(place: usize, layout: Layout) -> Option<Self> {
        Some(Self {
            base: place + layout.areas(),
            layout,
            header: NonNull::new(ptr::with_exposed_provenance_mut(place))?,
        })
    }

    /// Its header.
    pub fn header(&self) -> &'static Header {
        // SAFETY: `at`'s caller vouches for the memory; zeroes are a header, of atomics.
        unsafe { self.header.as_ref() }
    }

    /// Its units.
    pub fn bitmap(&self) -> Bitmap<'static> {
        // SAFETY: in the pool.
        let words = unsafe { self.header.byte_add(self.layout.bitmap()).cast().as_ptr() };
        // SAFETY: as for the header.
        let words = unsafe { slice::from_raw_parts(words, self.layout.bitmap_words()) };
        Bitmap::new(words, self.layout.units())
    }

    /// The mark of the page of the page table that maps `address`, which is in the areas: set once
    /// that page was seen to exist. It is not unset again: a kernel may take empty ones back, which
    /// costs what it saved.
    pub fn table_mark(&self, address: usize) -> (&'static AtomicU64, u64) {
        let table = address / TABLE_SPAN - self.base / TABLE_SPAN;
        // SAFETY: as for the header; the table is of the areas, for which there are marks.
        let word = unsafe {
            let marks = self.header.byte_add(HEADER_BYTES).cast::<AtomicU64>();
            marks.add(table / 64).as_ref()
        };
        (word, 1 << (table % 64))
    }

    /// Takes `count` units, the first at a multiple of `align`. With them comes whether some of
    /// them may have been handed out before.
    pub fn claim(&self, count: usize, align: usize) -> Option<(Units, bool)> {
        let header = self.header();
        // Acquire pairs with the count of a release: who sees it sees the free units.
        let releases = header.releases.load(Ordering::Acquire);
        let failed = Failure(header.failed.load(Ordering::Relaxed));
        if failed.rules_out(releases, count, align) {
            return None;
        }
        let bitmap = self.bitmap();
        let word = header.search_from.load(Ordering::Relaxed);
        let claim = bitmap.claim(count, align, word * BITS);
        if claim.disturbed {
            header.releases.fetch_add(1, Ordering::Release);
        }
        let Some(start) = claim.start else {
            let failure = Failure::new(releases, count, align);
            header.failed.store(failure.0, Ordering::Relaxed);
            return None;
        };
        if bitmap.is_full(word) {
            header.search_from.store(word + 1, Ordering::Relaxed);
        }
        let end = start + count;
        let mut fresh = header.fresh.load(Ordering::Relaxed);
        if fresh < end {
            fresh = header.fresh.fetch_max(end, Ordering::Relaxed);
        }
        Some((Units { start, count }, start < fresh))
    }

    /// Gives units back. False, and nothing changed, when they are not exactly those of a claim.
    pub fn release(&self, units: Units) -> bool {
        if !self.bitmap().release(units.start, units.count) {
            return false;
        }
        let header = self.header();
        let word = units.start / BITS;
        if header.search_from.load(Ordering::Relaxed) > word {
            header.search_from.store(word, Ordering::Relaxed);
        }
        header.releases.fetch_add(1, Ordering::Release);
        true
    }

    /// The units of `size` bytes from `address`, when that is the place of vCPU 0's copy of a unit.
    pub fn units_at(&self, address: usize, size: usize) -> Option<Units> {
        let offset = address.wrapping_sub(self.base);
        let is_unit = offset < self.layout.stride && offset.is_multiple_of(UNIT);
        is_unit.then_some(Units {
            start: offset / UNIT,
            count: size.div_ceil(UNIT),
        })
    }

    /// Address of the copy in an area.
    pub fn copy(&self, units: Units, area: u32) -> usize {
        self.base + units.start * UNIT + area as usize * self.layout.stride
    }
}
