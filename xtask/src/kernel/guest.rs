// SPDX-License-Identifier: MIT OR Apache-2.0
//! The guest's initramfs: our own first process, the plan, and every program that a plan may name.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use vcpu_tests::initramfs::Initramfs;

use super::boot::root_file_system;
use super::build::Kernel;
use super::plan::Plan;
use crate::program::{Form, build_all};

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
        Ok(Self(build_all(&PACKAGES, Form::Static)?))
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
        Ok(archive.finish())
    }
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
