// SPDX-License-Identifier: MIT OR Apache-2.0
//! Starts and ends: what is measured is the runtime.

#![no_std]
#![no_main]

vcpu_rt::entry!(main);

fn main() {}
