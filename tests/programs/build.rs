// SPDX-License-Identifier: MIT OR Apache-2.0
//! Compiles the C objects of the test programs: position-independent, so that they link in every
//! form, and with stack protectors, as distributions build C.

/// The programs with thread-locals in C, and the alignment in bytes that each asks for.
const THREAD_LOCALS: [(&str, &str); 4] = [
    ("tls_plain", "64"),
    ("tls_page", "4096"),
    ("tls_wide", "8192"),
    ("tls_huge", "65536"),
];

fn main() {
    println!("cargo::rerun-if-changed=c");
    println!("cargo::rerun-if-changed=../../abi/include");
    object().file("c/guard.c").compile("vcpu_test_guard");
    object()
        .file("c/lean.c")
        .include("../../abi/include")
        .compile("vcpu_test_lean");
    object()
        .file("c/words.c")
        .include("../../abi/include")
        .extra_warnings(true)
        .compile("vcpu_test_words");
    object()
        .file("c/slab.c")
        .include("../../abi/include")
        .extra_warnings(true)
        .compile("vcpu_test_slab");
    println!("cargo::rerun-if-changed=../../examples/c-slab/c");
    for (name, alignment) in THREAD_LOCALS {
        let mut object = object();
        object
            .file("c/tls.c")
            .define("NAME", name)
            .define("ALIGNMENT", alignment);
        object.compile(&format!("vcpu_test_{name}"));
    }
}

fn object() -> cc::Build {
    let mut object = cc::Build::new();
    object
        .pic(false)
        .flag("-fPIE")
        .flag("-fstack-protector-strong");
    object.warnings(true).warnings_into_errors(true);
    object
}
