// SPDX-License-Identifier: MIT OR Apache-2.0
//! A `main` that does not come back.
#![no_std]
#![no_main]

use vcpu_rt::process;
use vcpu_test_programs::PASSED;

vcpu_rt::entry!(main);

fn main() {
    process::exit(PASSED)
}
