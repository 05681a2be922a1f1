// SPDX-License-Identifier: MIT OR Apache-2.0
//! Counts its arguments on whatever vCPU it runs.
#![cfg_attr(not(test), no_std)]
#![cfg_attr(not(test), no_main)]

use vcpu_rt::{PerVcpu, Single, env, println, rseq};

vcpu_rt::entry!(main);

fn main() -> i32 {
    let count: PerVcpu<Single> = match PerVcpu::new() {
        Ok(count) => count,
        Err(errno) => {
            vcpu_rt::eprintln!("no per-vCPU memory: errno {}", errno.raw_os_error());
            return 1;
        }
    };
    for argument in env::args() {
        count.add(length(argument.to_bytes()));
    }
    println!(
        "{} bytes of arguments, counted on mm_cid {}",
        count.sum(),
        rseq::mm_cid()
    );
    0
}

fn length(argument: &[u8]) -> u64 {
    argument.len() as u64
}

#[cfg(test)]
mod tests {
    use super::length;

    #[test]
    fn arguments_have_lengths() {
        assert_eq!(length(b"four"), 4);
    }
}
