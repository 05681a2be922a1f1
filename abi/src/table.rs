// SPDX-License-Identifier: MIT OR Apache-2.0
//! The symbol `vcpu_abi`: what a library may know of the runtime in its process, in one struct.

use core::ffi::{c_int, c_void};
use core::mem::offset_of;

use static_assertions::const_assert_eq;

use crate::update::{VcpuStatistics, VcpuWordsUpdate};

/// Major version of the layout. It stays 1 for this symbol: a changed meaning gets a new symbol.
pub const ABI_VERSION_MAJOR: u16 = 1;
/// Minor version: raised when fields are appended.
pub const ABI_VERSION_MINOR: u16 = 1;
/// Bytes of the table in use, the value of `size`: every field up to `possible_vcpus`.
pub const ABI_SIZE: u32 = offset_of!(VcpuAbi, reserved) as u32;
/// The same in version 1.0: every field up to `thread_unregister`.
pub const ABI_SIZE_1_0: u32 = offset_of!(VcpuAbi, shared_areas) as u32;
/// Bytes of the symbol, for ever: a COPY relocation reserves in the executable what the table
/// had when that was linked, so a table that grows would be cut.
pub const ABI_BYTES: usize = 256;

/// `features`: the runtime registers rseq and the kernel took the main thread's registration.
pub const FEATURE_RSEQ: u64 = 1 << 0;
/// `features`: the registration is v2 (length above 32 on Linux 7.1 or newer).
pub const FEATURE_RSEQ_V2: u64 = 1 << 1;
/// `features`: the kernel fills `node_id`.
pub const FEATURE_NODE_ID: u64 = 1 << 2;
/// `features`: the kernel fills `mm_cid`.
pub const FEATURE_MM_CID: u64 = 1 << 3;
/// `features`: the kernel loads the GS base with stride times `mm_cid`; the mode is [`Mode::Gs`].
pub const FEATURE_GS_MODE: u64 = 1 << 4;
/// `features`: `rseq_offset` is RSEQ_OFFSET, so code may have it as a constant.
pub const FEATURE_CONST_OFFSET: u64 = 1 << 5;
/// `features`: membarrier offers the rseq fence. `fence` may still answer -ENOSYS or -EPERM.
pub const FEATURE_FENCE: u64 = 1 << 6;
/// `features`: kept for the time slice extension; not set by version 1.0.
pub const FEATURE_SLICE_EXT: u64 = 1 << 7;

/// [`Mode::Shared`] as the table has it.
pub const MODE_SHARED: u32 = 0;
/// [`Mode::RseqCpuId`] as the table has it.
pub const MODE_RSEQ_CPU_ID: u32 = 1;
/// [`Mode::RseqMmCid`] as the table has it.
pub const MODE_RSEQ_MM_CID: u32 = 2;
/// [`Mode::Gs`] as the table has it.
pub const MODE_GS: u32 = 3;

/// How per-vCPU data is reached. For a process it is a ceiling: each thread's truth is its own
/// block, and a thread without registration uses the last area by locked instructions. Single
/// `%gs:` instructions need no registration.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mode {
    /// Locked instructions on any area.
    Shared = MODE_SHARED,
    /// An rseq critical section on the area of `cpu_id`.
    RseqCpuId = MODE_RSEQ_CPU_ID,
    /// An rseq critical section on the area of `mm_cid`.
    RseqMmCid = MODE_RSEQ_MM_CID,
    /// Single instructions with the `%gs:` prefix, on the area of `mm_cid`.
    Gs = MODE_GS,
}

impl Mode {
    /// The mode that the table's number means; None for a number of a later version.
    #[must_use]
    pub const fn from_raw(raw: u32) -> Option<Self> {
        match raw {
            MODE_SHARED => Some(Self::Shared),
            MODE_RSEQ_CPU_ID => Some(Self::RseqCpuId),
            MODE_RSEQ_MM_CID => Some(Self::RseqMmCid),
            MODE_GS => Some(Self::Gs),
            _ => None,
        }
    }
}

