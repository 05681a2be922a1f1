// SPDX-License-Identifier: MIT OR Apache-2.0
//! A declared per-vCPU variable.

use core::ffi::{c_int, c_void};
use core::mem::offset_of;

use static_assertions::const_assert_eq;

/// Whatever a cell refers to, so that the linker keeps it.
pub type KeepFn = unsafe extern "C" fn();
/// Whether the machine can have a variable: 0 or not.
pub type SupportFn = extern "C" fn() -> c_int;

/// The cell of a declared per-vCPU variable. All cells of a program are in its section
/// `vcpu_rt_declared`, and the start fills those of the object that it is linked into. Elsewhere the
/// constructor that C's macro brings does it.
#[repr(C)]
pub struct VcpuCell {
    /// vCPU 0's copy: filled at start, null where nobody did.
    pub first: *mut c_void,
    /// Bytes of the variable, not 0.
    pub size: u64,
    /// Alignment in bytes, a power of two up to 4096.
    pub align: u64,
    /// Never called: a reference that has the linker keep what fills the cell (in C `vcpu_alloc`).
    pub keep: Option<KeepFn>,
    /// Answers 0 where the machine cannot have such a variable; null where every one can.
    pub is_supported: Option<SupportFn>,
}

const_assert_eq!(size_of::<VcpuCell>(), 40);
const_assert_eq!(align_of::<VcpuCell>(), 8);
const_assert_eq!(offset_of!(VcpuCell, first), 0);
const_assert_eq!(offset_of!(VcpuCell, size), 8);
const_assert_eq!(offset_of!(VcpuCell, align), 16);
const_assert_eq!(offset_of!(VcpuCell, keep), 24);
const_assert_eq!(offset_of!(VcpuCell, is_supported), 32);
