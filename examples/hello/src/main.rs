// SPDX-License-Identifier: MIT OR Apache-2.0
//! The smallest program on vcpu-rt.
#![cfg_attr(not(test), no_std)]
#![cfg_attr(not(test), no_main)]

vcpu_rt::entry!(main, table = if_referenced);

fn main() {
    vcpu_rt::println!("Hello from vcpu-rt");
}
