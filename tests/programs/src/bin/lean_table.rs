// SPDX-License-Identifier: MIT OR Apache-2.0
//! Asks for the table only where something refers to it; a C object does, weakly.
#![no_std]
#![no_main]

use vcpu_test_programs::PASSED;

vcpu_rt::entry!(main, table = if_referenced);

unsafe extern "C" {
    safe fn vcpu_test_lean() -> u32;
}

fn main() -> i32 {
    assert_eq!(vcpu_test_lean(), vcpu_abi::ABI_SIZE);
    PASSED
}
