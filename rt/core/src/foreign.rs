// SPDX-License-Identifier: MIT OR Apache-2.0
//! What C and C++ have of per-vCPU data beside the inline operations of `abi/include/vcpu_data.h`: their
//! way out where the one inline attempt did not commit, locks, and what the areas tell. These are the
//! functions of the ABI table since version 1.1; [`__vcpu_data_functions!`](crate::__vcpu_data_functions!)
//! makes symbols of them.
//!
//! Everything an update does here is what the Rust operations do: both act on the same words.

use core::ffi::{c_int, c_void};
use core::ptr::{self, NonNull};
use core::slice;
use core::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering};

use vcpu_abi::{
    BUSY, DIFFERENT, UPDATE_8, UPDATE_16, UPDATE_32, UPDATE_ADD, UPDATE_AND,
    UPDATE_COMPARE_EXCHANGE, UPDATE_EXCHANGE, UPDATE_OR, UPDATE_STORE, UPDATE_XOR,
    WORDS_ADD_TO_POINTEE, WORDS_COMPARE_EQUAL_COMPARE_EQUAL_STORE, WORDS_COMPARE_EQUAL_COPY_STORE,
    WORDS_COMPARE_EQUAL_STORE, WORDS_COMPARE_EQUAL_STORE_STORE, WORDS_COMPARE_NOT_EQUAL_LOAD_STORE,
};

#[doc(hidden)]
pub use vcpu_abi::{VcpuStatistics, VcpuWordsUpdate};

use crate::access::{Access, TryLock, Way, run_otherwise};
use crate::arch::{self, CPU_ID, MM_CID, Raw};
use crate::process;
use crate::section::Refused;
use crate::section::operations::{Operation, run_words_otherwise};
use crate::table::status;
use crate::{Errno, areas};

/// See [`vcpu_abi::UpdateWordFn`]. Of an unknown operation: the value.
///
/// In a section every operation but a load is a load and a compare_exchange: this is in each program, and seldom
/// run. Between the two the thread may move to another vCPU, whose word then has the value that was seen, or the
/// attempt failed. A load stores nothing: others may be changing the word behind a fence.
///
/// # Safety
/// `word` is a word of that width in vCPU 0's copy of a live object, which keeps its kind.
pub unsafe extern "C" fn update_word(
    word: *mut c_void,
    update: u32,
    operand: u64,
    expected: u64,
) -> u64 {
    let (operation, width) = (update & 0xff, update & !0xff);
    // Narrow words take the lowest bits, as C converts.
    let mask = match width {
        UPDATE_8 => 0xff,
        UPDATE_16 => 0xffff,
        UPDATE_32 => 0xffff_ffff,
        _ => u64::MAX,
    };
    let (operand, expected) = (operand & mask, expected & mask);
    // SAFETY: by the caller's word, not null and a word; locked operations are not refused.
    unsafe {
        let word = NonNull::new_unchecked(word.cast::<u64>());
        run_otherwise(word, |way, word, access| {
            let id = match way {
                Way::Locked => return Some(locked(operation, width, word, (operand, expected))),
                Way::CpuId => CPU_ID,
                Way::MmCid | Way::Gs => MM_CID,
            };
            // Within the eight bytes around it, all of which are of objects.
            let shift = 8 * (word.addr().get() % 8);
            let around = word.byte_sub(shift / 8);
            let seen = arch::load_by(id, around, access)? >> shift & mask;
            let new = match operation {
                UPDATE_STORE | UPDATE_EXCHANGE => operand,
                UPDATE_ADD => seen.wrapping_add(operand) & mask,
                UPDATE_AND => seen & operand,
                UPDATE_OR => seen | operand,
                UPDATE_XOR => seen ^ operand,
                UPDATE_COMPARE_EXCHANGE if seen == expected => operand,
                _ => return Some(seen),
            };
            let found = compare_exchange(width, id, word, (seen, new), access)?;
            (found == seen).then_some(seen)
        })
    }
}

/// # Safety
/// As for [`Raw`], of a word of that width at `word`.
unsafe fn compare_exchange(
    width: u32,
    id: usize,
    word: NonNull<u64>,
    (old, new): (u64, u64),
    access: Access,
) -> Option<u64> {
    // SAFETY: by the caller's word.
    unsafe {
        Some(match width {
            UPDATE_8 => {
                u8::compare_exchange_by(id, word.cast(), old as u8, new as u8, access)?.into()
            }
            UPDATE_16 => {
                u16::compare_exchange_by(id, word.cast(), old as u16, new as u16, access)?.into()
            }
            UPDATE_32 => {
                u32::compare_exchange_by(id, word.cast(), old as u32, new as u32, access)?.into()
            }
            _ => u64::compare_exchange_by(id, word, old, new, access)?,
        })
    }
}

