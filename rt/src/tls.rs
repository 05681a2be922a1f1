// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where a PT_TLS image lies below the thread pointer (psABI, TLS variant II).
#![forbid(unsafe_code)]

use crate::block::ThreadBlock;

/// Sizes of the memory around a thread pointer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TlsLayout {
    /// The image begins this many bytes below the thread pointer.
    pub image_offset: usize,
    /// Alignment of the thread pointer, bytes.
    pub align: usize,
}

impl TlsLayout {
    /// Without a PT_TLS segment.
    pub const EMPTY: Self = Self {
        image_offset: 0,
        align: align_of::<ThreadBlock>(),
    };

    /// For a segment. `None`: its alignment is no power of two, or the sum overflows.
    ///
    /// The linker computes offsets as if the image ended, not at the thread pointer, but so that
    /// its beginning is congruent to `p_vaddr` modulo the alignment. Rounding the size up instead
    /// is right only while `p_vaddr` is a multiple of the alignment.
    #[inline]
    pub fn of_segment(p_vaddr: usize, memory_size: usize, p_align: usize) -> Option<Self> {
        // 0 and 1 mean no constraint (gABI).
        let p_align = if p_align == 0 { 1 } else { p_align };
        if !p_align.is_power_of_two() {
            return None;
        }
        let padding = 0_usize.wrapping_sub(p_vaddr).wrapping_sub(memory_size) & (p_align - 1);
        Some(Self {
            image_offset: memory_size.checked_add(padding)?,
            // Of two powers of two, the larger is a multiple of the other.
            align: if p_align > Self::EMPTY.align {
                p_align
            } else {
                Self::EMPTY.align
            },
        })
    }

    /// Bytes for image and block with room to align them, wherever the memory begins.
    #[inline]
    pub fn bytes(&self) -> usize {
        self.image_offset
            .saturating_add(size_of::<ThreadBlock>())
            .saturating_add(self.align)
    }

    /// The thread pointer for a block that ends at or below `end`.
    #[inline]
    pub fn thread_pointer_below(&self, end: usize) -> usize {
        end.saturating_sub(size_of::<ThreadBlock>()) & !(self.align - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_image_is_congruent_and_ends_at_or_below_the_thread_pointer() {
        for p_align in [1, 8, 64, 4096, 16384] {
            for p_vaddr in [0, 8, 0x10, 0x2468, 0x204_0f0, 0x3ff8] {
                for memory_size in [0, 1, 8, 100, 4096, 5000] {
                    let layout = TlsLayout::of_segment(p_vaddr, memory_size, p_align).unwrap();
                    let pointer = layout.thread_pointer_below(0x7000_0123_4567);
                    let image = pointer - layout.image_offset;
                    assert_eq!(image % p_align, p_vaddr % p_align);
                    assert!(image + memory_size <= pointer);
                    assert!(pointer - (image + memory_size) < p_align);
                    assert_eq!(pointer % 256, 0);
                }
            }
        }
    }

    #[test]
    fn a_bad_alignment_is_refused() {
        assert_eq!(TlsLayout::of_segment(0, 8, 24), None);
        assert_eq!(TlsLayout::of_segment(0, usize::MAX, 64), None);
        assert_eq!(TlsLayout::of_segment(0, 0, 0), Some(TlsLayout::EMPTY));
    }
}
