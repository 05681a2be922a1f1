// SPDX-License-Identifier: MIT OR Apache-2.0
//! The contents of the ABI table, and the functions behind it that do not depend on the form.

use core::ffi::{c_int, c_void};

use rustix::io::Errno;
use vcpu_abi::{
    ABI_SIZE, ABI_VERSION_MAJOR, ABI_VERSION_MINOR, AllocFn, FEATURE_FENCE, FEATURE_GS_MODE,
    FEATURE_MM_CID, FEATURE_NODE_ID, FEATURE_RSEQ, FEATURE_RSEQ_V2, Mode, RSEQ_FEATURE_SIZE_MM_CID,
    RSEQ_FEATURE_SIZE_NODE_ID, RSEQ_LEGACY_LENGTH, RSEQ_SIG, Rseq, ThreadFn, VcpuAbi,
};

use crate::access::ATTEMPTS;
use crate::process::Found;
use crate::{arch, areas, fence, foreign};

/// 0, or the error as the ABI has it: a negative errno.
pub fn status(result: Result<(), Errno>) -> c_int {
    match result {
        Ok(()) => 0,
        Err(errno) => -errno.raw_os_error(),
    }
}

/// `vcpu_alloc`, see [`vcpu_abi::AllocFn`].
///
/// # Safety
/// `object` is valid for a write of a pointer.
pub unsafe extern "C" fn alloc(size: usize, align: usize, object: *mut *mut c_void) -> c_int {
    status(areas::alloc(size, align).map(|first| {
        // SAFETY: by the caller's word.
        unsafe { *object = first.as_ptr().cast() };
    }))
}

/// `vcpu_free`, see [`vcpu_abi::FreeFn`].
///
/// # Safety
/// As for [`areas::free`].
pub unsafe extern "C" fn free(object: *mut c_void, size: usize) -> c_int {
    // SAFETY: by the caller's word.
    status(unsafe { areas::free(object.cast(), size) })
}

/// `vcpu_fence`, see [`vcpu_abi::FenceFn`].
///
/// # Safety
/// None: it is unsafe only as every function of the table.
pub unsafe extern "C" fn fence(vcpu: i32) -> c_int {
    status(fence::fence(vcpu))
}

/// The table before the start: absent.
pub const fn absent(
    alloc: AllocFn,
    thread_register: ThreadFn,
    thread_unregister: ThreadFn,
) -> VcpuAbi {
    VcpuAbi {
        size: 0,
        version_major: 0,
        version_minor: 0,
        features: 0,
        mode: 0,
        nr_vcpus: 0,
        nr_areas: 0,
        rseq_sig: 0,
        rseq_offset: 0,
        rseq_size: 0,
        rseq_len: 0,
        index_offset: 0,
        registered_offset: 0,
        stride: 0,
        stride_shift: 0,
        rseq_flags: 0,
        alloc,
        free,
        fence,
        thread_register,
        thread_unregister,
        shared_areas: 0,
        attempts: 0,
        update_word: foreign::update_word,
        update_pair: foreign::update_pair,
        update_words: foreign::update_words,
        try_lock: foreign::try_lock,
        unlock: foreign::unlock,
        discard: foreign::discard,
        statistics: foreign::statistics,
        resident: foreign::resident,
        possible_vcpus: foreign::possible_vcpus,
        reserved: VcpuAbi::RESERVED,
    }
}

/// The table after the start. The functions stay.
pub fn fill(table: &mut VcpuAbi, found: &Found) {
    let feature_size = found.active_feature_size();
    let has = |bit: u64, condition: bool| if condition { bit } else { 0 };
    let index = match found.mode {
        Mode::RseqCpuId => Rseq::CPU_ID_OFFSET,
        Mode::Shared | Mode::RseqMmCid | Mode::Gs => Rseq::MM_CID_OFFSET,
    };
    table.size = ABI_SIZE;
    table.version_major = ABI_VERSION_MAJOR;
    table.version_minor = ABI_VERSION_MINOR;
    table.features = arch::OFFSET_FEATURE
        | has(FEATURE_RSEQ, feature_size > 0)
        | has(FEATURE_RSEQ_V2, found.active_length() > RSEQ_LEGACY_LENGTH)
        | has(FEATURE_NODE_ID, feature_size >= RSEQ_FEATURE_SIZE_NODE_ID)
        | has(FEATURE_MM_CID, feature_size >= RSEQ_FEATURE_SIZE_MM_CID)
        | has(FEATURE_GS_MODE, found.mode == Mode::Gs)
        | has(FEATURE_FENCE, found.fence);
    table.mode = found.mode as u32;
    table.nr_vcpus = found.nr_vcpus;
    table.nr_areas = found.nr_areas();
    table.rseq_sig = RSEQ_SIG;
    table.rseq_offset = arch::rseq_offset() as i64;
    table.rseq_size = feature_size as u32;
    table.rseq_len = found.active_length() as u32;
    table.index_offset = arch::rseq_offset() as i64 + index as i64;
    table.registered_offset = arch::registered_offset() as i64;
    table.stride = found.reservation.stride;
    table.stride_shift = found.reservation.stride.trailing_zeros();
    table.rseq_flags = 0;
    table.shared_areas = found.affinity.allowed;
    table.attempts = ATTEMPTS;
}
