// SPDX-License-Identifier: MIT OR Apache-2.0
//! `cargo xtask bench data`: per-vCPU data in each mode, beside plain memory, locks, and the best that
//! others do.

mod cache;
pub mod gs;
mod increment;
mod picture;
mod scaling;

use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;

use self::gs::Gs;
use super::{finish, machine, process};

/// The rows, and the picture where `svg` says.
pub fn run(json: Option<&Path>, svg: Option<&Path>) -> Result<ExitCode> {
    let machine = machine()?;
    println!("{machine}");
    let gs = Gs::of_this_machine();
    println!("gs mode: {}", gs.describe());
    let mut rows = Vec::new();
    // First what runs on more than one CPU.
    rows.push(scaling::row()?);
    let curves = scaling::curves(gs)?;
    if let Some(path) = svg {
        picture::draw(path, &curves, &machine)?;
    }
    process::pin_to_one_cpu()?;
    rows.extend(increment::rows(gs)?);
    rows.extend(cache::rows(gs)?);
    finish(&rows, json)
}
