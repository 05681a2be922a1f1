// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the table's functions for per-vCPU data take.

use core::ffi::c_void;
use core::mem::offset_of;

use static_assertions::const_assert_eq;

// What `update_word` does to a word: an operation, plus the word's width.

/// Gives the value.
pub const UPDATE_LOAD: u32 = 0;
/// Writes the operand.
pub const UPDATE_STORE: u32 = 1;
/// Adds the operand, wrapping, and gives what was there before.
pub const UPDATE_ADD: u32 = 2;
/// Ands with the operand.
pub const UPDATE_AND: u32 = 3;
/// Ors with the operand.
pub const UPDATE_OR: u32 = 4;
/// Exclusive-ors with the operand.
pub const UPDATE_XOR: u32 = 5;
/// Writes the operand and gives what was there before.
pub const UPDATE_EXCHANGE: u32 = 6;
/// Writes the operand where the word is as expected, and gives what was there before.
pub const UPDATE_COMPARE_EXCHANGE: u32 = 7;
/// A word of 8 bits.
pub const UPDATE_8: u32 = 0x000;
/// A word of 16 bits.
pub const UPDATE_16: u32 = 0x100;
/// A word of 32 bits.
pub const UPDATE_32: u32 = 0x200;
/// A word of 64 bits.
pub const UPDATE_64: u32 = 0x300;

// Values of `VcpuWordsUpdate::operation`.

/// Stores `desired` where the word is `expected`.
pub const WORDS_COMPARE_EQUAL_STORE: u32 = 0;
/// Stores `value` to `other`, then `desired`, where the word is `expected`.
pub const WORDS_COMPARE_EQUAL_STORE_STORE: u32 = 1;
/// Stores `desired` where the word is `expected` and `other` is `value`.
pub const WORDS_COMPARE_EQUAL_COMPARE_EQUAL_STORE: u32 = 2;
/// Copies `length` bytes from the address `value` to `other`, then stores `desired`, where the word is
/// `expected`.
pub const WORDS_COMPARE_EQUAL_COPY_STORE: u32 = 3;
/// Stores what is `value` bytes behind the address in the word into the word, where it is not
/// `expected`. `desired` becomes what it was.
pub const WORDS_COMPARE_NOT_EQUAL_LOAD_STORE: u32 = 4;
/// Adds `value` to the word that the word points to.
pub const WORDS_ADD_TO_POINTEE: u32 = 5;

/// Nothing was committed: a word is not what was expected (-EAGAIN).
pub const DIFFERENT: i32 = -11;
/// Nothing was committed: this thread acts on a shared area, and another one is in the middle of
/// something there (-EBUSY).
pub const BUSY: i32 = -16;

/// An operation over several words of 8 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct VcpuWordsUpdate {
    /// WORDS_*.
    pub operation: u32,
    /// 0.
    pub reserved: u32,
    /// What the first word must be, or what it must not be.
    pub expected: u64,
    /// The second word, or where bytes go: in vCPU 0's copy.
    pub other: *mut c_void,
    /// For that word; or the address of the bytes, an offset, an addend.
    pub value: u64,
    /// Bytes to copy.
    pub length: u64,
    /// The first word's new value. Out: what [`WORDS_COMPARE_NOT_EQUAL_LOAD_STORE`] took.
    pub desired: u64,
}

const_assert_eq!(size_of::<VcpuWordsUpdate>(), 48);
const_assert_eq!(align_of::<VcpuWordsUpdate>(), 8);
const_assert_eq!(offset_of!(VcpuWordsUpdate, operation), 0);
const_assert_eq!(offset_of!(VcpuWordsUpdate, reserved), 4);
const_assert_eq!(offset_of!(VcpuWordsUpdate, expected), 8);
const_assert_eq!(offset_of!(VcpuWordsUpdate, other), 16);
const_assert_eq!(offset_of!(VcpuWordsUpdate, value), 24);
const_assert_eq!(offset_of!(VcpuWordsUpdate, length), 32);
const_assert_eq!(offset_of!(VcpuWordsUpdate, desired), 40);

/// How much is allocated. Later versions append fields.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VcpuStatistics {
    /// Pools that are mapped.
    pub pools: u64,
    /// Bytes between areas.
    pub stride: u64,
    /// Areas of each pool.
    pub nr_areas: u64,
    /// Bytes of address space that the pools take.
    pub address_space: u64,
    /// Objects that live.
    pub objects: u64,
    /// Bytes of each area that they take.
    pub used: u64,
    /// Bytes of each area that are free, in pieces of any size.
    pub available: u64,
}

const_assert_eq!(size_of::<VcpuStatistics>(), 56);
const_assert_eq!(align_of::<VcpuStatistics>(), 8);
const_assert_eq!(offset_of!(VcpuStatistics, pools), 0);
const_assert_eq!(offset_of!(VcpuStatistics, stride), 8);
const_assert_eq!(offset_of!(VcpuStatistics, nr_areas), 16);
const_assert_eq!(offset_of!(VcpuStatistics, address_space), 24);
const_assert_eq!(offset_of!(VcpuStatistics, objects), 32);
const_assert_eq!(offset_of!(VcpuStatistics, used), 40);
const_assert_eq!(offset_of!(VcpuStatistics, available), 48);
