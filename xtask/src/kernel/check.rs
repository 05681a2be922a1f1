// SPDX-License-Identifier: MIT OR Apache-2.0
//! `cargo xtask kernel check`: what a series promises to those who read it. Each patch builds on the
//! ones before it, checkpatch has nothing to say, and the compiler and sparse say nothing about the
//! files that they did not say before.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};

use super::build::Tree;
use super::cache::{self, Lock};
use super::config::Requested;
use super::source::Source;
use super::version::Selection;
use super::{series, tools};
use crate::command::{is_installed, root};

/// The disk that this takes while it runs.
const NEEDED: u64 = 4 << 30;

/// Users of headers that the series changes.
const USERS: [&str; 3] = ["kernel/entry/common.o", "kernel/fork.o", "fs/exec.o"];

/// What the kernel's Makefile says instead of running a sparse that does not know enough.
const NO_SPARSE: &str = "sparse is not available or not up to date";

/// A configuration in which the touched files are compiled.
struct Variant {
    name: &'static str,
    architecture: &'static str,
    /// Arguments of the kernel's scripts/config, after defconfig.
    changes: &'static [&'static str],
}

const VARIANTS: [Variant; 5] = [
    variant("x86_64", "x86_64", &[]),
    variant("x86_64-without-SMP", "x86_64", &["-d", "SMP"]),
    variant(
        "x86_64-without-RSEQ",
        "x86_64",
        &["-e", "EXPERT", "-d", "RSEQ"],
    ),
    variant("x86_64-without-CGROUPS", "x86_64", &["-d", "CGROUPS"]),
    variant("i386", "i386", &[]),
];

const fn variant(
    name: &'static str,
    architecture: &'static str,
    changes: &'static [&'static str],
) -> Variant {
    Variant {
        name,
        architecture,
        changes,
    }
}

/// Checks the series of a version, or the one in a directory: before it replaces the other.
pub fn run(selection: &Selection, directory: Option<&Path>) -> Result<ExitCode> {
    tools::ensure_build()?;
    let patches = match directory {
        Some(directory) => series::in_directory(&std::path::absolute(directory)?)?,
        None => series::patches(selection.linux)?,
    };
    let source = Source::find(selection)?;
    let name = format!("linux-{}-check", selection.linux);
    let directory = cache::directory("checks")?;
    let _lock = Lock::take(&directory.join(format!("{name}.lock")))?;
    let work = directory.join(&name);
    if work.exists() {
        fs::remove_dir_all(&work)?;
    }
    cache::ensure_free(&directory, NEEDED)?;
    let log = cache::directory("logs")?.join(format!("{name}.log"));
    eprintln!("the log is {}", log.display());
    let mut check = Check {
        tree: Tree::new(&work, &name, &log)?,
        objects: work.join("objects"),
        log,
        touched: touched(&patches)?,
    };
    source.unpack(&check.tree.source, &mut check.tree.log)?;
    let checked = check.all(&patches);
    fs::remove_dir_all(&work).with_context(|| format!("cannot remove {}", work.display()))?;
    checked?;
    println!("{name}: nothing to say about {} patches", patches.len());
    Ok(ExitCode::SUCCESS)
}

/// The C files that patches touch, as paths in the tree.
fn touched(patches: &[PathBuf]) -> Result<BTreeSet<String>> {
    let mut touched = BTreeSet::new();
    for patch in patches {
        let text = fs::read_to_string(patch)?;
        let files = text.lines().filter_map(|line| line.strip_prefix("+++ b/"));
        let files = files.filter(|file| file.ends_with(".c") && !file.starts_with("tools/"));
        touched.extend(files.map(str::to_owned));
    }
    Ok(touched)
}

/// A check under way.
struct Check {
    tree: Tree,
    /// Below this each configuration has its objects.
    objects: PathBuf,
    /// What `tree` logs to.
    log: PathBuf,
    touched: BTreeSet<String>,
}

impl Check {
    fn all(&mut self, patches: &[PathBuf]) -> Result<()> {
        // First what takes a second.
        for patch in patches {
            self.checkpatch(patch)?;
        }
        let count = patches.len();
        println!("checkpatch has nothing to say about {count} patches");
        let mut before = Vec::new();
        for variant in &VARIANTS {
            self.configure(variant)?;
            before.push(self.warnings(variant)?);
        }
        self.bisect(patches)?;
        for (variant, before) in VARIANTS.iter().zip(before) {
            let mut new = self.warnings(variant)?;
            new.retain(|warning, count| before.get(warning).is_none_or(|before| *count > *before));
            let new: Vec<_> = new.into_keys().collect();
            ensure!(
                new.is_empty(),
                "{}: new warnings:\n{}",
                variant.name,
                new.join("\n")
            );
            println!("{}: no new warning", variant.name);
        }
        Ok(())
    }

