// SPDX-License-Identifier: MIT OR Apache-2.0
//! The libraries of the hosted form, for glibc and for musl: linked from the Rust archives that cargo
//! builds. Rust links neither: a cdylib with a version script fails under GNU ld.

use std::fs;
use std::path::{Path, PathBuf};
use std::process;

use anyhow::Result;

use crate::command::{cargo, command, run, target_directory};
use crate::dist::paths;

/// The table and its functions.
const TABLE: [&str; 16] = [
    "vcpu_abi",
    "vcpu_alloc",
    "vcpu_free",
    "vcpu_fence",
    "vcpu_request_gs_mode",
    "vcpu_thread_register",
    "vcpu_thread_unregister",
    "vcpu_update_word",
    "vcpu_update_pair",
    "vcpu_update_words",
    "vcpu_try_lock",
    "vcpu_unlock",
    "vcpu_discard",
    "vcpu_statistics",
    "vcpu_resident",
    "vcpu_possible_vcpus",
];
/// glibc's symbols, under glibc's version.
const RSEQ: [&str; 3] = ["__rseq_offset", "__rseq_size", "__rseq_flags"];
/// Functions of the C library, in front of which the shared library stands.
const INTERPOSED: [&str; 4] = ["pthread_create", "sched_getcpu", "thrd_create", "vfork"];
/// The word by which ld.so starts the library. Not exported.
const RESOLVED: &str = "__vcpu_rt_resolved";

/// The others stay without a version: ld.so takes those for any.
const VERSION_SCRIPT: &str = "GLIBC_2.35 { global: __rseq_offset; __rseq_size; __rseq_flags; };\n";

/// Sections of the Rust archives that serve other tools.
const NOT_LINKED: [&str; 3] = [".llvmbc", ".llvmcmd", ".comment"];

/// A C library, and what compiles for it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Libc {
    /// The system's.
    Glibc,
    /// By Debian's musl-tools.
    Musl,
}

impl Libc {
    fn compiler(self) -> &'static str {
        match self {
            Self::Glibc => "gcc",
            Self::Musl => "musl-gcc",
        }
    }
}

/// Has cargo build what [`link`] takes.
pub fn build() -> Result<()> {
    let packages = [
        "--package",
        "vcpu-rt-archive",
        "--package",
        "vcpu-rt-shared",
    ];
    run(cargo()
        .args(["build", "--quiet", "--release"])
        .args(packages)
        .arg("--target-dir")
        .arg(build_directory())
        .env("CARGO_ENCODED_RUSTFLAGS", paths::remapped()?))
}

/// What has other flags is built elsewhere, or cargo would build all else again.
fn build_directory() -> PathBuf {
    target_directory().join("hosted/build")
}

/// Makes `libvcpu_rt.so` and `libvcpu_rt.a` in `directory`.
pub fn link(libc: Libc, directory: &Path) -> Result<Vec<PathBuf>> {
    fs::create_dir_all(directory)?;
    // Another process may be doing the same, or running on what was there.
    let scratch = format!("hosted/{}.{}", libc.compiler(), process::id());
    let scratch = target_directory().join(scratch);
    fs::create_dir_all(&scratch)?;
    let made = [
        (
            link_shared(libc, &scratch)?,
            directory.join("libvcpu_rt.so"),
        ),
        (
            link_archive(libc, &scratch)?,
            directory.join("libvcpu_rt.a"),
        ),
    ];
    for (from, to) in &made {
        fs::rename(from, to)?;
    }
    fs::remove_dir_all(&scratch)?;
    Ok(made.map(|(_, to)| to).to_vec())
}

fn link_shared(libc: Libc, scratch: &Path) -> Result<PathBuf> {
    let mut roots = [&TABLE[..], &RSEQ, &INTERPOSED].concat();
    if libc == Libc::Glibc {
        roots.push(RESOLVED);
    }
    let object = scratch.join("shared.o");
    link_object("libvcpu_rt_shared.a", &roots, &object)?;
    let library = scratch.join("libvcpu_rt.so");
    let mut linker = command(libc.compiler());
    linker.args(["-shared", "-nostartfiles", "-Wl,-soname,libvcpu_rt.so"]);
    for option in [
        "defs",
        "initfirst",
        "nodelete",
        "noexecstack",
        "now",
        "relro",
    ] {
        linker.arg(format!("-Wl,-z,{option}"));
    }
    // Two segments, not four: each costs a start a mapping and a page fault. Our own functions are found without a
    // look-up.
    linker.args(["-Wl,-z,noseparate-code", "-Wl,-Bsymbolic-functions"]);
    linker.arg("-Wl,--hash-style=gnu");
    if libc == Libc::Glibc {
        let script = scratch.join("versions");
        fs::write(&script, VERSION_SCRIPT)?;
        let mut option = std::ffi::OsString::from("-Wl,--version-script=");
        option.push(&script);
        linker.arg(option);
    }
    run(linker.arg("-o").arg(&library).arg(&object))?;
    Ok(library)
}

/// In a static program on glibc `__rseq_*` are libc.a's. musl has none.
fn link_archive(libc: Libc, scratch: &Path) -> Result<PathBuf> {
    let (archive, roots) = match libc {
        Libc::Glibc => ("libvcpu_rt_archive.a", TABLE.to_vec()),
        Libc::Musl => ("libvcpu_rt_shared.a", [&TABLE[..], &RSEQ].concat()),
    };
    let object = scratch.join("vcpu_rt.o");
    link_object(archive, &roots, &object)?;
    let library = scratch.join("libvcpu_rt.a");
    if library.exists() {
        fs::remove_file(&library)?;
    }
    run(command("ar").args(["rcs"]).arg(&library).arg(&object))?;
    Ok(library)
}

/// One object of what `roots` need, in which they alone are global: what else the Rust archive brings
/// meets no other Rust in the same program.
fn link_object(archive: &str, roots: &[&str], object: &Path) -> Result<()> {
    let mut linker = command("ld");
    linker.args(["-r", "--gc-sections", "-o"]).arg(object);
    for root in roots {
        linker.args(["-u", root]);
    }
    run(linker.arg(build_directory().join("release").join(archive)))?;
    let mut objcopy = command("objcopy");
    objcopy.args(["--strip-debug", "--strip-unneeded"]);
    for section in NOT_LINKED {
        objcopy.args(["--remove-section", section]);
    }
    for root in roots.iter().filter(|root| **root != RESOLVED) {
        objcopy.args(["--keep-global-symbol", root]);
    }
    run(objcopy.arg(object))
}
