// SPDX-License-Identifier: MIT OR Apache-2.0
//! Struct rseq at a constant distance from `%fs`: every thread runs on a block of vcpu-rt, whose
//! struct says whether it is registered.

use core::arch::asm;

use crate::access::Access;
use vcpu_abi::{FEATURE_CONST_OFFSET, RSEQ_AREA_BYTES, RSEQ_OFFSET, Rseq};

/// `rseq_cs` of the calling thread's struct rseq, as a distance from `{rseq}`, which is 0 here: from `%fs`.
pub const RSEQ_CS: usize = RSEQ_OFFSET + Rseq::RSEQ_CS_OFFSET;
/// `mm_cid`, likewise.
pub const MM_CID: usize = RSEQ_OFFSET + Rseq::MM_CID_OFFSET;
/// `cpu_id`, likewise.
pub const CPU_ID: usize = RSEQ_OFFSET + Rseq::CPU_ID_OFFSET;
/// Bytes that a block has for struct rseq.
pub const AREA_BYTES: usize = RSEQ_AREA_BYTES;
/// Their alignment.
pub const AREA_ALIGN: usize = RSEQ_OFFSET;
/// What the table's features say of the distance.
pub const OFFSET_FEATURE: u64 = FEATURE_CONST_OFFSET;

/// Where the process has what sections need of a thread: at constant distances.
#[derive(Clone, Copy, Debug)]
pub struct Place;

impl Place {
    /// In this process.
    #[inline(always)]
    pub(crate) fn current() -> Self {
        Self
    }
}

/// The `asm!` of a critical section: its templates, and behind them its operands.
#[doc(hidden)]
#[macro_export]
macro_rules! section_asm {
    (place: $place:expr, [$($templates:tt)*] $($operands:tt)*) => {{
        let _: $crate::arch::Place = $place;
        $crate::section_asm!([$($templates)*] $($operands)*)
    }};
    ([$($templates:tt)*] $($operands:tt)*) => {
        ::core::arch::asm!($($templates)* rseq = const 0, $($operands)*)
    };
}

/// Compares `{index}` with what it must be below, by [`bound_operand`].
macro_rules! compare_with_bound {
    () => {
        "cmp {index:e}, {bound:e}"
    };
}
pub(crate) use compare_with_bound;

/// The operand `{bound}` of a section by an id, which is the process's bound.
#[inline(always)]
pub fn bound_operand(access: Access, _id: usize) -> u32 {
    access.bound()
}

/// The distance of struct rseq from `%fs`.
#[inline(always)]
pub fn rseq_offset() -> isize {
    RSEQ_OFFSET as isize
}

/// The distance from `%fs` of an i32 that is not negative while the thread is registered.
#[inline(always)]
pub fn registered_offset() -> isize {
    CPU_ID as isize
}

/// What an id must be below in the calling thread: the process's bound. An id of a thread without
/// registration is all ones.
#[inline(always)]
pub fn bound_here(bound: u32) -> u32 {
    bound
}

/// Reads the 32-bit field at `OFFSET` of the calling thread's struct rseq, in one instruction.
///
/// # Safety
/// `%fs` must point to a thread block of vcpu-rt, which reserves `RSEQ_OFFSET..+256`.
#[inline(always)]
pub unsafe fn rseq_field<const OFFSET: usize>() -> u32 {
    let value;
    // SAFETY: within the block, by the caller's word. Not `pure`: the kernel changes the field at
    // any preemption, so two reads are two values. One load, no stack, no flags.
    unsafe {
        asm!(
            "mov {value:e}, fs:[{offset}]",
            value = out(reg) value,
            offset = const RSEQ_OFFSET + OFFSET,
            options(nostack, readonly, preserves_flags),
        );
    }
    value
}
