// SPDX-License-Identifier: MIT OR Apache-2.0
//! The calling thread's struct rseq: each field by one instruction, from a constant offset.
//!
//! A value is true at the instruction that reads it: the next one may run on another CPU. To act
//! by it, act inside a critical section. All of these are async-signal-safe.

use vcpu_abi::Rseq;
use vcpu_core::arch::rseq_field;

use crate::block::ThreadBlock;

/// Distances from `%fs` of the fields that critical sections use, and what precedes an abort handler.
pub use vcpu_core::arch::{CPU_ID, MM_CID, RSEQ_CS, SIGNATURE};

/// The CPU that the thread runs on; `u32::MAX` while it is not registered.
#[inline(always)]
pub fn cpu_id() -> u32 {
    // SAFETY: every thread of the runtime runs on its block.
    unsafe { rseq_field::<{ Rseq::CPU_ID_OFFSET }>() }
}

/// The same, but always a possible CPU: 0 while the thread is not registered.
#[inline(always)]
pub fn cpu_id_start() -> u32 {
    // SAFETY: as above.
    unsafe { rseq_field::<{ Rseq::CPU_ID_START_OFFSET }>() }
}

/// The NUMA node (Linux 6.3; 0 before, and while the thread is not registered).
#[inline(always)]
pub fn node_id() -> u32 {
    // SAFETY: as above.
    unsafe { rseq_field::<{ Rseq::NODE_ID_OFFSET }>() }
}

/// The concurrency id: below `found().nr_vcpus()`, and no other running thread of the process has
/// it (Linux 6.3). `u32::MAX` before, and while the thread is not registered. After a failed
/// execve a stock Linux 7.3 shows 0x80000000 until the next switch: compare before use.
#[inline(always)]
pub fn mm_cid() -> u32 {
    // SAFETY: as above.
    unsafe { rseq_field::<{ Rseq::MM_CID_OFFSET }>() }
}

/// Whether the thread is registered.
#[inline]
pub fn is_registered() -> bool {
    cpu_id().cast_signed() >= 0
}

/// The calling thread's area, for code that writes sections of its own.
pub fn area() -> *mut Rseq {
    ThreadBlock::current().rseq()
}
