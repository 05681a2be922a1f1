// SPDX-License-Identifier: MIT OR Apache-2.0
//! `cargo xtask dist`: what a C program needs, laid out for installation: the headers, the libraries of the
//! hosted form, and how pkg-config names them.

mod library;
mod paths;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use self::library::Libc;
use crate::command::{is_installed, root, target_directory};

/// The library would be dropped where only weak references need it, and an archive's member never be
/// pulled: see "Referring to the symbols" in docs/abi.md. A shared object with sections must not be unloaded
/// (docs/critical-sections.md); to a program the option is nothing.
const PKG_CONFIG: &str = "\
prefix=${pcfiledir}/@UP@
includedir=${prefix}/include
libdir=${prefix}/@LIBDIR@

Name: vcpu_rt
Description: Per-vCPU data and rseq: the vcpu_abi symbol table
Version: @VERSION@
Cflags: -I${includedir}
Libs: -L${libdir} -Wl,--push-state,--no-as-needed -lvcpu_rt -Wl,--pop-state -Wl,-z,nodelete
Libs.private: -Wl,-u,vcpu_abi
";

/// Installs into target/dist and names each file.
pub fn run() -> Result<()> {
    let dist = target_directory().join("dist");
    let headers = root().join("abi/include");
    let unreadable = || format!("cannot read {}", headers.display());
    remove_all_but(&headers, &dist.join("include"))?;
    for header in fs::read_dir(&headers).with_context(unreadable)? {
        let header = header.with_context(unreadable)?;
        let content = fs::read(header.path()).with_context(unreadable)?;
        install(&dist.join("include").join(header.file_name()), &content)?;
    }
    library::build()?;
    install_library(&dist, Libc::Glibc, "lib", "../..")?;
    if is_installed("musl-gcc") {
        install_library(&dist, Libc::Musl, "lib/musl", "../../..")?;
    } else {
        println!("nothing for musl is installed: musl-gcc is missing");
    }
    Ok(())
}

/// `up` leads from the directory of pkg-config's file to the prefix.
fn install_library(dist: &Path, libc: Libc, libdir: &str, up: &str) -> Result<()> {
    let directory = dist.join(libdir);
    for file in library::link(libc, &directory)? {
        println!("installed {}", file.display());
    }
    let pkg_config = PKG_CONFIG
        .replace("@VERSION@", env!("CARGO_PKG_VERSION"))
        .replace("@LIBDIR@", libdir)
        .replace("@UP@", up);
    install(
        &directory.join("pkgconfig/vcpu_rt.pc"),
        pkg_config.as_bytes(),
    )
}

/// Removes the files of a directory that another one does not have: what an older version installed.
fn remove_all_but(wanted: &Path, directory: &Path) -> Result<()> {
    let Ok(files) = fs::read_dir(directory) else {
        return Ok(());
    };
    for file in files {
        let file = file.with_context(|| format!("cannot read {}", directory.display()))?;
        if !wanted.join(file.file_name()).exists() {
            let path = file.path();
            fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
    }
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
