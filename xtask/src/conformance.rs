// SPDX-License-Identifier: MIT OR Apache-2.0
//! `cargo xtask conformance`: others' programs on the hosted form's registration: the kernel's own
//! selftests of rseq, and programs that people have. Each runs without the library, then in every way
//! that the library has, and must do the same.

mod programs;
mod suites;
mod table;
mod way;

use std::process::ExitCode;

use anyhow::Result;
use clap::ValueEnum;

pub use self::programs::ensure_installed;
pub use self::table::Table;
use crate::dist;
use crate::kernel::{Extent, Linux};
use crate::test::tally::Tally;

/// Everything, with the table of docs/conformance.md at the end.
pub fn run(extent: Extent) -> Result<ExitCode> {
    ensure_installed()?;
    let mut tally = Tally::default();
    let mut table = Table::default();
    tally.group("conformance", |tally| checks(extent, tally, &mut table));
    println!("\n{table}");
    tally.finish()
}

/// The same as part of a larger tally.
pub fn checks(extent: Extent, tally: &mut Tally, table: &mut Table) -> Result<()> {
    dist::run()?;
    programs::checks(tally, table)?;
    for linux in Linux::value_variants() {
        suites::checks(*linux, extent, tally, table)?;
    }
    Ok(())
}
