// SPDX-License-Identifier: MIT OR Apache-2.0
//! Checks one exported symbol, named by the argument, as a C object would use it.
#![no_std]
#![no_main]

mod areas;
mod c;
mod memory;
mod start;
mod threads;
mod words;

use core::ffi::c_int;

use vcpu_rt::{env, println};
use vcpu_test_programs::PASSED;
use vcpu_test_programs::arguments::word;

use self::start::{assert_function, entry_point, strings_in};

vcpu_rt::entry!(main);

const EINVAL: c_int = -22;

fn main() -> i32 {
    let symbol = word(1);
    // SAFETY: each function is called as its documentation in `vcpu_rt.h`, or the C standard,
    // allows; the statics are filled before main and read-only.
    unsafe { check(symbol) };
    println!("{symbol}");
    PASSED
}

unsafe fn check(symbol: &str) {
    // SAFETY: see `main`.
    unsafe {
        match symbol {
            "_start" => assert_eq!(entry_point(), c::_start as *const () as usize),
            // crt1.o's `_start` passes the second to the first; without crt1.o they are unused.
            "__libc_start_main" => assert_function(c::__libc_start_main as *const () as usize),
            "main" => assert_function(c::main as *const () as usize),
            "__stack_chk_fail" => c::__stack_chk_fail(),
            "_Unwind_Resume" => c::_Unwind_Resume(),
            "rust_eh_personality" => c::rust_eh_personality(),
            "environ" => assert_eq!(strings_in(c::environ), env::vars().count()),
            "vcpu_abi" => assert_eq!(c::vcpu_abi.size, vcpu_abi::ABI_SIZE),
            "__rseq_offset" => assert_eq!(c::__rseq_offset, 0x100),
            "__rseq_size" => assert_eq!(c::__rseq_size, c::vcpu_abi.rseq_size),
            "__rseq_flags" => assert_eq!(c::__rseq_flags, 0),
            "vcpu_alloc" => areas::alloc(),
            "vcpu_free" => areas::free(),
            "vcpu_fence" => threads::fence(),
            "vcpu_thread_register" | "vcpu_thread_unregister" => threads::registration(),
            "vcpu_update_word" => words::update_word(),
            "vcpu_update_pair" => words::update_pair(),
            "vcpu_update_words" => words::update_words(),
            "vcpu_try_lock" | "vcpu_unlock" => threads::lock(),
            "vcpu_discard" | "vcpu_resident" => areas::discard(),
            "vcpu_statistics" => areas::statistics(),
            "vcpu_possible_vcpus" => areas::possible_vcpus(),
            "memcpy" | "memmove" | "memset" | "memcmp" | "bcmp" | "strlen" => {
                memory::memory(symbol)
            }
            other => panic!("{other} has no check"),
        }
    }
}
