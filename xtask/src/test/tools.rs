// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the checks need of the machine.

use anyhow::{Context, Result, bail};

use crate::command::{cargo, command, is_installed, run};
use crate::kernel;

/// A program, and Debian's package of it; beside these, what building and booting a kernel needs.
const TOOLS: [(&str, &str); 7] = [
    ("gcc", "gcc"),
    ("g++", "g++"),
    ("musl-gcc", "musl-tools"),
    ("clang", "clang"),
    ("ld.lld", "lld"),
    ("ld.bfd", "binutils"),
    ("shellcheck", "shellcheck"),
];

/// Installs what is missing when we are root on a Debian; says what to install otherwise.
pub fn ensure_installed() -> Result<()> {
    let mut missing: Vec<&str> = TOOLS
        .iter()
        .filter(|(program, _)| !is_installed(program))
        .map(|(_, package)| *package)
        .chain(kernel::tools::missing())
        .collect();
    missing.sort_unstable();
    missing.dedup();
    install(&missing)?;
    if !is_installed("cargo-fuzz") {
        println!("installing cargo-fuzz");
        run(cargo().args(["install", "--quiet", "--locked", "cargo-fuzz"]))
            .context("cargo-fuzz is missing: cargo install cargo-fuzz")?;
    }
    Ok(())
}

/// Installs Debian's packages when we are root on a Debian; an error says what to install otherwise.
pub fn install(packages: &[&str]) -> Result<()> {
    if packages.is_empty() {
        return Ok(());
    }
    let list = packages.join(" ");
    // SAFETY: geteuid takes nothing and cannot fail.
    let is_root = unsafe { libc::geteuid() } == 0;
    if !is_root || !is_installed("apt-get") {
        bail!("missing: as root, apt-get install {list}");
    }
    println!("installing {list}");
    run(command("apt-get").args(["-qq", "update"]))?;
    let mut install = command("apt-get");
    install
        .args(["-qq", "-y", "--no-install-recommends", "install"])
        .args(packages);
    run(install.env("DEBIAN_FRONTEND", "noninteractive"))
}
