// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a per-vCPU word may hold: integers and pointers of 1, 2, 4 or 8 bytes.

use core::ptr;

use crate::arch::Raw;

/// A value of a word. All bytes zero is one.
///
/// # Safety
/// It has the size and the alignment of its `Raw`, and the two conversions are each other's inverse.
pub unsafe trait Value: Copy {
    /// The unsigned integer of the same size.
    type Raw: Raw;

    /// Its bits.
    fn to_raw(self) -> Self::Raw;

    /// From its bits.
    fn from_raw(raw: Self::Raw) -> Self;
}

/// A value with arithmetic, wrapping.
pub trait Integer: Value {
    /// 0.
    const ZERO: Self;
    /// 1.
    const ONE: Self;

    /// The sum, wrapping.
    #[must_use]
    fn plus(self, other: Self) -> Self;

    /// The negative, wrapping.
    #[must_use]
    fn negative(self) -> Self;
}

macro_rules! integer {
    ($($type:ty as $raw:ty),*) => {
        $(
            // SAFETY: integers of the same width.
            unsafe impl Value for $type {
                type Raw = $raw;

                #[inline(always)]
                fn to_raw(self) -> $raw {
                    self as $raw
                }

                #[inline(always)]
                fn from_raw(raw: $raw) -> Self {
                    raw as Self
                }
            }

            impl Integer for $type {
                const ZERO: Self = 0;
                const ONE: Self = 1;

                #[inline(always)]
                fn plus(self, other: Self) -> Self {
                    self.wrapping_add(other)
                }

                #[inline(always)]
                fn negative(self) -> Self {
                    self.wrapping_neg()
                }
            }
        )*
    };
}

integer!(
    u8 as u8,
    i8 as u8,
    u16 as u16,
    i16 as u16,
    u32 as u32,
    i32 as u32,
    u64 as u64,
    i64 as u64,
    usize as u64,
    isize as u64
);

// SAFETY: a thin pointer is 8 bytes. Its provenance is exposed, and taken up again.
unsafe impl<T> Value for *mut T {
    type Raw = u64;

    #[inline(always)]
    fn to_raw(self) -> u64 {
        self.expose_provenance() as u64
    }

    #[inline(always)]
    fn from_raw(raw: u64) -> Self {
        ptr::with_exposed_provenance_mut(raw as usize)
    }
}
