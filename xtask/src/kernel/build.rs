// SPDX-License-Identifier: MIT OR Apache-2.0
//! Builds a kernel, and the programs and modules that test it, into the user's cache, or finds
//! them there.
//!
//! A build works in a directory of its own, `NAME.building`, and what is worth keeping is renamed
//! to its final name at the end: what has that name is whole. The rest of the tree and the objects
//! (2 to 4 GB) is removed then, or when the next build finds it left behind.

mod tree;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};

pub use self::tree::Tree;
use super::cache::{self, Lock};
use super::config::{self, Requested};
use super::key::Key;
use super::source::Source;
use super::version::Selection;
use super::{modules, selftests, series, tools};
use crate::command::output;

/// Changes when the steps below make something else of the same input.
const RECIPE: &str = "1";

/// The disk that a build takes while it runs.
const NEEDED: u64 = 3 << 30;
const NEEDED_DEBUG: u64 = 5 << 30;

/// After this time without use something is removed from the cache.
const UNUSED: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// What a module needs of a built kernel, beside its source.
const FOR_MODULES: [&str; 7] = [
    ".config",
    "Makefile",
    "Module.symvers",
    "arch/x86/include",
    "include",
    "scripts",
    "tools/objtool/objtool",
];

/// What programs need: the headers for userspace.
const HEADERS: &str = "usr/include";

/// A built kernel, in the cache.
pub struct Kernel {
    directory: PathBuf,
    tests: PathBuf,
}

impl Kernel {
    /// The image that boots.
    pub fn image(&self) -> PathBuf {
        self.directory.join("bzImage")
    }

    /// The kernel's own selftests.
    pub fn selftests(&self) -> PathBuf {
        self.tests.join("selftests")
    }

    /// The test modules.
    pub fn modules(&self) -> PathBuf {
        self.tests.join("modules")
    }

    /// Where what programs and modules are built against is kept.
    fn objects(&self) -> PathBuf {
        self.directory.join("objects")
    }
}

/// All that a kernel is made from.
struct Inputs {
    source: Source,
    patches: Vec<PathBuf>,
    fragments: Vec<PathBuf>,
}

/// The kernel, from the cache or built now.
pub fn build(selection: &Selection) -> Result<Kernel> {
    find_or_build(selection, false)
}

/// The kernel with its tests, from the cache or built now.
pub fn build_with_tests(selection: &Selection) -> Result<Kernel> {
    find_or_build(selection, true)
}

fn find_or_build(selection: &Selection, with_tests: bool) -> Result<Kernel> {
    let inputs = Inputs::find(selection)?;
    let name = format!("{selection}-{}", inputs.key()?);
    let kernels = cache::directory("kernels")?;
    let kernel = Kernel {
        directory: kernels.join(&name),
        tests: kernels.join(format!("{name}-tests-{}", tests_key()?)),
    };
    let is_complete = || kernel.directory.exists() && (!with_tests || kernel.tests.exists());
    let lock = kernels.join(format!("{name}.lock"));
    if !is_complete() {
        tools::ensure_build()?;
        let _lock = Lock::take(&lock)?;
        if !is_complete() {
            build_in(&kernels, &name, selection, &inputs, &kernel)
                .with_context(|| format!("{name} was not built"))?;
        }
    }
    eprintln!("{name} is built");
    // For the removal of what nobody uses.
    for used in [&kernel.directory, &kernel.tests] {
        if used.exists() {
            File::open(used)?.set_modified(SystemTime::now())?;
        }
    }
    Ok(kernel)
}

