// SPDX-License-Identifier: MIT OR Apache-2.0
//! Objects in the areas, the memory behind them, and how many areas there are.

use core::ffi::c_void;
use core::ptr::null_mut;

use vcpu_abi::VcpuStatistics;

use crate::{EINVAL, c};

pub unsafe fn alloc() {
    let mut object = null_mut::<c_void>();
    // SAFETY: see `main`; each copy is as large as asked for.
    unsafe {
        assert_eq!(c::vcpu_alloc(40, 64, &raw mut object), 0);
        assert_eq!(object.addr() % 64, 0);
        for vcpu in 0..c::vcpu_abi.nr_areas as usize {
            let copy = object
                .byte_add(vcpu << c::vcpu_abi.stride_shift)
                .cast::<[u8; 40]>();
            assert_eq!(copy.read(), [0; 40]);
        }
        // The same memory again, and dirty: it must be zero again, everywhere.
        object.cast::<[u8; 40]>().write([0xff; 40]);
        object
            .byte_add(1 << c::vcpu_abi.stride_shift)
            .cast::<[u8; 40]>()
            .write([0xff; 40]);
        assert_eq!((c::vcpu_abi.free)(object, 40), 0);
        let mut again = null_mut::<c_void>();
        assert_eq!((c::vcpu_abi.alloc)(40, 64, &raw mut again), 0);
        assert_eq!(again, object, "first fit");
        assert_eq!(again.cast::<[u8; 40]>().read(), [0; 40]);
        let copy = again
            .byte_add(1 << c::vcpu_abi.stride_shift)
            .cast::<[u8; 40]>();
        assert_eq!(copy.read(), [0; 40]);
        let stride = c::vcpu_abi.stride as usize;
        for (size, align) in [(0, 8), (8, 3), (8, 0), (8, 8192), (stride + 1, 8)] {
            assert_eq!(
                c::vcpu_alloc(size, align, &raw mut object),
                EINVAL,
                "{size} {align}"
            );
        }
    }
}

pub unsafe fn free() {
    let mut object = null_mut::<c_void>();
    // SAFETY: see `main`. The refused calls free nothing.
    unsafe {
        assert_eq!(c::vcpu_alloc(4096, 4096, &raw mut object), 0);
        assert_eq!(c::vcpu_free(object.byte_add(1), 4096), EINVAL);
        assert_eq!(c::vcpu_free(object, 0), EINVAL);
        assert_eq!(c::vcpu_free(null_mut(), 4096), EINVAL);
        assert_eq!(c::vcpu_free(object, 4096), 0);
        assert_eq!(c::vcpu_free(object, 4096), EINVAL, "it is free already");
    }
}

/// An object of so many bytes.
pub unsafe fn object(size: usize) -> *mut c_void {
    let mut object = null_mut::<c_void>();
    // SAFETY: see `main`.
    assert_eq!(unsafe { c::vcpu_alloc(size, 16, &raw mut object) }, 0);
    object
}

pub unsafe fn discard() {
    const PAGES: usize = 16 * 4096;
    // SAFETY: see `main`.
    unsafe {
        let object = object(PAGES);
        let last = c::vcpu_abi.nr_vcpus;
        let copy = object.byte_add((last as usize) << c::vcpu_abi.stride_shift);
        let resident = || {
            let mut bytes = 0;
            assert_eq!(c::vcpu_resident(last, &raw mut bytes), 0);
            bytes
        };
        let before = resident();
        copy.cast::<[u8; PAGES]>().write([0xff; PAGES]);
        assert!(resident() >= before + (PAGES as u64 - 4096));
        assert_eq!(c::vcpu_discard(object, PAGES, last + 1), EINVAL);
        assert_eq!(c::vcpu_discard(object, 8, last), EINVAL);
        assert_eq!(c::vcpu_discard(object, PAGES, last), 0);
        assert!(resident() <= before + 8192);
        assert_eq!(copy.cast::<[u8; PAGES]>().read(), [0; PAGES]);
        assert_eq!((c::vcpu_abi.discard)(object, PAGES, last), 0);
        assert_eq!((c::vcpu_abi.resident)(last + 1, null_mut()), EINVAL);
    }
}

pub unsafe fn statistics() {
    let mut found = [VcpuStatistics::default(); 2];
    // SAFETY: see `main`; as many bytes as are told.
    unsafe {
        let all = size_of::<VcpuStatistics>();
        assert_eq!(c::vcpu_statistics(&raw mut found[0], all), 0);
        object(4096);
        // A consumer that knows one field less.
        assert_eq!((c::vcpu_abi.statistics)(&raw mut found[1], all - 8), 0);
        let [before, after] = found;
        assert_eq!(before.stride, c::vcpu_abi.stride);
        assert_eq!(before.nr_areas, c::vcpu_abi.nr_areas.into());
        assert_eq!(before.pools * before.stride, before.used + before.available);
        assert_eq!(after.objects, before.objects + 1);
        assert_eq!(after.used, before.used + 4096);
        assert_eq!(after.available, 0);
    }
}

pub unsafe fn possible_vcpus() {
    // SAFETY: see `main`.
    unsafe {
        let possible = c::vcpu_possible_vcpus();
        assert!(possible >= 1 && possible <= c::vcpu_abi.nr_vcpus);
        assert_eq!((c::vcpu_abi.possible_vcpus)(), possible);
        let areas = vcpu_rt::vcpu::areas();
        assert!(areas.eq((0..possible).chain([c::vcpu_abi.nr_vcpus])));
    }
}
