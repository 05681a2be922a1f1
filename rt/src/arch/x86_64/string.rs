// SPDX-License-Identifier: MIT OR Apache-2.0
//! String instructions for the start, which copies, clears and measures a little, once. By them it
//! needs none of the memory functions, so that a program that has no other use for those does not
//! contain them. They use no stack, no `%fs` and no address, so they work at any stage.
//!
//! The direction flag is clear, as the psABI says. After tens of cycles to begin with, copying and
//! clearing are as fast as the memory functions; [`length`] takes about two cycles per byte.

use core::arch::asm;

/// Copies `count` bytes.
///
/// # Safety
/// `from` is valid for reads and `to` for writes of that many bytes, and they do not overlap.
#[inline(always)]
pub unsafe fn copy(from: *const u8, to: *mut u8, count: usize) {
    // SAFETY: by the caller's word. The three registers are used up; flags stay.
    unsafe {
        asm!(
            "rep movsb",
            inout("rsi") from => _,
            inout("rdi") to => _,
            inout("rcx") count => _,
            options(nostack, preserves_flags),
        );
    }
}

/// Writes `count` zero bytes.
///
/// # Safety
/// `to` is valid for writes of that many bytes.
#[inline(always)]
pub unsafe fn zero(to: *mut u8, count: usize) {
    // SAFETY: by the caller's word. rdi and rcx are used up; flags stay.
    unsafe {
        asm!(
            "rep stosb",
            in("al") 0_u8,
            inout("rdi") to => _,
            inout("rcx") count => _,
            options(nostack, preserves_flags),
        );
    }
}

/// How many bytes come before the zero byte that ends `string`.
///
/// # Safety
/// `string` is readable up to and including a zero byte.
#[inline(always)]
pub unsafe fn length(string: *const u8) -> usize {
    let end: *const u8;
    // SAFETY: by the caller's word. It stops one past the zero byte; the count never runs out.
    // rcx is used up, and the flags change.
    unsafe {
        asm!(
            "repne scasb",
            in("al") 0_u8,
            inout("rdi") string => end,
            inout("rcx") usize::MAX => _,
            options(readonly, nostack),
        );
    }
    end.addr() - string.addr() - 1
}
