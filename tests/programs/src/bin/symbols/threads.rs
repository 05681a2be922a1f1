// SPDX-License-Identifier: MIT OR Apache-2.0
//! What threads do: fences between them, their registration, a lock that one of them holds.

use core::ffi::c_int;

use vcpu_abi::BUSY;
use vcpu_rt::rseq;

use crate::{EINVAL, c};

const EBUSY: c_int = -16;

pub unsafe fn fence() {
    // SAFETY: see `main`.
    unsafe {
        let offered = c::vcpu_abi.features & vcpu_abi::FEATURE_FENCE != 0;
        let expected = if offered { 0 } else { -38 };
        assert_eq!(c::vcpu_fence(-1), expected);
        assert_eq!((c::vcpu_abi.fence)(0), expected);
        assert_eq!(c::vcpu_fence(-2), EINVAL);
        assert_eq!(c::vcpu_fence(c::vcpu_abi.nr_vcpus.cast_signed()), EINVAL);
    }
}

pub unsafe fn registration() {
    // SAFETY: see `main`.
    unsafe {
        assert_eq!(c::vcpu_thread_register(), EBUSY);
        assert_eq!(c::vcpu_thread_unregister(), 0);
        assert!(!rseq::is_registered());
        assert_eq!(c::vcpu_thread_unregister(), EINVAL);
        assert_eq!(c::vcpu_thread_register(), 0);
        assert!(rseq::is_registered());
        // The table's functions do the same.
        assert_eq!((c::vcpu_abi.thread_register)(), EBUSY);
        assert_eq!((c::vcpu_abi.thread_unregister)(), 0);
        assert!(!rseq::is_registered());
        assert_eq!((c::vcpu_abi.thread_register)(), 0);
    }
}

pub unsafe fn lock() {
    let mut lock = 0_u64;
    let place = &raw mut lock;
    // SAFETY: see `main`.
    unsafe {
        assert_eq!(c::vcpu_try_lock(place), 0);
        assert_ne!(place.read(), 0);
        assert_eq!(c::vcpu_try_lock(place), BUSY);
        c::vcpu_unlock(place);
        assert_eq!((c::vcpu_abi.try_lock)(place), 0);
        (c::vcpu_abi.unlock)(place);
        assert_eq!(place.read(), 0);
        // Another process's, whose thread is not here.
        place.write(0x7fff_ffff << 32 | 1);
        assert_eq!(c::vcpu_try_lock(place), 0);
    }
}
