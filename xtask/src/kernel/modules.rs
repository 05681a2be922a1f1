// SPDX-License-Identifier: MIT OR Apache-2.0
//! The test modules of kernel/test-modules: what only kernel code can drive, outside of the series.

use std::fs;
use std::path::PathBuf;

use anyhow::Result;

use super::build::Tree;
use super::key::Key;
use crate::command::root;

fn sources() -> PathBuf {
    root().join("kernel/test-modules")
}

/// Takes what they are built from into a key.
pub fn add_to(key: &mut Key) -> Result<()> {
    key.directory(&sources())
}

/// Builds them against a built kernel; the `.ko` files are kept.
pub fn build(tree: &mut Tree) -> Result<()> {
    // The build writes beside the sources.
    let copy = tree.objects.join("test-modules");
    tree.copy(&sources(), &copy)?;
    tree.make(&[&format!("M={}", copy.display()), "modules"], &[])?;
    let kept = tree.output.join("modules");
    fs::create_dir_all(&kept)?;
    for entry in fs::read_dir(&copy)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "ko") {
            fs::copy(&path, kept.join(path.file_name().unwrap_or_default()))?;
        }
    }
    Ok(())
}
