// SPDX-License-Identifier: MIT OR Apache-2.0
//! Writes a file of all byte values, in no even numbers: `fill PATH MIB`. Exit status 0 when it is
//! whole.
#![no_std]
#![no_main]

use linux_raw_sys::general as nr;
use vcpu_rt::env;
use vcpu_test_programs::arguments::number;
use vcpu_test_programs::syscall::syscall;

vcpu_rt::entry!(main);

const MIB: usize = 1 << 20;

fn main() {
    let path = env::args().nth(1).expect("a path is missing").as_ptr();
    let flags = nr::O_CREAT | nr::O_TRUNC | nr::O_WRONLY;
    let open = [path.expose_provenance(), flags as usize, 0o644, 0];
    // SAFETY: a terminated path.
    let file = unsafe { syscall(nr::__NR_open, open) }.expect("the file can be made");
    let mut seed = 1_u32;
    let mut block = [0_u8; 4096];
    for _ in 0..number(2) * MIB / block.len() {
        for byte in &mut block {
            // Numerical Recipes' generator; squared, so that values differ in how often they come.
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let high = seed >> 24;
            *byte = ((high * high) >> 8) as u8;
        }
        let write = [file, block.as_ptr().expose_provenance(), block.len(), 0];
        // SAFETY: a buffer of that size.
        let written = unsafe { syscall(nr::__NR_write, write) };
        assert_eq!(written, Ok(block.len()));
    }
}