/// Gives vCPU 0's copy of a new object through the pointer; every copy is zero. Size and
/// alignment in bytes. 0 or a negative errno: -EINVAL (size 0, alignment no power of two or
/// above 4096, size above the stride), -ENOMEM (no room, or refused at start).
pub type AllocFn = unsafe extern "C" fn(usize, usize, *mut *mut c_void) -> c_int;
/// Gives back an object of that size in bytes. 0 or a negative errno: -EINVAL.
pub type FreeFn = unsafe extern "C" fn(*mut c_void, usize) -> c_int;
/// Restarts critical sections of other threads on one vCPU, or on all with -1, which a runtime
/// may also do for one. 0 or a negative errno: -EINVAL, -ENOSYS, -EPERM.
pub type FenceFn = unsafe extern "C" fn(i32) -> c_int;
/// Registers or unregisters the calling thread. 0 or a negative errno: -EPERM (the block is
/// another thread's), -EBUSY, -ENOSYS, -EINVAL.
pub type ThreadFn = unsafe extern "C" fn() -> c_int;

/// An update of a word of which an inline attempt did not commit: vCPU 0's copy, UPDATE_*, operand,
/// expected value (of a compare-exchange). What was there before.
pub type UpdateWordFn = unsafe extern "C" fn(*mut c_void, u32, u64, u64) -> u64;
/// The same for a compare-exchange of two words: what is expected, and becomes what was there; what is
/// written.
pub type UpdatePairFn = unsafe extern "C" fn(*mut c_void, *mut u64, *const u64);
/// The same for several words. 0, [`DIFFERENT`](crate::DIFFERENT), [`BUSY`](crate::BUSY), or -EINVAL:
/// no such operation.
pub type UpdateWordsFn = unsafe extern "C" fn(*mut c_void, *mut VcpuWordsUpdate) -> c_int;
/// Tries to take a lock of 8 bytes: 0, or [`BUSY`](crate::BUSY).
pub type TryLockFn = unsafe extern "C" fn(*mut u64) -> c_int;
/// Gives it back.
pub type UnlockFn = unsafe extern "C" fn(*mut u64);
/// Makes one area's copy of an object of that size zero. 0 or -EINVAL.
pub type DiscardFn = unsafe extern "C" fn(*mut c_void, usize, u32) -> c_int;
/// Fills as much of the struct as that many bytes hold. 0 or a negative errno.
pub type StatisticsFn = unsafe extern "C" fn(*mut VcpuStatistics, usize) -> c_int;
/// Gives the bytes of one area that are in memory through the pointer. 0 or a negative errno.
pub type ResidentFn = unsafe extern "C" fn(u32, *mut u64) -> c_int;
/// What every id of this machine is below, at most `nr_vcpus`.
pub type PossibleFn = unsafe extern "C" fn() -> u32;

/// The table, version 1.1. Read-only once any user code runs.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct VcpuAbi {
    /// Bytes in use; a field whose end is above it is absent. 0: the runtime is not there (yet).
    pub size: u32,
    /// [`ABI_VERSION_MAJOR`].
    pub version_major: u16,
    /// [`ABI_VERSION_MINOR`].
    pub version_minor: u16,
    /// FEATURE_* bits.
    pub features: u64,
    /// A [`Mode`], as its number.
    pub mode: u32,
    /// Every id is below it. Never grows.
    pub nr_vcpus: u32,
    /// Areas of each object, `nr_vcpus + 1`: sums run over it. The last one belongs to threads
    /// without registration.
    pub nr_areas: u32,
    /// The signature of every registration and abort handler.
    pub rseq_sig: u32,
    /// Bytes from the thread pointer to the thread's `struct rseq`.
    pub rseq_offset: i64,
    /// Active feature size in bytes, 0 when rseq is not registered.
    pub rseq_size: u32,
    /// Registration length in bytes; above 32 it is v2. 0 when rseq is not registered.
    pub rseq_len: u32,
    /// Bytes from the thread pointer to the u32 that indexes areas; a value that is not below
    /// `nr_vcpus` means the last area.
    pub index_offset: i64,
    /// Bytes from the thread pointer to the i32 that is not negative while the thread is
    /// registered.
    pub registered_offset: i64,
    /// Bytes from one vCPU's copy of an object to the next.
    pub stride: u64,
    /// Binary logarithm of `stride`.
    pub stride_shift: u32,
    /// Flags of every registration, 0 in version 1.0.
    pub rseq_flags: u32,
    /// See [`AllocFn`]. Never null, like the four after it; without the function: -ENOSYS.
    pub alloc: AllocFn,
    /// See [`FreeFn`].
    pub free: FreeFn,
    /// See [`FenceFn`].
    pub fence: FenceFn,
    /// See [`ThreadFn`]: for threads that the runtime did not make.
    pub thread_register: ThreadFn,
    /// See [`ThreadFn`].
    pub thread_unregister: ThreadFn,
    /// Since 1.1: the areas below it are for locked updates in [`Mode::Shared`].
    pub shared_areas: u32,
    /// How often a section is tried again before a shared area is used.
    pub attempts: u32,
    /// See [`UpdateWordFn`].
    pub update_word: UpdateWordFn,
    /// See [`UpdatePairFn`].
    pub update_pair: UpdatePairFn,
    /// See [`UpdateWordsFn`].
    pub update_words: UpdateWordsFn,
    /// See [`TryLockFn`].
    pub try_lock: TryLockFn,
    /// See [`UnlockFn`].
    pub unlock: UnlockFn,
    /// See [`DiscardFn`].
    pub discard: DiscardFn,
    /// See [`StatisticsFn`].
    pub statistics: StatisticsFn,
    /// See [`ResidentFn`].
    pub resident: ResidentFn,
    /// See [`PossibleFn`].
    pub possible_vcpus: PossibleFn,
    /// Zero; later versions put their fields here.
    pub reserved: [u8; 56],
}

