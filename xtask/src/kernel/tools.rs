// SPDX-License-Identifier: MIT OR Apache-2.0
//! What building and booting a kernel needs of the machine.

use std::path::Path;

use anyhow::{Result, bail};

use crate::command::is_installed;

/// A program, and Debian's package of it.
type Tool = (&'static str, &'static str);

const BUILD: [Tool; 9] = [
    ("gcc", "gcc"),
    ("make", "make"),
    ("flex", "flex"),
    ("bison", "bison"),
    ("bc", "bc"),
    ("cpio", "cpio"),
    ("xz", "xz-utils"),
    ("patch", "patch"),
    ("perl", "perl"),
];

/// Headers, by their full path: of the kernel's tools, and of its selftests (clone3).
const HEADERS: [Tool; 3] = [
    ("/usr/include/gelf.h", "libelf-dev"),
    ("/usr/include/openssl/opensslv.h", "libssl-dev"),
    ("/usr/include/sys/capability.h", "libcap-dev"),
];

/// The emulator.
pub const QEMU: Tool = ("qemu-system-x86_64", "qemu-system-x86");

/// The packages that are missing for building and booting.
pub fn missing() -> Vec<&'static str> {
    let mut missing = missing_for_build();
    if !is_installed(QEMU.0) {
        missing.push(QEMU.1);
    }
    missing
}

fn missing_for_build() -> Vec<&'static str> {
    let programs = BUILD.iter().filter(|(program, _)| !is_installed(program));
    let headers = HEADERS
        .iter()
        .filter(|(header, _)| !Path::new(header).exists());
    programs
        .chain(headers)
        .map(|(_, package)| *package)
        .collect()
}

/// Fails with the names of the packages that a build lacks.
pub fn ensure_build() -> Result<()> {
    let missing = missing_for_build();
    if !missing.is_empty() {
        bail!(
            "building a kernel needs these packages of Debian: {}",
            missing.join(" ")
        );
    }
    Ok(())
}

/// Fails unless the emulator is there.
pub fn ensure_boot() -> Result<()> {
    let (program, package) = QEMU;
    if !is_installed(program) {
        bail!("booting a kernel needs {program}: Debian's package {package}");
    }
    Ok(())
}
