// SPDX-License-Identifier: MIT OR Apache-2.0
//! The prctl that makes the kernel run every thread of a memory space with
//! GS base = `stride * mm_cid`, as the patch series in `kernel/` defines it.
//!
//! `prctl(PR_SET_GS_MODE, &PrctlSetGsMode, size, 0, 0)`, and PR_GET_GS_MODE with the same
//! arguments, which fills the struct. Errors:
//!
//! | errno | when |
//! |---|---|
//! | EINVAL | the kernel lacks the prctl; unknown mode; flags not 0; size below 16; arg4 or arg5 not 0; MM_VCPU with a stride that is 0 or no page multiple; NONE with a stride that is not 0 |
//! | E2BIG | size above a page, or a larger struct whose tail is not zero |
//! | EFAULT | bad pointer |
//! | ERANGE | stride times possible CPUs overflows or leaves the user half |
//! | EOPNOTSUPP | no mm_cid in this kernel, or not a 64-bit task |
//! | EBUSY | NONE while other tasks share the memory space; also ARCH_SET_GS while the mode is on |
//! | EPERM, ENOSYS | a seccomp filter or an LSM |

use core::mem::offset_of;

use static_assertions::const_assert_eq;

/// prctl option: sets the mode. "GSM" and 1: far from the numbers that stock kernels assign.
pub const PR_SET_GS_MODE: u32 = 0x4753_4d01;
/// prctl option: reads the mode, and so tells whether the kernel has it.
pub const PR_GET_GS_MODE: u32 = 0x4753_4d02;

/// `index_mode`: the kernel leaves the GS base to the threads.
pub const GS_INDEX_MODE_NONE: u32 = 0;
/// `index_mode`: the GS base of each thread is `stride * mm_cid`.
pub const GS_INDEX_MODE_MM_VCPU: u32 = 1;

/// Argument of both prctls (`struct prctl_set_gs_mode`). Extensible by its size argument.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PrctlSetGsMode {
    /// GS_INDEX_MODE_*.
    pub index_mode: u32,
    /// 0.
    pub flags: u32,
    /// Bytes between areas: a multiple of the page size for MM_VCPU, 0 for NONE.
    pub stride: u64,
}

const_assert_eq!(size_of::<PrctlSetGsMode>(), 16);
const_assert_eq!(align_of::<PrctlSetGsMode>(), 8);
const_assert_eq!(offset_of!(PrctlSetGsMode, index_mode), 0);
const_assert_eq!(offset_of!(PrctlSetGsMode, flags), 4);
const_assert_eq!(offset_of!(PrctlSetGsMode, stride), 8);
