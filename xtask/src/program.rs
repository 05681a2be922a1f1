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

/// The path of an executable in what cargo says in JSON, one message a line.
fn executable(messages: &str, name: &str) -> Option<PathBuf> {
    messages.lines().find_map(|line| {
        let message: Value = serde_json::from_str(line).ok()?;
        let path = Path::new(message["executable"].as_str()?);
        (message["target"]["name"] == name).then(|| path.to_path_buf())
    })
}
