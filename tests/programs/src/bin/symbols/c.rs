// SPDX-License-Identifier: MIT OR Apache-2.0
//! The exported symbols, as a C object declares them.

use core::ffi::{c_int, c_uint, c_void};

use vcpu_abi::{VcpuAbi, VcpuStatistics, VcpuWordsUpdate};

unsafe extern "C" {
    pub fn _start() -> !;
    pub fn __libc_start_main() -> c_int;
    pub fn main() -> c_int;
    pub fn __stack_chk_fail() -> !;
    pub fn _Unwind_Resume() -> !;
    pub fn rust_eh_personality() -> !;
    pub static environ: *const *const u8;
    pub static vcpu_abi: VcpuAbi;
    pub static __rseq_offset: isize;
    pub static __rseq_size: c_uint;
    pub static __rseq_flags: c_uint;
    pub fn vcpu_alloc(size: usize, align: usize, object: *mut *mut c_void) -> c_int;
    pub fn vcpu_free(object: *mut c_void, size: usize) -> c_int;
    pub fn vcpu_fence(vcpu: i32) -> c_int;
    pub fn vcpu_thread_register() -> c_int;
    pub fn vcpu_thread_unregister() -> c_int;
    pub fn vcpu_update_word(word: *mut c_void, update: u32, operand: u64, expected: u64) -> u64;
    pub fn vcpu_update_pair(words: *mut c_void, expected: *mut u64, desired: *const u64);
    pub fn vcpu_update_words(word: *mut c_void, update: *mut VcpuWordsUpdate) -> c_int;
    pub fn vcpu_try_lock(lock: *mut u64) -> c_int;
    pub fn vcpu_unlock(lock: *mut u64);
    pub fn vcpu_discard(object: *mut c_void, size: usize, area: u32) -> c_int;
    pub fn vcpu_statistics(statistics: *mut VcpuStatistics, size: usize) -> c_int;
    pub fn vcpu_resident(area: u32, bytes: *mut u64) -> c_int;
    pub fn vcpu_possible_vcpus() -> u32;
    pub fn memcpy(to: *mut u8, from: *const u8, count: usize) -> *mut u8;
    pub fn memmove(to: *mut u8, from: *const u8, count: usize) -> *mut u8;
    pub fn memset(to: *mut u8, byte: c_int, count: usize) -> *mut u8;
    pub fn memcmp(left: *const u8, right: *const u8, count: usize) -> c_int;
    pub fn bcmp(left: *const u8, right: *const u8, count: usize) -> c_int;
    pub fn strlen(text: *const u8) -> usize;
}

/// An address that the linker must keep.
struct Address(#[expect(dead_code, reason = "the linker reads it")] *const ());

// SAFETY: nobody follows the pointer.
unsafe impl Sync for Address {}

/// The compiler sees both ends of calls to these and would leave nothing of the symbols.
#[used]
static KEPT: [Address; 18] = [
    Address(vcpu_alloc as *const ()),
    Address(vcpu_free as *const ()),
    Address(vcpu_fence as *const ()),
    Address(vcpu_update_word as *const ()),
    Address(vcpu_update_pair as *const ()),
    Address(vcpu_update_words as *const ()),
    Address(vcpu_try_lock as *const ()),
    Address(vcpu_unlock as *const ()),
    Address(vcpu_discard as *const ()),
    Address(vcpu_statistics as *const ()),
    Address(vcpu_resident as *const ()),
    Address(vcpu_possible_vcpus as *const ()),
    Address(memcpy as *const ()),
    Address(memmove as *const ()),
    Address(memset as *const ()),
    Address(memcmp as *const ()),
    Address(bcmp as *const ()),
    Address(strlen as *const ()),
];
