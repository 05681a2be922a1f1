// SPDX-License-Identifier: MIT OR Apache-2.0
//! Updates of per-vCPU words.

use core::ffi::c_void;
use core::ptr::null_mut;

use linux_raw_sys::general as nr;
use vcpu_abi::{
    DIFFERENT, UPDATE_8, UPDATE_16, UPDATE_32, UPDATE_64, UPDATE_ADD, UPDATE_COMPARE_EXCHANGE,
    UPDATE_EXCHANGE, UPDATE_LOAD, UPDATE_STORE, UPDATE_XOR, VcpuWordsUpdate,
    WORDS_COMPARE_EQUAL_STORE, WORDS_COMPARE_NOT_EQUAL_LOAD_STORE,
};
use vcpu_test_programs::syscall::syscall;

use crate::areas::object;
use crate::{EINVAL, c};

/// The sum of the copies of a word of 8 bytes, which nobody updates.
unsafe fn sum(word: *mut c_void) -> u64 {
    // SAFETY: see `main`; inside the object of each area.
    unsafe {
        let copy = |area: u32| word.byte_add((area as usize) << c::vcpu_abi.stride_shift);
        let values = (0..c::vcpu_abi.nr_areas).map(|area| copy(area).cast::<u64>().read());
        values.fold(0, u64::wrapping_add)
    }
}

/// A load stores nothing, in a section or without one: it works on pages that cannot be written.
unsafe fn load_of_read_only() {
    const PAGE: usize = 4096;
    let mut object = null_mut::<c_void>();
    // SAFETY: see `main`; only what was allocated changes its protection.
    unsafe {
        assert_eq!(c::vcpu_alloc(PAGE, PAGE, &raw mut object), 0);
        let protect = |protection: u32| {
            for area in 0..c::vcpu_abi.nr_areas {
                let copy = object.byte_add((area as usize) << c::vcpu_abi.stride_shift);
                let arguments = [copy.expose_provenance(), PAGE, protection as usize, 0];
                assert!(syscall(nr::__NR_mprotect, arguments).is_ok());
            }
        };
        protect(nr::PROT_READ);
        for width in [UPDATE_8, UPDATE_16, UPDATE_32, UPDATE_64] {
            let word = object.byte_add(8);
            assert_eq!(c::vcpu_update_word(word, UPDATE_LOAD | width, 1, 1), 0);
        }
        protect(nr::PROT_READ | nr::PROT_WRITE);
        assert_eq!(c::vcpu_free(object, PAGE), 0);
    }
}

pub unsafe fn update_word() {
    // SAFETY: see `main`. The thread is unregistered, so that all is on one area.
    unsafe {
        load_of_read_only();
        let word = object(16);
        let unregistered = c::vcpu_thread_unregister();
        assert!(unregistered == 0 || c::vcpu_abi.mode == 0);
        let update = |update, operand| c::vcpu_update_word(word, update, operand, 7);
        assert_eq!(update(UPDATE_ADD | UPDATE_64, 5), 0);
        assert_eq!(update(UPDATE_COMPARE_EXCHANGE | UPDATE_64, 9), 5);
        assert_eq!(update(UPDATE_EXCHANGE | UPDATE_64, 7), 5);
        assert_eq!(update(UPDATE_COMPARE_EXCHANGE | UPDATE_64, 9), 7);
        // A narrow update leaves the bytes beside it.
        update(UPDATE_STORE | UPDATE_64, u64::MAX);
        assert_eq!(update(UPDATE_ADD | UPDATE_8, 0x101), 0xff);
        assert_eq!(update(UPDATE_ADD | UPDATE_16, 0x10001), 0xff00);
        update(UPDATE_XOR | UPDATE_32, 0xffff_ffff);
        assert_eq!(update(UPDATE_LOAD | UPDATE_64, 0), 0xffff_ffff_0000_00fe);
        assert_eq!(sum(word), 0xffff_ffff_0000_00fe);
        assert_eq!((c::vcpu_abi.update_word)(word, UPDATE_64, 0, 0), sum(word));
        load_of_read_only();
    }
}

pub unsafe fn update_pair() {
    // SAFETY: see `main`.
    unsafe {
        let pair = object(16);
        let _unregistered = c::vcpu_thread_unregister();
        let mut seen = [0, 0];
        c::vcpu_update_pair(pair, seen.as_mut_ptr(), [1, 2].as_ptr());
        assert_eq!(seen, [0, 0]);
        (c::vcpu_abi.update_pair)(pair, seen.as_mut_ptr(), [3, 4].as_ptr());
        assert_eq!(seen, [1, 2]);
        assert_eq!((sum(pair), sum(pair.byte_add(8))), (1, 2));
    }
}

pub unsafe fn update_words() {
    // SAFETY: see `main`.
    unsafe {
        let word = object(8);
        let _unregistered = c::vcpu_thread_unregister();
        let mut next = 33_u64;
        let mut update = VcpuWordsUpdate {
            operation: WORDS_COMPARE_EQUAL_STORE,
            reserved: 0,
            expected: 0,
            other: null_mut(),
            value: 0,
            length: 0,
            desired: (&raw mut next).expose_provenance() as u64,
        };
        assert_eq!(c::vcpu_update_words(word, &raw mut update), 0);
        assert_eq!(c::vcpu_update_words(word, &raw mut update), DIFFERENT);
        update.operation = WORDS_COMPARE_NOT_EQUAL_LOAD_STORE;
        let address = core::mem::replace(&mut update.desired, 0);
        assert_eq!((c::vcpu_abi.update_words)(word, &raw mut update), 0);
        assert_eq!((update.desired, sum(word)), (address, 33));
        update.operation = u32::MAX;
        assert_eq!(c::vcpu_update_words(word, &raw mut update), EINVAL);
    }
}
