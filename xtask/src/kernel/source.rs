// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where a kernel's source comes from: Debian's package, or a tree that the user names, which is
//! copied and never changed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::apt::{self, Package};
use super::key::Key;
use super::long::Log;
use super::version::{Linux, Selection};
use crate::command::output;

/// A source that exists and is of the version asked for.
pub enum Source {
    /// Debian's.
    Package(Package, Linux),
    /// The user's.
    Tree(PathBuf),
}

impl Source {
    /// Finds the source; a package is downloaded.
    pub fn find(selection: &Selection) -> Result<Self> {
        let Some(tree) = &selection.source else {
            let package = apt::package(selection.linux)?;
            return Ok(Self::Package(package, selection.linux));
        };
        let tree = fs::canonicalize(tree)
            .with_context(|| format!("no source tree at {}", tree.display()))?;
        let makefile = fs::read_to_string(tree.join("Makefile"))
            .with_context(|| format!("{} is no kernel source", tree.display()))?;
        let version = version(&makefile)
            .with_context(|| format!("{}: its Makefile tells no version", tree.display()))?;
        ensure!(
            version == selection.linux.to_string(),
            "{} is Linux {version}, not {}",
            tree.display(),
            selection.linux
        );
        Ok(Self::Tree(tree))
    }

    /// Takes what tells this source from any other into a key.
    pub fn add_to(&self, key: &mut Key) -> Result<()> {
        match self {
            Self::Package(package, _) => key.part("package", &package.name),
            Self::Tree(tree) if is_repository(tree) => {
                key.part("commit", output(git(tree).args(["rev-parse", "HEAD"]))?);
                key.part(
                    "changes",
                    output(git(tree).args(["diff", "--binary", "HEAD"]))?,
                );
                for name in untracked(tree)? {
                    key.part("untracked", &name);
                    key.file(&tree.join(name))?;
                }
            }
            Self::Tree(tree) => {
                eprintln!("reading {}", tree.display());
                key.directory(tree)?;
            }
        }
        Ok(())
    }

    /// Fills an empty directory with the tree.
    pub fn unpack(&self, into: &Path, log: &mut Log) -> Result<()> {
        let mut command = Command::new("bash");
        command.arg("-ceuo").arg("pipefail");
        match self {
            Self::Package(package, linux) => command
                .arg("dpkg-deb --fsys-tarfile \"$0\" | tar -xO \"$1\" | tar -xJ --strip-components=1 -C \"$2\"")
                .arg(&package.archive)
                .arg(format!("./usr/src/linux-source-{linux}.tar.xz")),
            // What git ignores was built there.
            Self::Tree(tree) if is_repository(tree) => command
                .arg("cd \"$0\" && git ls-files -z -co --exclude-standard --deduplicate \
                      | xargs -0 sh -c 'for file; do test -e \"$file\" -o -L \"$file\" && printf \"%s\\\\0\" \"$file\"; done; true' sh \
                      | tar -c --null --no-recursion -T - | tar -x -C \"$2\"")
                .arg(tree)
                .arg(""),
            Self::Tree(tree) => command
                .arg("cp -a --reflink=auto \"$0/.\" \"$2\" && make -C \"$2\" mrproper")
                .arg(tree)
                .arg(""),
        };
        log.run("unpacking the source", command.arg(into))
    }
}

fn git(tree: &Path) -> Command {
    let mut git = Command::new("git");
    git.arg("-C").arg(tree);
    git
}

/// Whether the tree is a git repository of its own, not a directory inside of another one.
fn is_repository(tree: &Path) -> bool {
    tree.join(".git").exists()
}

fn untracked(tree: &Path) -> Result<Vec<String>> {
    let list = output(git(tree).args(["ls-files", "-z", "-o", "--exclude-standard"]))?;
    let names = list.split('\0').filter(|name| !name.is_empty());
    Ok(names.map(str::to_owned).collect())
}

/// `VERSION.PATCHLEVEL` of a kernel's Makefile.
fn version(makefile: &str) -> Option<String> {
    let value = |name: &str| {
        makefile.lines().take(10).find_map(|line| {
            let (key, value) = line.split_once('=')?;
            (key.trim() == name).then(|| value.trim())
        })
    };
    Some(format!("{}.{}", value("VERSION")?, value("PATCHLEVEL")?))
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_version_of_a_makefile() {
        let makefile = "# SPDX\nVERSION = 6\nPATCHLEVEL = 12\nSUBLEVEL = 117\nEXTRAVERSION =\n";
        assert_eq!(super::version(makefile).as_deref(), Some("6.12"));
        assert_eq!(super::version("all:\n"), None);
    }
}
