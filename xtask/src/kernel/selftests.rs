// SPDX-License-Identifier: MIT OR Apache-2.0
//! The kernel's own selftests, built from the tree that the kernel was built from, as static
//! programs for guests; rseq's also as dynamic ones, for the library of the hosted form.

mod boots;
mod matrix;
mod plan;
mod results;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::build::Tree;
use super::key::Key;
use crate::command::root;

pub use self::boots::{NAME, test};
pub use self::plan::{Extent, HostRun, host_runs};

/// Changes when `build` makes something else of the same tree.
const RECIPE: &str = "2";

/// Where the selftests lie in a kernel's source.
const SOURCES: &str = "tools/testing/selftests";

/// Those of x86 that this is about, as its Makefile names them; the last is the series' own.
const X86: [&str; 3] = ["fsgsbase_64", "fsgsbase_restore_64", "gs_mode_64"];

/// Where rseq's suite is as dynamic programs.
pub const DYNAMIC: &str = "rseq-dynamic";

/// What a suite's second build adds to its name.
const GS_MODE_ON: &str = "-with-gs-mode";

/// Takes what they are built from, beside the kernel's source, into a key.
pub fn add_to(key: &mut Key) -> Result<()> {
    key.part("selftests", RECIPE);
    key.file(&constructor())
}

/// Builds them into `selftests/SUITE/` of the tree's output. With the series, suites where it makes
/// sense are built a second time, into `selftests/SUITE-with-gs-mode/`: these programs switch the
/// mode on before `main`. Another program cannot do it for them, since execve ends the mode.
pub fn build(tree: &mut Tree) -> Result<()> {
    let library = librseq(tree)?;
    let flags = format!("-static -s -L{}", library.display());
    suites(tree, "", &flags)?;
    // Their librseq is in the program: as a library of its own it would look for __rseq_offset
    // behind itself only, past any library that was loaded before it.
    let dynamic = format!("-s -L{}", library.display());
    suite(tree, "rseq", DYNAMIC, &dynamic)?;
    x86(tree)?;
    if tree.source.join(SOURCES).join("x86/gs_mode.c").exists() {
        let object = library.join("gs_mode_on.o");
        let mut compiler = compiler(tree);
        compiler.arg("-o").arg(&object).arg(constructor());
        tree.log.run("selftests with the mode on", &mut compiler)?;
        let flags = format!("{flags} {}", object.display());
        suites(tree, GS_MODE_ON, &flags)?;
    }
    Ok(())
}

/// What each program of the second build begins with.
pub fn constructor() -> PathBuf {
    root().join("kernel/selftests-with-gs-mode.c")
}

/// The suites that can run with the mode on as well. Their Makefiles compile and link at once, so
/// that the flags may name an object.
fn suites(tree: &mut Tree, suffix: &str, flags: &str) -> Result<()> {
    for name in ["rseq", "membarrier", "clone3"] {
        suite(tree, name, &format!("{name}{suffix}"), flags)?;
    }
    Ok(())
}

fn suite(tree: &mut Tree, name: &str, output_name: &str, flags: &str) -> Result<()> {
    let output = output(tree, output_name);
    let mut make = make(tree, name, &output)?;
    make.arg(format!("USERCFLAGS={flags}"));
    // The shared library, which is no use to programs with the archive.
    make.arg("-o").arg(output.join("librseq.so"));
    tree.log
        .run(&format!("selftests of {name}"), make.arg("all"))
}

/// x86's Makefile takes other flags; and with the mode on ARCH_SET_GS is refused, which is what
/// most of these test.
fn x86(tree: &mut Tree) -> Result<()> {
    let output = output(tree, "x86");
    let mut make = make(tree, "x86", &output)?;
    make.arg("EXTRA_CFLAGS=-static -s");
    for program in X86 {
        let source = program.trim_end_matches("_64");
        let source = tree.source.join(SOURCES).join(format!("x86/{source}.c"));
        if source.exists() {
            make.arg(output.join(program));
        }
    }
    tree.log.run("selftests of x86", &mut make)
}

/// Where the programs of a suite go.
fn output(tree: &Tree, suite: &str) -> PathBuf {
    tree.output.join("selftests").join(suite)
}

/// make for one suite.
fn make(tree: &Tree, suite: &str, output: &Path) -> Result<Command> {
    fs::create_dir_all(output).with_context(|| format!("cannot make {}", output.display()))?;
    let mut make = tree.command("make");
    make.arg("-C").arg(tree.source.join(SOURCES).join(suite));
    make.arg(format!("OUTPUT={}", output.display()));
    make.arg(format!(
        "KHDR_INCLUDES=-isystem {}",
        headers(tree).display()
    ));
    Ok(make)
}

/// rseq's library as an archive, and the directory that it is in.
fn librseq(tree: &mut Tree) -> Result<PathBuf> {
    let directory = tree.objects.join("librseq");
    fs::create_dir_all(&directory)?;
    let object = directory.join("rseq.o");
    let tools = tree.source.join("tools");
    let selftests = tree.source.join(SOURCES);
    let mut compiler = compiler(tree);
    compiler.arg("-o").arg(&object);
    for include in [
        selftests.clone(),
        selftests.join("rseq"),
        tools.join("include"),
        tools.join("arch/x86/include"),
    ] {
        compiler.arg("-I").arg(include);
    }
    compiler.arg(selftests.join("rseq/rseq.c"));
    tree.log.run("librseq", &mut compiler)?;
    let mut archive = tree.command("ar");
    archive.arg("rcs").arg(directory.join("librseq.a"));
    tree.log.run("librseq", archive.arg(&object))?;
    Ok(directory)
}

/// The C compiler, for one object.
fn compiler(tree: &Tree) -> Command {
    let mut compiler = tree.command("gcc");
    compiler.args(["-c", "-O2", "-Wall", "-isystem"]);
    compiler.arg(headers(tree));
    compiler
}

/// The headers for userspace of the kernel that was built.
fn headers(tree: &Tree) -> PathBuf {
    tree.objects.join("usr/include")
}
