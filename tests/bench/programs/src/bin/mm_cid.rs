// SPDX-License-Identifier: MIT OR Apache-2.0
//! Reads mm_cid in a function of its own, whose instructions are counted.

#![no_std]
#![no_main]

vcpu_rt::entry!(main);

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn read_mm_cid() -> u32 {
    vcpu_rt::rseq::mm_cid()
}

fn main() -> i32 {
    i32::from(read_mm_cid() == u32::MAX)
}
