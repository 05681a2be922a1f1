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

use vcpu_abi::{
    BUSY, DIFFERENT, UPDATE_8, UPDATE_16, UPDATE_32, UPDATE_ADD, UPDATE_AND,
    UPDATE_COMPARE_EXCHANGE, UPDATE_EXCHANGE, UPDATE_OR, UPDATE_STORE, UPDATE_XOR,
    WORDS_ADD_TO_POINTEE, WORDS_COMPARE_EQUAL_COMPARE_EQUAL_STORE, WORDS_COMPARE_EQUAL_COPY_STORE,
    WORDS_COMPARE_EQUAL_STORE, WORDS_COMPARE_EQUAL_STORE_STORE, WORDS_COMPARE_NOT_EQUAL_LOAD_STORE,
};

#[doc(hidden)]
pub use vcpu_abi::{VcpuStatistics, VcpuWordsUpdate};

use crate::access::{Access, TryLock, Way, run_otherwise};
use crate::arch::{self, Raw};
use crate::process;
use crate::section::Refused;
use crate::section::operations::{
    AddToPointee, CompareEqualCompareEqualStore, CompareEqualCopyStore, CompareEqualStore,
    CompareEqualStoreStore, CompareNotEqualLoadStore, run_words_otherwise,
};
use crate::table::status;
use crate::{Errno, areas};

/// See [`vcpu_abi::UpdateWordFn`]. Of an unknown operation: the value.
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
    // SAFETY: by the caller's word. Narrow words take the lowest bits, as C converts.
    unsafe {
        match width {
            UPDATE_8 => otherwise(word, operation, operand as u8, expected as u8).into(),
            UPDATE_16 => otherwise(word, operation, operand as u16, expected as u16).into(),
            UPDATE_32 => otherwise(word, operation, operand as u32, expected as u32).into(),
            _ => otherwise(word, operation, operand, expected),
        }
    }
}

/// # Safety
/// As for [`update_word`].
unsafe fn otherwise<R: Raw>(word: *mut c_void, operation: u32, operand: R, expected: R) -> R {
    // SAFETY: by the caller's word, not null and a word; no way is refused for ever.
    unsafe {
        let word = NonNull::new_unchecked(word.cast::<R>());
        run_otherwise(word, |way, word, access| {
            attempt(operation, way, word, (operand, expected), access)
        })
    }
}

/// # Safety
/// As for [`Raw`].
unsafe fn attempt<R: Raw>(
    operation: u32,
    way: Way,
    word: NonNull<R>,
    (operand, expected): (R, R),
    access: Access,
) -> Option<R> {
    let unknown = |()| operand;
    // SAFETY: by the caller's word.
    unsafe {
        match operation {
            UPDATE_STORE => R::store(way, word, operand, access).map(unknown),
            UPDATE_ADD => R::fetch_add(way, word, operand, access),
            UPDATE_AND => R::and(way, word, operand, access).map(unknown),
            UPDATE_OR => R::or(way, word, operand, access).map(unknown),
            UPDATE_XOR => R::xor(way, word, operand, access).map(unknown),
            UPDATE_EXCHANGE => R::exchange(way, word, operand, access),
            UPDATE_COMPARE_EXCHANGE => R::compare_exchange(way, word, expected, operand, access),
            _ => R::load(way, word, access),
        }
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
        outcome(match update.operation {
            WORDS_COMPARE_EQUAL_STORE => {
                run_words_otherwise(word, CompareEqualStore { expected, new })
            }
            WORDS_COMPARE_EQUAL_STORE_STORE => {
                let other = other();
                let operation = CompareEqualStoreStore {
                    expected,
                    other,
                    value,
                    new,
                };
                run_words_otherwise(word, operation)
            }
            WORDS_COMPARE_EQUAL_COMPARE_EQUAL_STORE => {
                let other = other();
                let operation = CompareEqualCompareEqualStore {
                    expected,
                    other,
                    value,
                    new,
                };
                run_words_otherwise(word, operation)
            }
            WORDS_COMPARE_EQUAL_COPY_STORE => {
                let operation = CompareEqualCopyStore {
                    expected,
                    place: other().cast(),
                    bytes: bytes_at(value, update.length),
                    new,
                };
                run_words_otherwise(word, operation)
            }
            WORDS_COMPARE_NOT_EQUAL_LOAD_STORE => {
                let operation = CompareNotEqualLoadStore {
                    excluded: expected,
                    offset: value as isize,
                };
                let taken = run_words_otherwise(word, operation);
                taken.map(|taken| update.desired = taken)
            }
            WORDS_ADD_TO_POINTEE => run_words_otherwise(word, AddToPointee { value }),
            _ => return status(Err(Errno::INVAL)),
        })
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

fn outcome(result: Result<(), Refused>) -> c_int {
    match result {
        Ok(()) => 0,
        Err(Refused::Different) => DIFFERENT,
        Err(Refused::Busy) => BUSY,
    }
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
