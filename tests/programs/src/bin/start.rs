// SPDX-License-Identifier: MIT OR Apache-2.0
//! Prints what it was started with: arguments, environment, `environ`, and the variables named
//! by its arguments after `--`.
#![no_std]
#![no_main]

use core::ffi::{CStr, c_char};

use vcpu_rt::{env, println};
use vcpu_test_programs::PASSED;

vcpu_rt::entry!(main);

unsafe extern "C" {
    /// As C knows it: a NULL-terminated array of `NAME=value`.
    static environ: *const *const c_char;
}

fn main() -> i32 {
    println!("args={}", env::args().count());
    for (index, argument) in env::args().enumerate().take(8) {
        println!("arg[{index}]={}", argument.to_bytes().escape_ascii());
    }
    println!("vars={}", env::vars().count());
    for (index, (name, value)) in env::vars().enumerate().take(8) {
        println!(
            "var[{index}]={}={}",
            name.escape_ascii(),
            value.to_bytes().escape_ascii()
        );
    }
    let named = env::args()
        .skip_while(|argument| argument.to_bytes() != b"--")
        .skip(1);
    for name in named {
        let value = env::var(name.to_bytes()).map(CStr::to_bytes);
        let text = value.unwrap_or(b"(none)");
        println!(
            "lookup[{}]={}",
            name.to_bytes().escape_ascii(),
            text.escape_ascii()
        );
    }
    println!("environ={}", environ_entries());
    println!(
        "bytes={}",
        env::vars()
            .map(|(_, value)| value.to_bytes().len())
            .sum::<usize>()
    );
    PASSED
}

/// Entries of `environ`, whether or not they contain a `=`.
fn environ_entries() -> usize {
    // SAFETY: the runtime set it before `main`, and nobody writes it.
    let first = unsafe { environ };
    assert!(!first.is_null());
    // SAFETY: the array ends with NULL, where the count stops.
    (0..)
        .take_while(|&index| unsafe { !first.add(index).read().is_null() })
        .count()
}
