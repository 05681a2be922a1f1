// SPDX-License-Identifier: MIT OR Apache-2.0
//! Restartable sequences: the memory that a thread shares with the kernel.
//!
//! Source of layouts and numbers: Linux `include/uapi/linux/rseq.h` (7.3) and `kernel/rseq.c`.

use core::mem::offset_of;

use static_assertions::{const_assert, const_assert_eq};

/// Time slice extension control, since Linux 7.0. Single bytes: thread and kernel write it
/// without atomic instructions.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RseqSliceCtrl {
    /// The thread sets 1 to ask for an extension; the thread or the kernel clears it.
    pub request: u8,
    /// The kernel sets 1 when it granted one. Only read by the thread.
    pub granted: u8,
    /// Zero.
    pub reserved: u16,
}

const_assert_eq!(size_of::<RseqSliceCtrl>(), 4);
const_assert_eq!(align_of::<RseqSliceCtrl>(), 2);
const_assert_eq!(offset_of!(RseqSliceCtrl, request), 0);
const_assert_eq!(offset_of!(RseqSliceCtrl, granted), 1);
const_assert_eq!(offset_of!(RseqSliceCtrl, reserved), 2);

/// The kernel's `struct rseq`, one per thread. Extensible: how much of it a kernel fills is told
/// by AT_RSEQ_FEATURE_SIZE, never by this type's size.
///
/// Each field is one aligned word, which the kernel may change at any instruction of the thread:
/// read and write it by one volatile or assembly access, and do not form references to it.
#[repr(C, align(32))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rseq {
    /// A possible CPU number, even when unregistered. Written by the kernel; under a v2
    /// registration a process that writes it is killed.
    pub cpu_id_start: u32,
    /// The current CPU number, or [`RSEQ_CPU_ID_UNINITIALIZED`] or
    /// [`RSEQ_CPU_ID_REGISTRATION_FAILED`]. Negative as an `i32` means unregistered.
    pub cpu_id: u32,
    /// Address of the [`RseqCs`] of the critical section that the thread is in, or 0. Written
    /// by the thread, cleared by the kernel.
    pub rseq_cs: u64,
    /// RSEQ_CS_FLAG_SLICE_EXT_* since Linux 7.0, written by the kernel. Zero before.
    pub flags: u32,
    /// Current NUMA node. Since Linux 6.3 (feature size 24).
    pub node_id: u32,
    /// Concurrency id: dense per memory space, at most one running thread has it. Since Linux
    /// 6.3 (feature size 28). May briefly exceed every valid id (0x8000_0000, seen on 7.3 after
    /// a failed execve), so it is compared with the bound before use.
    pub mm_cid: u32,
    /// Time slice extension. Since Linux 7.0 (feature size 33).
    pub slice_ctrl: RseqSliceCtrl,
    /// Keeps the feature size of a kernel with `slice_ctrl` apart from the legacy length of 32.
    pub reserved: u8,
    /// Fields of later kernels begin here, at 33; up to the size that the alignment gives.
    pub end: [u8; 31],
}

impl Rseq {
    /// Offset of `cpu_id_start`, in bytes.
    pub const CPU_ID_START_OFFSET: usize = offset_of!(Self, cpu_id_start);
    /// Offset of `cpu_id`, in bytes.
    pub const CPU_ID_OFFSET: usize = offset_of!(Self, cpu_id);
    /// Offset of `rseq_cs`, in bytes.
    pub const RSEQ_CS_OFFSET: usize = offset_of!(Self, rseq_cs);
    /// Offset of `flags`, in bytes.
    pub const FLAGS_OFFSET: usize = offset_of!(Self, flags);
    /// Offset of `node_id`, in bytes.
    pub const NODE_ID_OFFSET: usize = offset_of!(Self, node_id);
    /// Offset of `mm_cid`, in bytes.
    pub const MM_CID_OFFSET: usize = offset_of!(Self, mm_cid);
    /// Offset of `slice_ctrl`, in bytes.
    pub const SLICE_CTRL_OFFSET: usize = offset_of!(Self, slice_ctrl);