/// One operation on an atomic.
macro_rules! locked {
    ($atomic:ty, $raw:ty, $operation:ident, $word:ident, $operand:ident, $expected:ident) => {{
        // SAFETY: the caller's word, in an area whose words are changed by locked instructions only.
        let cell = unsafe { <$atomic>::from_ptr($word.as_ptr().cast()) };
        let (operand, expected) = ($operand as $raw, $expected as $raw);
        // Those without a result are one instruction, too, if none is asked for.
        let before: $raw = match $operation {
            UPDATE_STORE => {
                cell.store(operand, Ordering::Release);
                operand
            }
            UPDATE_ADD => cell.fetch_add(operand, Ordering::AcqRel),
            UPDATE_AND => {
                cell.fetch_and(operand, Ordering::AcqRel);
                operand
            }
            UPDATE_OR => {
                cell.fetch_or(operand, Ordering::AcqRel);
                operand
            }
            UPDATE_XOR => {
                cell.fetch_xor(operand, Ordering::AcqRel);
                operand
            }
            UPDATE_EXCHANGE => cell.swap(operand, Ordering::AcqRel),
            UPDATE_COMPARE_EXCHANGE => {
                let (success, failure) = (Ordering::AcqRel, Ordering::Acquire);
                match cell.compare_exchange(expected, operand, success, failure) {
                    Ok(before) | Err(before) => before,
                }
            }
            _ => cell.load(Ordering::Acquire),
        };
        before.into()
    }};
}

/// The operation by one locked instruction.
///
/// # Safety
/// As for [`Raw`], of a word of that width in a shared area.
unsafe fn locked(
    operation: u32,
    width: u32,
    word: NonNull<u64>,
    (operand, expected): (u64, u64),
) -> u64 {
    match width {
        UPDATE_8 => locked!(AtomicU8, u8, operation, word, operand, expected),
        UPDATE_16 => locked!(AtomicU16, u16, operation, word, operand, expected),
        UPDATE_32 => locked!(AtomicU32, u32, operation, word, operand, expected),
        _ => locked!(AtomicU64, u64, operation, word, operand, expected),
    }
}

/// See [`vcpu_abi::UpdatePairFn`].
///
/// # Safety
/// As for [`update_word`], of two words aligned to 16; the processor has cmpxchg16b. Two words each are
/// behind the other pointers.
pub unsafe extern "C" fn update_pair(words: *mut c_void, expected: *mut u64, desired: *const u64) {
    // SAFETY: by the caller's word.
    unsafe {
        let words = NonNull::new_unchecked(words.cast::<[u64; 2]>());
        let expected = expected.cast::<[u64; 2]>();
        let (old, new) = (expected.read(), desired.cast::<[u64; 2]>().read());
        let before = run_otherwise(words, |way, words, access| {
            arch::compare_exchange_pair(way, words, old, new, access)
        });
        expected.write(before);
    }
}

/// See [`vcpu_abi::UpdateWordsFn`].
///
/// # Safety
/// The words are of the section kind, in vCPU 0's copy of live objects; what the operation reads and
/// writes beside them is as in [`crate::section`].
pub unsafe extern "C" fn update_words(word: *mut c_void, update: *mut VcpuWordsUpdate) -> c_int {
    // SAFETY: by the caller's word.
    unsafe {
        let update = &mut *update;
        let word = NonNull::new_unchecked(word.cast());
        let (expected, value, new) = (update.expected, update.value, update.desired);
        let other = || NonNull::new_unchecked(update.other.cast());
        let operation = match update.operation {
            WORDS_COMPARE_EQUAL_STORE => Operation::CompareEqualStore { expected, new },
            WORDS_COMPARE_EQUAL_STORE_STORE => Operation::CompareEqualStoreStore {
                expected,
                other: other(),
                value,
                new,
            },
            WORDS_COMPARE_EQUAL_COMPARE_EQUAL_STORE => Operation::CompareEqualCompareEqualStore {
                expected,
                other: other(),
                value,
                new,
            },
            WORDS_COMPARE_EQUAL_COPY_STORE => Operation::CompareEqualCopyStore {
                expected,
                place: other().cast(),
                bytes: bytes_at(value, update.length),
                new,
            },
            WORDS_COMPARE_NOT_EQUAL_LOAD_STORE => Operation::CompareNotEqualLoadStore {
                excluded: expected,
                offset: value as isize,
            },
            WORDS_ADD_TO_POINTEE => Operation::AddToPointee { value },
            _ => return status(Err(Errno::INVAL)),
        };
        match run_words_otherwise(word, operation) {
            Ok(output) => {
                if let Operation::CompareNotEqualLoadStore { .. } = operation {
                    update.desired = output;
                }
                0
            }
            Err(Refused::Different) => DIFFERENT,
            Err(Refused::Busy) => BUSY,
        }
    }
}

