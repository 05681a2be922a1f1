// SPDX-License-Identifier: MIT OR Apache-2.0
//! Programs of this machine in the guest, at the paths that they have here, with the libraries that they
//! need.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use vcpu_tests::initramfs::Initramfs;

use super::read;
use crate::command::{command, output};

/// What tests/guest/plans/programs.plan runs, and what its scripts call.
const PROGRAMS: [&str; 14] = [
    "bash",
    "cat",
    "cmp",
    "dash",
    "grep",
    "mkdir",
    "python3",
    "rm",
    "seq",
    "sha256sum",
    "sh",
    "sort",
    "sqlite3",
    "uniq",
];

/// Parts of Python's library that nobody imports, and what it has of other libraries.
const NOT_OF_PYTHON: [&str; 8] = [
    "__pycache__",
    "_hashlib",
    "_ssl",
    "config-",
    "ensurepip",
    "idlelib",
    "lib2to3",
    "test",
];

/// Paths in the guest, with the files that they are.
#[derive(Default)]
pub struct MachineFiles(BTreeMap<PathBuf, PathBuf>);

impl MachineFiles {
    /// All of it.
    pub fn find() -> Result<Self> {
        let mut files = Self::default();
        for name in PROGRAMS {
            files.add(&Path::new("/usr/bin").join(name))?;
        }
        let of_python = "import sysconfig; print(sysconfig.get_path('stdlib'))";
        let mut python = command("/usr/bin/python3");
        let library = output(python.args(["-c", of_python]))?;
        files.add_tree(Path::new(library.trim()))?;
        Ok(files)
    }

    /// A file, and the libraries of an executable or a library.
    fn add(&mut self, path: &Path) -> Result<()> {
        let file = fs::canonicalize(path)
            .with_context(|| format!("the guest needs {}", path.display()))?;
        let is_elf = read(&file)?.starts_with(b"\x7fELF");
        if self.0.insert(path.to_owned(), file.clone()).is_some() || !is_elf {
            return Ok(());
        }
        // `libc.so.6 => /lib/... (0x...)`, and the interpreter alone with its path.
        for line in output(command("ldd").arg(&file))?.lines() {
            if let Some(path) = line.split_whitespace().find(|word| word.starts_with('/')) {
                let path = Path::new(path);
                self.0.insert(path.to_owned(), fs::canonicalize(path)?);
            }
        }
        Ok(())
    }

    fn add_tree(&mut self, directory: &Path) -> Result<()> {
        let entries = fs::read_dir(directory)
            .with_context(|| format!("the guest needs {}", directory.display()))?;
        for entry in entries {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if NOT_OF_PYTHON.iter().any(|part| name.starts_with(part)) {
                continue;
            }
            if path.is_dir() {
                self.add_tree(&path)?;
            } else {
                self.add(&path)?;
            }
        }
        Ok(())
    }

    /// Appends them, each directory before what is in it.
    pub fn append(&self, mut archive: Initramfs) -> Result<Initramfs> {
        let mut directories: Vec<&Path> = self
            .0
            .keys()
            .flat_map(|path| path.ancestors().skip(1))
            .collect();
        directories.sort_unstable();
        directories.dedup();
        for directory in directories {
            let name = in_archive(directory);
            if !name.is_empty() {
                archive = archive.directory(&name);
            }
        }
        for (path, file) in &self.0 {
            archive = archive.executable(&in_archive(path), &read(file)?);
        }
        Ok(archive)
    }
}

fn in_archive(path: &Path) -> String {
    path.to_string_lossy().trim_start_matches('/').to_owned()
}