impl VcpuAbi {
    /// The value of `reserved`.
    pub const RESERVED: [u8; 56] = [0; 56];
}

const_assert_eq!(size_of::<VcpuAbi>(), ABI_BYTES);
const_assert_eq!(align_of::<VcpuAbi>(), 8);
const_assert_eq!(ABI_SIZE, 200);
const_assert_eq!(ABI_SIZE_1_0, 120);
const_assert_eq!(offset_of!(VcpuAbi, size), 0);
const_assert_eq!(offset_of!(VcpuAbi, version_major), 4);
const_assert_eq!(offset_of!(VcpuAbi, version_minor), 6);
const_assert_eq!(offset_of!(VcpuAbi, features), 8);
const_assert_eq!(offset_of!(VcpuAbi, mode), 16);
const_assert_eq!(offset_of!(VcpuAbi, nr_vcpus), 20);
const_assert_eq!(offset_of!(VcpuAbi, nr_areas), 24);
const_assert_eq!(offset_of!(VcpuAbi, rseq_sig), 28);
const_assert_eq!(offset_of!(VcpuAbi, rseq_offset), 32);
const_assert_eq!(offset_of!(VcpuAbi, rseq_size), 40);
const_assert_eq!(offset_of!(VcpuAbi, rseq_len), 44);
const_assert_eq!(offset_of!(VcpuAbi, index_offset), 48);
const_assert_eq!(offset_of!(VcpuAbi, registered_offset), 56);
const_assert_eq!(offset_of!(VcpuAbi, stride), 64);
const_assert_eq!(offset_of!(VcpuAbi, stride_shift), 72);
const_assert_eq!(offset_of!(VcpuAbi, rseq_flags), 76);
const_assert_eq!(offset_of!(VcpuAbi, alloc), 80);
const_assert_eq!(offset_of!(VcpuAbi, free), 88);
const_assert_eq!(offset_of!(VcpuAbi, fence), 96);
const_assert_eq!(offset_of!(VcpuAbi, thread_register), 104);
const_assert_eq!(offset_of!(VcpuAbi, thread_unregister), 112);
const_assert_eq!(offset_of!(VcpuAbi, shared_areas), 120);
const_assert_eq!(offset_of!(VcpuAbi, attempts), 124);
const_assert_eq!(offset_of!(VcpuAbi, update_word), 128);
const_assert_eq!(offset_of!(VcpuAbi, update_pair), 136);
const_assert_eq!(offset_of!(VcpuAbi, update_words), 144);
const_assert_eq!(offset_of!(VcpuAbi, try_lock), 152);
const_assert_eq!(offset_of!(VcpuAbi, unlock), 160);
const_assert_eq!(offset_of!(VcpuAbi, discard), 168);
const_assert_eq!(offset_of!(VcpuAbi, statistics), 176);
const_assert_eq!(offset_of!(VcpuAbi, resident), 184);
const_assert_eq!(offset_of!(VcpuAbi, possible_vcpus), 192);
