// SPDX-License-Identifier: MIT OR Apache-2.0
//! Thread-locals of a C object, one of them aligned to 65536 bytes.
#![no_std]
#![no_main]

use vcpu_test_programs::PASSED;
use vcpu_test_programs::thread_locals::ThreadLocals;

vcpu_rt::entry!(main);

unsafe extern "C" {
    safe fn tls_huge_initialised_address() -> *mut u64;
    safe fn tls_huge_zeroed_address() -> *mut u32;
    safe fn tls_huge_aligned_address() -> *mut u8;
}

extern "C" fn initialised() -> *mut u64 {
    tls_huge_initialised_address()
}

extern "C" fn zeroed() -> *mut u32 {
    tls_huge_zeroed_address()
}

extern "C" fn aligned() -> *mut u8 {
    tls_huge_aligned_address()
}

fn main() -> i32 {
    ThreadLocals {
        initialised,
        zeroed,
        aligned,
    }
    .check(65536);
    PASSED
}
