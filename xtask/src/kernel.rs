// SPDX-License-Identifier: MIT OR Apache-2.0
//! `cargo xtask kernel`: builds Linux with the series of kernel/, boots it under QEMU, and runs the
//! guest's tests there.

mod apt;
mod boot;
pub mod build;
mod cache;
mod check;
mod config;
mod console;
mod cost;
mod demo;
mod guest;
mod key;
pub mod long;
mod machine;
mod matrix;
mod modules;
mod plan;
pub mod selftests;
mod series;
mod source;
pub mod test;
pub mod tools;
mod version;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Subcommand;

pub use self::selftests::Extent;
pub use self::version::{Linux, Selection};

/// The subcommands.
#[derive(Subcommand)]
pub enum Command {
    /// Build the kernel, or find it in the cache; the last line on stdout is the image's path
    Build {
        #[command(flatten)]
        selection: Selection,
    },
    /// Boot the kernel with a program as its /init; the program's exit status is this command's
    Boot {
        #[command(flatten)]
        selection: Selection,
        #[command(flatten)]
        boot: boot::Arguments,
    },
    /// Check that each patch of the series builds, and that neither checkpatch nor the compiler nor
    /// sparse has something to say about it
    Check {
        #[command(flatten)]
        selection: Selection,
        /// Check the patches of this directory, not those of kernel/linux-VERSION
        #[arg(long, value_name = "DIR")]
        series: Option<PathBuf>,
    },
    /// Run the examples on the kernel
    Demo {
        #[command(flatten)]
        selection: Selection,
        #[command(flatten)]
        machine: machine::Machine,
    },
    /// Boot the kernel with the tests of tests/guest, on one machine after the other
    Test {
        #[command(flatten)]
        selection: Selection,
        /// Only this boot of the matrix
        #[arg(long, value_name = "NAME")]
        boot: Option<String>,
        /// The whole matrix of rseq's selftest, not one run of each kind: hours
        #[arg(long)]
        full: bool,
    },
}

/// Runs one of them.
pub fn run(command: &Command) -> Result<ExitCode> {
    match command {
        Command::Build { selection } => {
            println!("{}", build::build(selection)?.image().display());
            Ok(ExitCode::SUCCESS)
        }
        Command::Boot { selection, boot } => boot::run(selection, boot),
        Command::Check { selection, series } => check::run(selection, series.as_deref()),
        Command::Demo { selection, machine } => demo::run(selection, machine),
        Command::Test {
            selection,
            boot,
            full,
        } => test::run(selection, boot.as_deref(), Extent::of(*full)),
    }
}