    /// What a thread's area holds while it is not registered. The kernel leaves `mm_cid` = 0
    /// behind when it unregisters, which is a valid index, so the runtime writes this again.
    pub const UNREGISTERED: Self = Self {
        cpu_id_start: 0,
        cpu_id: RSEQ_CPU_ID_UNINITIALIZED as u32,
        rseq_cs: 0,
        flags: 0,
        node_id: 0,
        mm_cid: MM_CID_UNREGISTERED,
        slice_ctrl: RseqSliceCtrl {
            request: 0,
            granted: 0,
            reserved: 0,
        },
        reserved: 0,
        end: [0; 31],
    };
}

const_assert_eq!(size_of::<Rseq>(), 64);
const_assert_eq!(align_of::<Rseq>(), RSEQ_LEGACY_ALIGN);
const_assert_eq!(Rseq::CPU_ID_START_OFFSET, 0);
const_assert_eq!(Rseq::CPU_ID_OFFSET, 4);
const_assert_eq!(Rseq::RSEQ_CS_OFFSET, 8);
const_assert_eq!(Rseq::FLAGS_OFFSET, 16);
const_assert_eq!(Rseq::NODE_ID_OFFSET, 20);
const_assert_eq!(Rseq::MM_CID_OFFSET, 24);
const_assert_eq!(Rseq::SLICE_CTRL_OFFSET, 28);
const_assert_eq!(offset_of!(Rseq, reserved), 32);
const_assert_eq!(offset_of!(Rseq, end), RSEQ_V2_MIN_LENGTH);

/// The kernel's `struct rseq_cs`: one critical section. Usually constant data.
#[repr(C, align(32))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RseqCs {
    /// 0.
    pub version: u32,
    /// 0: a kernel of today answers the historical bits with SIGSEGV.
    pub flags: u32,
    /// Address of the first instruction.
    pub start_ip: u64,
    /// Bytes from `start_ip` to just after the committing instruction.
    pub post_commit_offset: u64,
    /// Address of the abort handler, outside the section. The four bytes before it must equal
    /// the signature that the thread registered with, or the thread gets SIGSEGV.
    pub abort_ip: u64,
}

const_assert_eq!(size_of::<RseqCs>(), 32);
const_assert_eq!(align_of::<RseqCs>(), 32);
const_assert_eq!(offset_of!(RseqCs, version), 0);
const_assert_eq!(offset_of!(RseqCs, flags), 4);
const_assert_eq!(offset_of!(RseqCs, start_ip), 8);
const_assert_eq!(offset_of!(RseqCs, post_commit_offset), 16);
const_assert_eq!(offset_of!(RseqCs, abort_ip), 24);

/// Signature before each abort handler: `ud1 0x53053053(%rip),%edi` in x86-64 code, as glibc's.
pub const RSEQ_SIG: u32 = 0x5305_3053;

/// rseq(2) flag: unregister. Must be alone.
pub const RSEQ_FLAG_UNREGISTER: u32 = 1 << 0;
/// rseq(2) flag since Linux 7.0: register with the time slice extension switched on.
pub const RSEQ_FLAG_SLICE_EXT_DEFAULT_ON: u32 = 1 << 1;

/// `rseq_cs.flags`, historical: a kernel of today answers it with SIGSEGV.
pub const RSEQ_CS_FLAG_NO_RESTART_ON_PREEMPT: u32 = 1 << 0;
/// `rseq_cs.flags`, historical: a kernel of today answers it with SIGSEGV.
pub const RSEQ_CS_FLAG_NO_RESTART_ON_SIGNAL: u32 = 1 << 1;
/// `rseq_cs.flags`, historical: a kernel of today answers it with SIGSEGV.
pub const RSEQ_CS_FLAG_NO_RESTART_ON_MIGRATE: u32 = 1 << 2;
/// `rseq.flags`, written by the kernel: it offers the time slice extension.
pub const RSEQ_CS_FLAG_SLICE_EXT_AVAILABLE: u32 = 1 << 4;
/// `rseq.flags`, written by the kernel: the extension is on for this thread.
pub const RSEQ_CS_FLAG_SLICE_EXT_ENABLED: u32 = 1 << 5;

