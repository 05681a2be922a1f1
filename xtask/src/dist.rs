// SPDX-License-Identifier: MIT OR Apache-2.0
//! `cargo xtask dist`: what a C consumer of the symbol table needs, laid out for installation.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::command::{root, target_directory};

/// The header alone can be used already: it finds the table of whichever runtime is linked.
/// `Libs` stays out until there is a library to name.
const PKG_CONFIG: &str = "\
prefix=${pcfiledir}/../..
includedir=${prefix}/include

Name: vcpu_rt
Description: Per-vCPU data and rseq: the vcpu_abi symbol table
Version: @VERSION@
Cflags: -I${includedir}
";

/// Installs into target/dist and names each file.
pub fn run() -> Result<()> {
    let dist = target_directory().join("dist");
    let header = root().join("abi/include/vcpu_rt.h");
    let content = fs::read(&header).with_context(|| format!("cannot read {}", header.display()))?;
    install(&dist.join("include/vcpu_rt.h"), &content)?;
    let pkg_config = PKG_CONFIG.replace("@VERSION@", env!("CARGO_PKG_VERSION"));
    install(
        &dist.join("lib/pkgconfig/vcpu_rt.pc"),
        pkg_config.as_bytes(),
    )?;
    println!("no library is installed: the hosted form does not exist yet");
    Ok(())
}

fn install(path: &Path, content: &[u8]) -> Result<()> {
    let directory = path
        .parent()
        .expect("an installed file lies in target/dist");
    fs::create_dir_all(directory)
        .and_then(|()| fs::write(path, content))
        .with_context(|| format!("cannot write {}", path.display()))?;
    println!("installed {}", path.display());
    Ok(())
}

/// The library for glibc, once [`run`] has installed it.
pub fn shared_library() -> PathBuf {
    target_directory().join("dist/lib/libvcpu_rt.so")
}
