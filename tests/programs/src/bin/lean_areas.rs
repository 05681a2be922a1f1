// SPDX-License-Identifier: MIT OR Apache-2.0
//! Asks for the table only where something refers to it; here only Rust code uses areas.
#![no_std]
#![no_main]

use vcpu_rt::{PerVcpu, Single, found};
use vcpu_test_programs::PASSED;

vcpu_rt::entry!(main, table = if_referenced);

fn main() -> i32 {
    let count = PerVcpu::<Single>::new().expect("the areas are in this program");
    (0..1000).for_each(|_| count.add(1));
    assert_eq!(count.sum(), 1000);
    assert_eq!(found().nr_areas(), found().nr_vcpus() + 1);
    PASSED
}