/// `cpu_id` of a thread that is not registered.
pub const RSEQ_CPU_ID_UNINITIALIZED: i32 = -1;
/// `cpu_id` that glibc writes when a registration was refused.
pub const RSEQ_CPU_ID_REGISTRATION_FAILED: i32 = -2;
/// `mm_cid` of a thread that is not registered: no valid index, so that one comparison with the
/// bound finds it. A rule of this project, not of the kernel.
pub const MM_CID_UNREGISTERED: u32 = u32::MAX;

// A feature size is the end offset of the last field that the kernel fills.

/// Feature size with `flags` as the last field: Linux 4.18 to 6.2, which do not tell it.
pub const RSEQ_FEATURE_SIZE_ORIG: usize = offset_of!(Rseq, flags) + 4;
/// Feature size with `node_id`.
pub const RSEQ_FEATURE_SIZE_NODE_ID: usize = offset_of!(Rseq, node_id) + 4;
/// Feature size with `mm_cid`: Linux 6.3 to 6.19.
pub const RSEQ_FEATURE_SIZE_MM_CID: usize = offset_of!(Rseq, mm_cid) + 4;
/// Feature size with `slice_ctrl` and the reserved byte after it: since Linux 7.0.
pub const RSEQ_FEATURE_SIZE_SLICE_CTRL: usize = offset_of!(Rseq, reserved) + 1;

const_assert_eq!(RSEQ_FEATURE_SIZE_ORIG, 20);
const_assert_eq!(RSEQ_FEATURE_SIZE_NODE_ID, 24);
const_assert_eq!(RSEQ_FEATURE_SIZE_MM_CID, 28);
const_assert_eq!(RSEQ_FEATURE_SIZE_SLICE_CTRL, 33);

/// Registration length that every kernel takes. Since Linux 7.1 it selects the legacy behaviour.
pub const RSEQ_LEGACY_LENGTH: usize = 32;
/// Least registration length that selects v2 (Linux 7.1): at least AT_RSEQ_FEATURE_SIZE as well.
pub const RSEQ_V2_MIN_LENGTH: usize = 33;
/// Alignment in bytes of an area registered with [`RSEQ_LEGACY_LENGTH`].
pub const RSEQ_LEGACY_ALIGN: usize = 32;
/// Alignment in bytes of a v2 area, as AT_RSEQ_ALIGN says while the feature size is at most 64.
pub const RSEQ_V2_ALIGN: usize = 64;

/// auxv type (Linux 6.3): the kernel's feature size in bytes.
pub const AT_RSEQ_FEATURE_SIZE: usize = 27;
/// auxv type (Linux 6.3): the alignment in bytes of an area of that size.
pub const AT_RSEQ_ALIGN: usize = 28;
/// auxv type: on x86, the HWCAP2_* bits.
pub const AT_HWCAP2: usize = 26;
/// AT_HWCAP2 bit: userspace may execute rdfsbase, wrfsbase, rdgsbase and wrgsbase.
pub const HWCAP2_FSGSBASE: usize = 1 << 1;

/// Where a `vcpu-rt` thread keeps its `struct rseq`: bytes above the thread pointer.
pub const RSEQ_OFFSET: usize = 0x100;
/// Bytes reserved there. A kernel with a larger feature size gets [`RSEQ_LEGACY_LENGTH`].
pub const RSEQ_AREA_BYTES: usize = 256;

const_assert!(size_of::<Rseq>() <= RSEQ_AREA_BYTES);
const_assert!(RSEQ_OFFSET.is_multiple_of(RSEQ_V2_ALIGN));
