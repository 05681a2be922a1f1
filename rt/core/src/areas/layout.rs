// SPDX-License-Identifier: MIT OR Apache-2.0
//! What lies where in a pool: the header, the marks of page tables, the bitmap of units, and from
//! the next page on the areas. What the first objects touch, of all this, has one page table.
#![forbid(unsafe_code)]

use crate::bitmap::{self, Units};
use crate::topology::MAX_CPUS;
use vcpu_abi::STRIDE_MAXIMUM;

/// The unit of allocation, bytes: what the widest compare-exchange (16 bytes) is aligned to.
pub const UNIT: usize = 16;
/// Bytes of a page.
pub const PAGE: usize = 4096;
/// Bytes that one page of the lowest page table maps.
pub const TABLE_SPAN: usize = 2 << 20;
/// Bytes set aside for the header.
pub const HEADER_BYTES: usize = 64;

/// What decides the layout of every pool of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Areas: a vCPU's each, and the last one.
    pub nr_areas: usize,
    /// Bytes between areas, a power of two.
    pub stride: usize,
}

// No sum below overflows: 8193 areas of 1 GiB are 2^43 bytes.
const _: () = assert!((MAX_CPUS as u64 + 1) * STRIDE_MAXIMUM < 1 << 44);

impl Layout {
    /// Units of one area.
    pub fn units(self) -> usize {
        self.stride / UNIT
    }

    /// Words of 64 units that the bitmap has.
    pub fn bitmap_words(self) -> usize {
        self.units().div_ceil(bitmap::BITS)
    }

    /// Words of the marks: a bit for each page of the lowest page table. One more than the areas
    /// span, because the pool need not begin where one begins.
    pub fn marks_words(self) -> usize {
        (self.areas_bytes() / TABLE_SPAN + 2).div_ceil(64)
    }

    /// Where the bitmap lies, from the header.
    pub fn bitmap(self) -> usize {
        HEADER_BYTES + self.marks_words() * size_of::<u64>()
    }

    /// Where area 0 lies, from the header, in whole pages.
    pub fn areas(self) -> usize {
        let end = self.bitmap() + self.bitmap_words() * size_of::<Units>();
        (end + PAGE - 1) & !(PAGE - 1)
    }

    /// Bytes of the areas.
    pub fn areas_bytes(self) -> usize {
        self.nr_areas * self.stride
    }

    /// Bytes of the whole mapping, in whole pages.
    pub fn bytes(self) -> usize {
        self.areas() + self.areas_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_pool_has_one_page_of_its_own() {
        let layout = Layout {
            nr_areas: 257,
            stride: 4096,
        };
        assert_eq!(layout.areas_bytes(), 257 * 4096);
        assert_eq!(layout.bytes(), 258 * 4096);
        assert_eq!((layout.bitmap(), layout.areas()), (64 + 8, 4096));
    }

    #[test]
    fn the_largest_pool() {
        let layout = Layout {
            nr_areas: MAX_CPUS as usize + 1,
            stride: STRIDE_MAXIMUM as usize,
        };
        assert_eq!(layout.units(), 1 << 26);
        assert!(layout.marks_words() * 64 > layout.areas_bytes() / TABLE_SPAN);
        assert!(layout.bytes().is_multiple_of(PAGE));
    }
}
