// SPDX-License-Identifier: MIT OR Apache-2.0
//! The ABI table as a C object sees it: by its symbol. `show` prints every field; `write NAME`
//! writes to a symbol, which must fault.
#![no_std]
#![no_main]

use core::ffi::{c_uint, c_void};

use vcpu_abi::VcpuAbi;
use vcpu_rt::println;
use vcpu_test_programs::PASSED;
use vcpu_test_programs::arguments::word;

vcpu_rt::entry!(main);

mod symbols {
    use super::{VcpuAbi, c_uint};
    unsafe extern "C" {
        pub static vcpu_abi: VcpuAbi;
        pub static __rseq_offset: isize;
        pub static __rseq_size: c_uint;
        pub static __rseq_flags: c_uint;
    }
}

fn main() -> i32 {
    match word(1) {
        "show" => show(),
        "write" => write(word(2)),
        other => panic!("what is {other}?"),
    }
    PASSED
}

fn show() {
    // SAFETY: the runtime filled the four before main, and they are read-only since.
    let (abi, offset, size, flags) = unsafe {
        (
            &symbols::vcpu_abi,
            symbols::__rseq_offset,
            symbols::__rseq_size,
            symbols::__rseq_flags,
        )
    };
    println!("size={}", abi.size);
    println!("version={}.{}", abi.version_major, abi.version_minor);
    println!("features={}", abi.features);
    println!("mode={}", abi.mode);
    println!("nr_vcpus={}", abi.nr_vcpus);
    println!("nr_areas={}", abi.nr_areas);
    println!("rseq_sig={}", abi.rseq_sig);
    println!("rseq_offset={}", abi.rseq_offset);
    println!("rseq_size={}", abi.rseq_size);
    println!("rseq_len={}", abi.rseq_len);
    println!("index_offset={}", abi.index_offset);
    println!("registered_offset={}", abi.registered_offset);
    println!("stride={}", abi.stride);
    println!("stride_shift={}", abi.stride_shift);
    println!("rseq_flags={}", abi.rseq_flags);
    println!("zero={}", abi.reserved.iter().all(|&byte| byte == 0));
    println!("__rseq_offset={offset}");
    println!("__rseq_size={size}");
    println!("__rseq_flags={flags}");
}

fn write(symbol: &str) {
    let address: *const c_void = match symbol {
        "vcpu_abi" => (&raw const symbols::vcpu_abi).cast(),
        "__rseq_offset" => (&raw const symbols::__rseq_offset).cast(),
        "__rseq_size" => (&raw const symbols::__rseq_size).cast(),
        "__rseq_flags" => (&raw const symbols::__rseq_flags).cast(),
        other => panic!("what is {other}?"),
    };
    println!("writing");
    // SAFETY: none: the fault is what the test asks for.
    unsafe { address.cast_mut().cast::<u8>().write_volatile(1) };
    println!("written");
}
