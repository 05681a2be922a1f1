// SPDX-License-Identifier: MIT OR Apache-2.0
//! Compiles the C library.

fn main() {
    println!("cargo::rerun-if-changed=c");
    println!("cargo::rerun-if-changed=../../abi/include");
    cc::Build::new()
        .file("c/slab.c")
        .include("../../abi/include")
        .flag("-std=c99")
        .warnings_into_errors(true)
        .extra_warnings(true)
        .compile("slab");
}