    /// Applies one patch after the other, and builds a small kernel with each.
    fn bisect(&mut self, patches: &[PathBuf]) -> Result<()> {
        self.tree.objects = self.objects.join("bisection");
        fs::create_dir_all(&self.tree.objects)?;
        let requested = Requested::read(&[root().join("kernel/config/check.config")])?;
        let all = self.tree.objects.join("all.config");
        fs::write(&all, requested.text())?;
        self.tree
            .make(&["allnoconfig"], &[("KCONFIG_ALLCONFIG", &all)])?;
        requested.verify(&fs::read_to_string(self.tree.objects.join(".config"))?)?;
        for patch in patches {
            let name = patch.file_stem().unwrap_or_default().display();
            series::apply(patch, &self.tree.source)?;
            self.tree
                .make(&["vmlinux"], &[])
                .with_context(|| format!("with {name}"))?;
            println!("{name}: builds");
        }
        Ok(())
    }

    /// Fails unless checkpatch finds no error, no warning and nothing else.
    fn checkpatch(&mut self, patch: &Path) -> Result<()> {
        let mut checkpatch = self.tree.command("perl");
        checkpatch.current_dir(&self.tree.source);
        checkpatch.args(["scripts/checkpatch.pl", "--strict"]);
        self.tree.log.run("checkpatch", checkpatch.arg(patch))
    }

    fn configure(&mut self, variant: &Variant) -> Result<()> {
        self.make(variant, &["defconfig"])?;
        if variant.changes.is_empty() {
            return Ok(());
        }
        let mut config = self.tree.command("bash");
        config.arg(self.tree.source.join("scripts/config"));
        config.arg("--file").arg(self.tree.objects.join(".config"));
        self.tree
            .log
            .run(variant.name, config.args(variant.changes))?;
        self.make(variant, &["olddefconfig"])
    }

    /// What the compiler and sparse say about the touched files, without line numbers, and how often.
    /// Files that the tree does not have yet are left out.
    fn warnings(&mut self, variant: &Variant) -> Result<BTreeMap<String, u32>> {
        let is_32_bit = variant.architecture == "i386";
        let touched = self.touched.iter().filter(|file| {
            let is_64_bit = file.ends_with("_64.c") || file.ends_with("/gs_mode.c");
            self.tree.source.join(file).exists() && !(is_32_bit && is_64_bit)
        });
        let mut words: Vec<String> = touched
            .map(|file| file.replace(".c", ".o"))
            .chain(USERS.map(str::to_owned))
            .collect();
        words.push("W=1".into());
        // It takes as long as the compiler, and its answers do not depend on the configuration.
        if variant.changes.is_empty() && is_installed("sparse") {
            words.push("C=2".into());
        }
        let start = fs::metadata(&self.log)?.len();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        self.make(variant, &words)?;
        let said = fs::read(&self.log)?.split_off(usize::try_from(start)?);
        let said = String::from_utf8_lossy(&said);
        if said.contains(NO_SPARSE) {
            println!("{}: without sparse, which is too old here", variant.name);
        }
        let mut warnings = BTreeMap::new();
        for warning in said.lines().filter_map(warning) {
            *warnings.entry(warning).or_default() += 1;
        }
        Ok(warnings)
    }

    fn make(&mut self, variant: &Variant, words: &[&str]) -> Result<()> {
        self.tree.objects = self.objects.join(variant.name);
        fs::create_dir_all(&self.tree.objects)?;
        let architecture = format!("ARCH={}", variant.architecture);
        self.tree.make(&[&[&*architecture], words].concat(), &[])
    }
}

/// `FILE: TEXT` of a line `FILE:LINE:COLUMN: TEXT`.
fn warning(line: &str) -> Option<String> {
    let (place, text) = line.split_once(": ")?;
    if text.contains(NO_SPARSE) {
        return None;
    }
    let mut place = place.split(':');
    let file = place.next()?;
    place.next()?.parse::<u32>().ok()?;
    Some(format!("{file}: {}", text.trim()))
}

#[cfg(test)]
mod tests {
    use super::warning;

    #[test]
    fn lines_may_move() {
        let said = |line| warning(line).unwrap_or_default();
        let one = said("../kernel/sys.c:17:3: warning: unused variable 'x' [-Wunused-variable]");
        let other = said("../kernel/sys.c:18:3: warning: unused variable 'x' [-Wunused-variable]");
        assert_eq!(one, other);
        assert!(one.starts_with("../kernel/sys.c: warning: unused"), "{one}");
        assert_eq!(warning("  CC      kernel/sys.o"), None);
        assert_eq!(warning("make[1]: Entering directory '/x'"), None);
        let old = "/x/Makefile:1311: C=2 specified, but sparse is not available or not up to date";
        assert_eq!(warning(old), None);
    }
}
