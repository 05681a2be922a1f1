// SPDX-License-Identifier: MIT OR Apache-2.0
//! Paths of the machine that builds, which rustc would put into the messages of panics: what is installed has
//! shorter ones, the same wherever it was built.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::command::{command, output, root};

/// The value of CARGO_ENCODED_RUSTFLAGS that says so.
pub fn remapped() -> Result<String> {
    let sysroot = output(command("rustc").args(["--print", "sysroot"]))?;
    let library = Path::new(sysroot.trim()).join("lib/rustlib/src/rust");
    // Of two that fit the last one is taken.
    let flags = [
        (cargo_home()?, "cargo"),
        (library, "rust"),
        (root().to_path_buf(), "vcpu-rt"),
    ]
    .map(|(from, to)| format!("--remap-path-prefix={}={to}", from.display()));
    Ok(flags.join("\x1f"))
}

/// Where cargo has the sources of dependencies.
fn cargo_home() -> Result<PathBuf> {
    if let Some(home) = env::var_os("CARGO_HOME") {
        return Ok(home.into());
    }
    let home = env::var_os("HOME").context("neither CARGO_HOME nor HOME is set")?;
    Ok(Path::new(&home).join(".cargo"))
}
