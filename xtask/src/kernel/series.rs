// SPDX-License-Identifier: MIT OR Apache-2.0
//! The patches of kernel/linux-VERSION/, in the order of their numbers.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::version::Linux;
use crate::command::root;

/// The patches of a version. None at all is an error.
pub fn patches(linux: Linux) -> Result<Vec<PathBuf>> {
    in_directory(&root().join(format!("kernel/linux-{linux}"))).with_context(|| {
        format!("kernel/linux-{linux} has no series; --stock builds the kernel without one")
    })
}

/// The patches of a series that lies anywhere.
pub fn in_directory(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut patches = Vec::new();
    let entries =
        fs::read_dir(directory).with_context(|| format!("cannot list {}", directory.display()))?;
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        // 0000 is the cover letter.
        if name.ends_with(".patch") && !name.starts_with("0000-") {
            patches.push(path);
        }
    }
    if patches.is_empty() {
        bail!("no .patch file in {}", directory.display());
    }
    patches.sort();
    Ok(patches)
}

/// Applies one patch to a tree, exactly: where the context differs, it does not apply.
pub fn apply(patch: &Path, tree: &Path) -> Result<()> {
    let output = Command::new("patch")
        .args(["-p1", "--fuzz=0", "--forward", "--batch", "--reject-file=-"])
        .args(["--no-backup-if-mismatch", "--input"])
        .arg(patch)
        .current_dir(tree)
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .output()
        .context("cannot run patch")?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stdout);
        let reject = first_reject(&said).unwrap_or_else(|| {
            let stderr = String::from_utf8_lossy(&output.stderr);
            format!("{said}{stderr}").trim().to_owned()
        });
        bail!("{} does not apply: {reject}", patch.display());
    }
    Ok(())
}

/// The file and the first hunk that failed, and what it wanted to change.
fn first_reject(said: &str) -> Option<String> {
    let mut file = "";
    let mut lines = said.lines();
    for line in lines.by_ref() {
        if let Some(name) = line.strip_prefix("patching file ") {
            file = name;
        } else if line.starts_with("Hunk #") && line.contains("FAILED") {
            break;
        } else if line.contains("previously applied") {
            return Some(format!("{file}: {line}"));
        } else if line.starts_with("can't find file") {
            // What it looked for is in the patch's own words, which follow.
            let wanted = lines.find_map(|line| line.strip_prefix("|+++ b/"));
            return Some(format!("{}: {line}", wanted.unwrap_or("a file")));
        }
    }
    let hunk: Vec<&str> = said
        .lines()
        .skip_while(|line| !line.starts_with("@@"))
        .take(12)
        .collect();
    let failed = said.lines().find(|line| line.contains("FAILED"))?;
    Some(format!("{file}: {failed}\n{}", hunk.join("\n")))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::{apply, in_directory};

    const PATCH: &str = "From: a\nSubject: b\n---\n--- a/file\n+++ b/file\n@@ -1,3 +1,3 @@\n one\n-two\n+2\n three\n";

    fn directory(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("vcpu-rt-{name}.{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        path
    }

    #[test]
    fn a_patch_applies_exactly_or_names_what_failed() {
        let tree = directory("series");
        let patch = tree.join("0001-two.patch");
        fs::write(&patch, PATCH).unwrap();
        fs::write(tree.join("file"), "one\ntwo\nthree\n").unwrap();
        apply(&patch, &tree).unwrap();
        assert_eq!(
            fs::read_to_string(tree.join("file")).unwrap(),
            "one\n2\nthree\n"
        );
        // With the usual fuzz this one would still apply.
        fs::write(tree.join("file"), "one\ntwo\nfour\n").unwrap();
        let error = apply(&patch, &tree).unwrap_err().to_string();
        for part in [
            "0001-two.patch does not apply",
            "file: Hunk #1 FAILED",
            "-two",
        ] {
            assert!(error.contains(part), "{error}");
        }
        fs::remove_file(tree.join("file")).unwrap();
        let error = apply(&patch, &tree).unwrap_err().to_string();
        assert!(error.contains("file: can't find file"), "{error}");
        fs::remove_dir_all(tree).unwrap();
    }

    #[test]
    fn the_cover_letter_is_no_patch() {
        let series = directory("patches");
        fs::write(series.join("0000-cover-letter.patch"), "").unwrap();
        assert!(in_directory(&series).is_err());
        for name in ["0002-b.patch", "0001-a.patch", "README"] {
            fs::write(series.join(name), "").unwrap();
        }
        let patches = in_directory(&series).unwrap();
        let names: Vec<_> = patches
            .iter()
            .map(|path| path.file_name().unwrap())
            .collect();
        assert_eq!(names, ["0001-a.patch", "0002-b.patch"]);
        fs::remove_dir_all(series).unwrap();
    }
}
