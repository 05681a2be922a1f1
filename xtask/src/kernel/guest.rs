// SPDX-License-Identifier: MIT OR Apache-2.0
//! The guest's initramfs: our own first process, the plan, and every program that a plan may name.

mod machine_files;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Error, Result};
use vcpu_tests::hosted::{FORMS, Form};
use vcpu_tests::initramfs::Initramfs;

use self::machine_files::MachineFiles;
use super::boot::root_file_system;
use super::build::Kernel;
use super::plan::Plan;
use crate::command::root;
use crate::program::{self, build_all};

/// The packages whose programs are there as /bin/NAME: the guest's own, the runtime's, the examples.
const PACKAGES: [&str; 7] = [
    "vcpu-guest-programs",
    "vcpu-test-programs",
    "hello",
    "histogram",
    "c-consumer",
    "c-counter",
    "c-slab",
];

/// The first process.
const INIT: &str = "guest_init";

/// The programs, built; the same for every boot.
pub struct Guest(Vec<(String, PathBuf)>);

impl Guest {
    /// Builds the programs in the default form.
    pub fn build() -> Result<Self> {
        Ok(Self(build_all(&PACKAGES, program::Form::Static)?))
    }

    /// The archive for one boot. Time limits are multiplied by `factor`.
    pub fn initramfs(&self, kernel: &Kernel, plan: &Plan, factor: u64) -> Result<Vec<u8>> {
        let mut archive = root_file_system()
            .file("plan", plan.text(factor).as_bytes())
            .directory("bin");
        for (name, path) in &self.0 {
            let name = if name == INIT {
                "init"
            } else {
                &format!("bin/{name}")
            };
            archive = archive.executable(name, &read(path)?);
        }
        // A kernel may have been built without its tests, for the examples.
        if kernel.modules().exists() {
            archive = archive.directory("modules");
            archive = below(archive, &kernel.modules(), "modules")?;
        }
        if plan.mentions("/kselftest/") {
            archive = archive.directory("kselftest");
            archive = below(archive, &kernel.selftests(), "kselftest")?;
        }
        if plan.mentions("/hosted/") {
            archive = hosted(archive)?;
        }
        if plan.mentions("/programs/") {
            archive = MachineFiles::find()?.append(archive)?;
            archive = scripts(archive)?;
        }
        Ok(archive.finish())
    }
}

/// Appends the programs of tests/hosted as /hosted/NAME-FORM, and what dynamic ones need: the libraries of this
/// machine and ours.
fn hosted(mut archive: Initramfs) -> Result<Initramfs> {
    let of_machine = [
        ("lib64/ld-linux-x86-64.so.2", "/lib64/ld-linux-x86-64.so.2"),
        ("lib/libc.so.6", "/lib/x86_64-linux-gnu/libc.so.6"),
        // For pthread_cancel.
        ("lib/libgcc_s.so.1", "/lib/x86_64-linux-gnu/libgcc_s.so.1"),
        ("lib/ld-musl-x86_64.so.1", "/lib/ld-musl-x86_64.so.1"),
    ];
    for directory in ["lib64", "lib", "lib/musl", "hosted"] {
        archive = archive.directory(directory);
    }
    for (name, path) in of_machine {
        archive = archive.executable(name, &read(Path::new(path))?);
    }
    for (directory, form) in [("lib", Form::Preload), ("lib/musl", Form::MuslLinked)] {
        let library = form.libraries().map_err(Error::msg)?.join("libvcpu_rt.so");
        archive = archive.executable(&format!("{directory}/libvcpu_rt.so"), &read(&library)?);
    }
    for form in FORMS {
        for name in ["table", "threads", "gs"] {
            let program = form.program(name).map_err(Error::msg)?;
            archive = archive.executable(&format!("hosted/{name}-{form}"), &read(&program)?);
        }
    }
    let strange = Form::Preload.program("strange").map_err(Error::msg)?;
    Ok(archive.executable("hosted/strange-preload", &read(&strange)?))
}

/// Appends what `cargo xtask conformance` has programs of this machine do, and the script that compares.
fn scripts(archive: Initramfs) -> Result<Initramfs> {
    let same = root().join("tests/guest/programs");
    let archive = below(archive.directory("programs"), &same, "programs")?;
    let scripts = root().join("xtask/src/conformance/scripts");
    below(
        archive.directory("programs/scripts"),
        &scripts,
        "programs/scripts",
    )
}

/// Appends everything below a directory.
fn below(mut archive: Initramfs, directory: &Path, name: &str) -> Result<Initramfs> {
    let entries =
        fs::read_dir(directory).with_context(|| format!("cannot list {}", directory.display()))?;
    for entry in entries {
        let path = entry?.path();
        let base = path.file_name().unwrap_or_default().to_string_lossy();
        let name = format!("{name}/{base}");
        archive = if path.is_dir() {
            below(archive.directory(&name), &path, &name)?
        } else {
            archive.executable(&name, &read(&path)?)
        };
    }
    Ok(archive)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}