/// Builds the kernel where it is missing, and its tests.
fn build_in(
    kernels: &Path,
    name: &str,
    selection: &Selection,
    inputs: &Inputs,
    kernel: &Kernel,
) -> Result<()> {
    let work = kernels.join(format!("{name}.building"));
    if work.exists() {
        fs::remove_dir_all(&work)?;
    }
    remove_unused(kernels)?;
    let needed = if selection.debug {
        NEEDED_DEBUG
    } else {
        NEEDED
    };
    cache::ensure_free(kernels, needed)?;
    let log = cache::directory("logs")?.join(format!("{name}.log"));
    eprintln!("building {name}; the log is {}", log.display());
    let mut tree = Tree::new(&work, name, &log)?;
    let built = inputs.unpack(&mut tree).and_then(|()| {
        if kernel.directory.exists() {
            tree.copy(&kernel.objects(), &tree.objects.clone())?;
        } else {
            let made = work.join("kernel");
            make(&Requested::read(&inputs.fragments)?, &mut tree, &made)?;
            fs::rename(made, &kernel.directory)?;
        }
        selftests::build(&mut tree)?;
        modules::build(&mut tree)?;
        Ok(fs::rename(&tree.output, &kernel.tests)?)
    });
    fs::remove_dir_all(&work).with_context(|| format!("cannot remove {}", work.display()))?;
    built
}

/// The steps of a kernel's build; what is kept goes into the directory `made`.
fn make(config: &Requested, tree: &mut Tree, made: &Path) -> Result<()> {
    let all = tree.objects.join("all.config");
    fs::write(&all, config.text())?;
    tree.make(&["allnoconfig"], &[("KCONFIG_ALLCONFIG", &all)])?;
    config.verify(&fs::read_to_string(tree.objects.join(".config"))?)?;
    tree.make(&["bzImage", "modules", "headers"], &[])?;
    fs::create_dir_all(made)?;
    for (from, to) in [
        ("arch/x86/boot/bzImage", "bzImage"),
        (".config", "config"),
        ("System.map", "System.map"),
        ("vmlinux", "vmlinux"),
    ] {
        let path = tree.objects.join(from);
        fs::copy(&path, made.join(to))
            .with_context(|| format!("the build left no {}", path.display()))?;
    }
    for part in FOR_MODULES.iter().chain(&[HEADERS]) {
        let to = made.join("objects").join(part);
        fs::create_dir_all(to.parent().expect("it is below objects"))?;
        tree.copy(&tree.objects.join(part), &to)?;
    }
    Ok(())
}

impl Inputs {
    fn find(selection: &Selection) -> Result<Self> {
        let patches = if selection.stock {
            Vec::new()
        } else {
            series::patches(selection.linux)?
        };
        Ok(Self {
            source: Source::find(selection)?,
            patches,
            fragments: config::fragments(selection),
        })
    }

    fn key(&self) -> Result<String> {
        let mut key = Key::default();
        key.part("recipe", RECIPE);
        for tool in ["gcc", "ld"] {
            let version = output(tree::command(tool).arg("--version"))
                .with_context(|| format!("building a kernel needs {tool}"))?;
            key.part(tool, version.lines().next().unwrap_or_default());
        }
        self.source.add_to(&mut key)?;
        for file in self.patches.iter().chain(&self.fragments) {
            key.file(file)?;
        }
        Ok(key.finish())
    }

    /// The tree with the series applied.
    fn unpack(&self, tree: &mut Tree) -> Result<()> {
        self.source.unpack(&tree.source, &mut tree.log)?;
        let mut patches = self.patches.iter();
        patches.try_for_each(|patch| series::apply(patch, &tree.source))
    }
}

/// The key of what is built beside the kernel.
fn tests_key() -> Result<String> {
    let mut key = Key::default();
    selftests::add_to(&mut key)?;
    modules::add_to(&mut key)?;
    Ok(key.finish())
}

/// Removes what killed builds left, a `.building` directory whose lock nobody holds, and what
/// nobody has used for long.
fn remove_unused(kernels: &Path) -> Result<()> {
    for entry in fs::read_dir(kernels)? {
        let path = entry?.path();
        let mut lock = None;
        let is_building = path.extension().is_some_and(|it| it == "building");
        let is_unused = if is_building {
            lock = Lock::try_take(&path.with_extension("lock"))?;
            lock.is_some()
        } else {
            let age = fs::metadata(&path)?.modified()?.elapsed();
            path.is_dir() && age.unwrap_or_default() > UNUSED
        };
        if is_unused {
            eprintln!("removing {}", path.display());
            fs::remove_dir_all(&path)?;
        }
        drop(lock);
    }
    Ok(())
}
