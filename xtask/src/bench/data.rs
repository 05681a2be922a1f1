// SPDX-License-Identifier: MIT OR Apache-2.0
//! `cargo xtask bench data`: per-vCPU data in full.

mod bound;

use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;

use super::{finish, machine, process};

/// The rows of the second part of the project.
pub fn data(json: Option<&Path>) -> Result<ExitCode> {
    println!("{}", machine()?);
    process::pin_to_one_cpu()?;
    let mut rows = Vec::new();
    rows.extend(bound::rows()?);
    finish(&rows, json)
}
