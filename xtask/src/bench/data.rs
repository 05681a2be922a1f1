// SPDX-License-Identifier: MIT OR Apache-2.0
//! `cargo xtask bench data`: per-vCPU data in each mode, beside plain memory, locks, and the best that
//! others do; and what the areas cost.

mod bound;
mod cache;
mod gs;
mod increment;
mod picture;
mod scaling;

use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;

use self::gs::Gs;
use super::{finish, machine, process};

/// The rows of the second part of the project, and the picture where `svg` says.
pub fn data(json: Option<&Path>, svg: Option<&Path>) -> Result<ExitCode> {
    let machine = machine()?;
    println!("{machine}");
    let gs = Gs::of_this_machine();
    println!("gs mode: {}", gs.describe());
    // First what runs on more than one CPU.
    let threads = scaling::row()?;
    let curves = scaling::curves(gs)?;
    if let Some(path) = svg {
        picture::draw(path, &curves, &machine)?;
    }
    process::pin_to_one_cpu()?;
    let mut rows = Vec::new();
    rows.extend(increment::rows(gs)?);
    rows.extend(cache::rows(gs)?);
    rows.push(threads);
    rows.extend(bound::rows()?);
    finish(&rows, json)
}
