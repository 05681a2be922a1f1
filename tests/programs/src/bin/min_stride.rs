// SPDX-License-Identifier: MIT OR Apache-2.0
//! A program that declares the least stride it can do with, and has an object of that size.
#![no_std]
#![no_main]

use vcpu_rt::{PerVcpu, Single, println};
use vcpu_test_programs::PASSED;
use vcpu_test_programs::table::abi;

vcpu_rt::entry!(main, min_stride = 65536);

fn main() -> i32 {
    let words = PerVcpu::<[Single; 8192]>::new().expect("65536 bytes fit the declared stride");
    words.at(8191).add(9);
    assert_eq!(words.at(8191).sum(), 9);
    println!("stride={}", abi().stride);
    PASSED
}