/// # Safety
/// So many bytes are readable there, for as long as the result is used.
unsafe fn bytes_at<'a>(address: u64, length: u64) -> &'a [u8] {
    if length == 0 {
        // Of no bytes the address may be null.
        return &[];
    }
    let address = ptr::with_exposed_provenance(address as usize);
    // SAFETY: by the caller's word.
    unsafe { slice::from_raw_parts(address, length as usize) }
}

/// See [`vcpu_abi::TryLockFn`].
///
/// # Safety
/// `lock` points to a word of 8 bytes that is only used as a lock; it is zero at first.
pub unsafe extern "C" fn try_lock(lock: *mut u64) -> c_int {
    // SAFETY: by the caller's word.
    let lock = unsafe { &*lock.cast::<TryLock>() };
    if lock.acquire() { 0 } else { BUSY }
}

/// See [`vcpu_abi::UnlockFn`].
///
/// # Safety
/// As for [`try_lock`], which this thread did last.
pub unsafe extern "C" fn unlock(lock: *mut u64) {
    // SAFETY: by the caller's word.
    unsafe { &*lock.cast::<TryLock>() }.release();
}

/// See [`vcpu_abi::DiscardFn`].
///
/// # Safety
/// As for [`areas::discard`].
pub unsafe extern "C" fn discard(object: *mut c_void, size: usize, area: u32) -> c_int {
    // SAFETY: by the caller's word.
    status(unsafe { areas::discard(object.cast(), size, area) })
}

/// See [`vcpu_abi::StatisticsFn`].
///
/// # Safety
/// So many bytes may be written there.
pub unsafe extern "C" fn statistics(statistics: *mut VcpuStatistics, size: usize) -> c_int {
    status(areas::statistics().map(|found| {
        let all = VcpuStatistics {
            pools: found.pools as u64,
            stride: found.stride,
            nr_areas: found.nr_areas.into(),
            address_space: found.address_space,
            objects: found.objects as u64,
            used: found.used,
            available: found.free,
        };
        let size = if size < size_of_val(&all) {
            size
        } else {
            size_of_val(&all)
        };
        // SAFETY: by the caller's word.
        unsafe { ptr::copy_nonoverlapping((&raw const all).cast::<u8>(), statistics.cast(), size) };
    }))
}

/// See [`vcpu_abi::ResidentFn`].
///
/// # Safety
/// `bytes` may be written.
pub unsafe extern "C" fn resident(area: u32, bytes: *mut u64) -> c_int {
    status(areas::resident(area).map(|found| {
        // SAFETY: by the caller's word.
        unsafe { *bytes = found };
    }))
}

/// See [`vcpu_abi::PossibleFn`].
///
/// # Safety
/// None: it is unsafe only as every function of the table.
pub unsafe extern "C" fn possible_vcpus() -> u32 {
    process::found().possible_vcpus()
}

/// Defines these functions as C symbols, in the module of whoever is the runtime.
#[doc(hidden)]
#[macro_export]
macro_rules! __vcpu_data_functions {
    () => {
        $crate::__vcpu_data_functions! {
            vcpu_update_word = update_word(
                word: *mut ::core::ffi::c_void, update: u32, operand: u64, expected: u64
            ) -> u64;
            vcpu_update_pair = update_pair(
                words: *mut ::core::ffi::c_void, expected: *mut u64, desired: *const u64
            ) -> ();
            vcpu_update_words = update_words(
                word: *mut ::core::ffi::c_void, update: *mut $crate::foreign::VcpuWordsUpdate
            ) -> ::core::ffi::c_int;
            vcpu_try_lock = try_lock(lock: *mut u64) -> ::core::ffi::c_int;
            vcpu_unlock = unlock(lock: *mut u64) -> ();
            vcpu_discard = discard(
                object: *mut ::core::ffi::c_void, size: usize, area: u32
            ) -> ::core::ffi::c_int;
            vcpu_statistics = statistics(
                statistics: *mut $crate::foreign::VcpuStatistics, size: usize
            ) -> ::core::ffi::c_int;
            vcpu_resident = resident(area: u32, bytes: *mut u64) -> ::core::ffi::c_int;
            vcpu_possible_vcpus = possible_vcpus() -> u32;
        }
    };
    ($(
        $symbol:ident = $function:ident($($argument:ident: $type:ty),*) -> $output:ty;
    )+) => {
        $(
            #[unsafe(no_mangle)]
            unsafe extern "C" fn $symbol($($argument: $type),*) -> $output {
                // SAFETY: by the caller's word.
                unsafe { $crate::foreign::$function($($argument),*) }
            }
        )+
    };
}
