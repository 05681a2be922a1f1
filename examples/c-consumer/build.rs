// SPDX-License-Identifier: MIT OR Apache-2.0
//! Compiles the C objects, protected as a distribution would.

fn main() {
    println!("cargo::rerun-if-changed=c");
    println!("cargo::rerun-if-changed=../../abi/include");
    cc::Build::new()
        .files(["c/consumer.c", "c/declared.c"])
        .include("../../abi/include")
        .flag("-std=c99")
        .flag("-fstack-protector-strong")
        .warnings_into_errors(true)
        .extra_warnings(true)
        .compile("consumer");
}
