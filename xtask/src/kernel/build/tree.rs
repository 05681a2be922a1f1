// SPDX-License-Identifier: MIT OR Apache-2.0
//! A build under way.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::available_parallelism;

use anyhow::Result;

use crate::kernel::long::Log;

/// The tree with the series applied, its built objects, and what is kept of the tests.
pub struct Tree {
    /// The source.
    pub source: PathBuf,
    /// What `make O=` builds into.
    pub objects: PathBuf,
    /// What is kept.
    pub output: PathBuf,
    /// Where everything that is run writes to.
    pub log: Log,
    /// The kernel's name, which progress is told with.
    name: String,
}

impl Tree {
    /// Empty directories, and a new log.
    pub fn new(directory: &Path, name: &str, log: &Path) -> Result<Self> {
        let tree = Self {
            source: directory.join("source"),
            objects: directory.join("objects"),
            output: directory.join("output"),
            log: Log::create(log)?,
            name: name.to_owned(),
        };
        for directory in [&tree.source, &tree.objects, &tree.output] {
            fs::create_dir_all(directory)?;
        }
        Ok(tree)
    }

    /// Runs the kernel's make with these words, for the objects of this tree, on all processors.
    pub fn make(&mut self, words: &[&str], environment: &[(&str, &Path)]) -> Result<()> {
        let mut make = self.command("make");
        make.arg("-C").arg(&self.source);
        make.arg(format!("O={}", self.objects.display()));
        make.arg(format!("-j{}", available_parallelism()?));
        make.args(words);
        make.envs(environment.iter().copied());
        let what = format!("{}: make {}", self.name, words.join(" "));
        self.log.run(&what, &mut make)
    }

    /// Copies a file, or a directory with all that is in it, to that path. A directory that is
    /// there already is filled.
    pub fn copy(&mut self, from: &Path, to: &Path) -> Result<()> {
        let mut copy = Command::new("cp");
        copy.args(["-a", "-T"]).arg(from).arg(to);
        self.log
            .run(&format!("copying {}", from.display()), &mut copy)
    }

    /// A command whose environment makes the same of the same source everywhere.
    pub fn command(&self, program: &str) -> Command {
        command(program)
    }
}

/// See [`Tree::command`].
pub fn command(program: &str) -> Command {
    let mut command = Command::new(program);
    for variable in [
        "MAKEFLAGS",
        "ARCH",
        "CROSS_COMPILE",
        "CC",
        "LD",
        "LLVM",
        "CFLAGS",
        "KCFLAGS",
        "KBUILD_OUTPUT",
        "O",
        "V",
        "W",
        "C",
        "M",
    ] {
        command.env_remove(variable);
    }
    command
        .env("LC_ALL", "C")
        .env("KBUILD_BUILD_TIMESTAMP", "2026-01-01 00:00:00 UTC")
        .env("KBUILD_BUILD_USER", "vcpu-rt")
        .env("KBUILD_BUILD_HOST", "vcpu-rt")
        .env("KBUILD_BUILD_VERSION", "1");
    command
}
