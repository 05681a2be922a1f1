// SPDX-License-Identifier: MIT OR Apache-2.0
//! Finds out for which form the crate is compiled: the hosted one, by the name of the package, and
//! with fixed addresses, from the flags that cargo gives to rustc.
//!
//! The hosted form is a package of its own over the same sources, since features unify over a
//! workspace that has both (docs/decisions/0008-hosted-form.md).
//!
//! `cfg(relocation_model)` is unstable, and the section of an addition is shorter where the
//! descriptor's address is an immediate (docs/decisions/0005-fixed-addresses.md).

use std::env;

fn main() {
    // No file: cargo runs this again when this changes, or the flags.
    println!("cargo::rerun-if-env-changed=CARGO_ENCODED_RUSTFLAGS");
    println!("cargo::rustc-check-cfg=cfg(vcpu_rt_fixed_addresses, vcpu_rt_hosted)");
    if env::var("CARGO_PKG_NAME").is_ok_and(|name| name == "vcpu-core-hosted") {
        println!("cargo::rustc-cfg=vcpu_rt_hosted");
    }
    if has_fixed_addresses(&env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default()) {
        println!("cargo::rustc-cfg=vcpu_rt_fixed_addresses");
    }
}

/// Whether the last relocation model among the flags is `static`, with the small code model.
fn has_fixed_addresses(flags: &str) -> bool {
    // `-C name=value` and `-Cname=value` are the same; flags are separated by 0x1f.
    let mut is_static = false;
    let mut is_small = true;
    for flag in flags.split('\x1f') {
        let option = flag
            .strip_prefix("-C")
            .or(flag.strip_prefix("--codegen="))
            .unwrap_or(flag);
        // rustc takes `relocation_model` as well.
        let option = &option.replace('_', "-");
        if let Some(model) = option.strip_prefix("relocation-model=") {
            is_static = model == "static";
        } else if let Some(model) = option.strip_prefix("code-model=") {
            is_small = model == "small";
        }
    }
    is_static && is_small
}
