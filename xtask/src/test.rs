// SPDX-License-Identifier: MIT OR Apache-2.0
//! `cargo xtask test`: every check of the project, one after the other, and one tally of them all.

mod readme;
pub mod tally;
pub mod tools;

use std::fs;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::ValueEnum;
use serde_json::Value;

use self::tally::Tally;
use crate::command::{cargo, command, output, root};
use crate::conformance;
use crate::kernel::{self, Extent, Linux, Selection};
use crate::program::{Form, cargo_for};

/// The fuzz targets, a workspace of their own.
const FUZZ: &str = "tests/fuzz";

/// A short run of each fuzz target, of a fixed length: long ones are for those who look for bugs.
const FUZZ_FLAGS: [&str; 2] = ["-runs=50000", "-verbosity=0"];

/// Runs everything; the last line printed is the tally.
pub fn run() -> Result<ExitCode> {
    tools::ensure_installed()?;
    conformance::ensure_installed()?;
    let mut tally = Tally::default();
    // The tests build programs with --offline.
    tally.check("cargo fetch", cargo().args(["fetch", "--locked"]));
    format(&mut tally);
    tally.group("lint", lint);
    tally.group("cargo test", |tally| {
        tally.tests("cargo test", cargo().args(["test", "--no-fail-fast"]))
    });
    tally.group("fuzz", fuzz);
    tally.check(
        "the documentation builds",
        cargo()
            .args(["doc", "--no-deps"])
            .env("RUSTDOCFLAGS", "-Dwarnings"),
    );
    tally.group("README.md", |tally| {
        let mut examples = cargo();
        examples.arg("build").current_dir(root().join("examples"));
        tally.check("README: cargo build in examples/", &mut examples);
        for line in readme::commands()? {
            tally.check(
                &format!("README: {line}"),
                command("bash").args(["-euc", &line]),
            );
        }
        Ok(())
    });
    tally.group("conformance", |tally| {
        conformance::checks(Extent::Reduced, tally, &mut conformance::Table::default())
    });
    for linux in Linux::value_variants() {
        let selection = Selection::of(*linux);
        tally.group(&format!("kernel {linux}"), |tally| {
            kernel::test::boots(&selection, None, Extent::Reduced, tally)
        });
    }
    tally.finish()
}

fn format(tally: &mut Tally) {
    tally.check("rustfmt", cargo().args(["fmt", "--all", "--check"]));
    for manifest in [
        "examples/template/Cargo.toml",
        "tests/fixtures/misuse/Cargo.toml",
        "tests/fuzz/Cargo.toml",
    ] {
        let mut fmt = cargo();
        fmt.args(["fmt", "--check", "--manifest-path", manifest]);
        tally.check(&format!("rustfmt of {manifest}"), &mut fmt);
    }
}

fn lint(tally: &mut Tally) -> Result<()> {
    let deny = ["--", "-Dwarnings"];
    tally.check(
        "clippy",
        cargo().args(["clippy", "--all-targets"]).args(deny),
    );
    let mut programs = cargo_for("clippy", Form::Static);
    programs.arg("--all-targets");
    for package in no_std_packages()? {
        programs.args(["--package", &package]);
    }
    tally.check("clippy of the no_std programs", programs.args(deny));
    let mut fuzz = cargo();
    fuzz.args(["clippy", "--manifest-path"])
        .arg(format!("{FUZZ}/Cargo.toml"));
    tally.check("clippy of the fuzz targets", fuzz.args(deny));
    tally.check("shellcheck", command("shellcheck").args(shell_scripts()?));
    Ok(())
}

/// The workspace's members that a plain `cargo build` leaves out: they need a form's flags.
fn no_std_packages() -> Result<Vec<String>> {
    let metadata = output(cargo().args(["metadata", "--no-deps", "--format-version=1"]))?;
    let metadata: Value = serde_json::from_str(&metadata)?;
    let list = |key: &str| {
        metadata[key]
            .as_array()
            .with_context(|| format!("cargo: no {key}"))
    };
    let hosted = list("workspace_default_members")?;
    let packages = list("packages")?
        .iter()
        .filter(|package| !hosted.contains(&package["id"]));
    packages
        .map(|package| {
            Ok(package["name"]
                .as_str()
                .context("cargo: no name")?
                .to_owned())
        })
        .collect()
}

/// The files of the checkout whose first line names a shell.
fn shell_scripts() -> Result<Vec<String>> {
    let files = output(command("git").args(["ls-files", "-co", "--exclude-standard"]))?;
    let is_script = |name: &&str| {
        let content = fs::read(root().join(name)).unwrap_or_default();
        let first = content
            .split(|&byte| byte == b'\n')
            .next()
            .unwrap_or_default();
        first.starts_with(b"#!") && first.ends_with(b"sh")
    };
    Ok(files.lines().filter(is_script).map(str::to_owned).collect())
}

fn fuzz(tally: &mut Tally) -> Result<()> {
    let targets = output(cargo().args(["fuzz", "list", "--fuzz-dir", FUZZ]))?;
    for target in targets.lines() {
        let mut fuzz = cargo();
        fuzz.args([
            "fuzz",
            "run",
            "-s",
            "none",
            "--fuzz-dir",
            FUZZ,
            target,
            "--",
        ]);
        fuzz.args(FUZZ_FLAGS);
        tally.check(&format!("fuzz target {target}"), &mut fuzz);
    }
    Ok(())
}
