// SPDX-License-Identifier: MIT OR Apache-2.0
//! Builds a no_std program as a user of the runtime does: with the flags of
//! examples/.cargo/config.toml, which is the one place where they are written.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::command::{cargo, output};

/// The snippet that the README gives to users.
pub const CONFIG: &str = "examples/.cargo/config.toml";

/// Added to the snippet's flags it makes a static-pie: of two relocation models the last one holds.
const STATIC_PIE: &str = r#"target.x86_64-unknown-linux-gnu.rustflags=["-Crelocation-model=pie"]"#;

/// How a program is linked.
#[derive(Clone, Copy)]
pub enum Form {
    /// The default: fixed addresses.
    Static,
    /// Relocated by the runtime.
    StaticPie,
}

/// The cargo profile.
#[derive(Clone, Copy)]
pub enum Profile {
    /// What speed is measured on.
    Release,
    /// What size is measured on.
    Small,
}

/// `cargo SUBCOMMAND` with the flags of a form.
pub fn cargo_for(subcommand: &str, form: Form) -> Command {
    let mut cargo = cargo();
    cargo.arg(subcommand).args(["--config", CONFIG]);
    if let Form::StaticPie = form {
        cargo.args(["--config", STATIC_PIE]);
    }
    cargo
}

/// Builds the one executable of this name and returns its path. The path holds until the same
/// program is built in another form.
pub fn build(name: &str, form: Form, profile: Profile) -> Result<PathBuf> {
    build_by(cargo_for("build", form), name, profile)
}

/// Builds by a `cargo build` that has further flags.
pub fn build_by(mut cargo: Command, name: &str, profile: Profile) -> Result<PathBuf> {
    let profile = match profile {
        Profile::Release => "release",
        Profile::Small => "small",
    };
    cargo.args([
        "--quiet",
        "--workspace",
        "--bin",
        name,
        "--profile",
        profile,
    ]);
    cargo.arg("--message-format=json-render-diagnostics");
    executable(&output(&mut cargo)?, name).with_context(|| format!("{name} was not built"))
}

/// Builds all executables of some packages in release mode and returns their names and paths, by
/// name. The paths hold until the same programs are built in another form.
pub fn build_all(packages: &[&str], form: Form) -> Result<Vec<(String, PathBuf)>> {
    let mut cargo = cargo_for("build", form);
    cargo.args(["--quiet", "--release", "--bins"]);
    for package in packages {
        cargo.args(["--package", package]);
    }
    cargo.arg("--message-format=json-render-diagnostics");
    let messages = output(&mut cargo)?;
    let mut built: Vec<_> = messages.lines().filter_map(named_executable).collect();
    built.sort();
    Ok(built)
}

/// The path of an executable in what cargo says in JSON, one message a line.
fn executable(messages: &str, name: &str) -> Option<PathBuf> {
    let mut built = messages.lines().filter_map(named_executable);
    Some(built.find(|(other, _)| other == name)?.1)
}

/// The name and the path, when a message tells of an executable.
fn named_executable(message: &str) -> Option<(String, PathBuf)> {
    let message: Value = serde_json::from_str(message).ok()?;
    let path = Path::new(message["executable"].as_str()?);
    let name = message["target"]["name"].as_str()?;
    Some((name.to_owned(), path.to_path_buf()))
}
