// SPDX-License-Identifier: MIT OR Apache-2.0
//! Directories for the files that a test makes.

use std::fs;
use std::path::{Path, PathBuf};

use crate::programs::target_directory;

/// A fresh directory under the target directory, which others may enter; removed when dropped.
pub struct Scratch(PathBuf);

impl Scratch {
    /// Makes the directory `name`, with the process's id in it.
    pub fn new(name: &str) -> Result<Self, String> {
        let parent = target_directory()?.join("scratch");
        let path = parent.join(format!("{name}.{}", std::process::id()));
        fs::create_dir_all(&path).map_err(|error| error.to_string())?;
        Ok(Self(path))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // A directory that stays behind is in the target directory, where `cargo clean` finds it.
        let _stays = fs::remove_dir_all(&self.0);
    }
}
