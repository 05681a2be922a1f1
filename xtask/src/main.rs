// SPDX-License-Identifier: MIT OR Apache-2.0
//! The project's own commands, run as `cargo xtask COMMAND` from anywhere in the checkout.

mod bench;
mod command;
mod conformance;
mod demo;
mod dist;
mod kernel;
mod program;
mod test;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "The commands of vcpu-rt", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Build examples/histogram and run it with --check; its exit status is this command's
    Demo {
        /// Files to count; without any, the toolchain's own compiler and its driver library
        files: Vec<PathBuf>,
    },
    /// Run every check of the project; installs what is missing where it may
    Test,
    /// Measure, and compare with the bars of docs/benchmarks.md
    Bench {
        #[command(subcommand)]
        suite: Suite,
    },
    /// Build and boot Linux with the series of kernel/, and test it
    Kernel {
        #[command(subcommand)]
        command: kernel::Command,
    },
    /// Run the kernel's selftests of rseq and real programs on the hosted form, in each way
    Conformance {
        /// The whole matrix of param_test, not one run of each kind: an hour
        #[arg(long)]
        full: bool,
    },
    /// Put what a C consumer needs into target/dist
    Dist,
}

#[derive(Subcommand)]
enum Suite {
    /// Start, threads, one counter, sizes
    Foundation {
        /// Also write the rows there, as a list of {name, value, unit, aa_low, aa_high}
        #[arg(long, value_name = "FILE")]
        json: Option<PathBuf>,
    },
    /// The hosted form beside glibc alone and beside the no_std form
    Hosted {
        /// Also write the rows there, as a list of {name, value, unit, aa_low, aa_high}
        #[arg(long, value_name = "FILE")]
        json: Option<PathBuf>,
    },
    /// Per-vCPU data in each mode: increments, caches, many threads
    Data {
        /// Also write the rows there, as a list of {name, value, unit, aa_low, aa_high}
        #[arg(long, value_name = "FILE")]
        json: Option<PathBuf>,
        /// Also write the thread-scaling picture there
        #[arg(long, value_name = "FILE")]
        svg: Option<PathBuf>,
    },
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Demo { files } => demo::run(&files),
        Command::Test => test::run(),
        Command::Bench {
            suite: Suite::Foundation { json },
        } => bench::foundation(json.as_deref()),
        Command::Bench {
            suite: Suite::Hosted { json },
        } => bench::hosted(json.as_deref()),
        Command::Bench {
            suite: Suite::Data { json, svg },
        } => bench::data(json.as_deref(), svg.as_deref()),
        Command::Kernel { command } => kernel::run(&command),
        Command::Conformance { full } => conformance::run(kernel::Extent::of(full)),
        Command::Dist => dist::run().map(|()| ExitCode::SUCCESS),
    };
    result.unwrap_or_else(|error| {
        eprintln!("cargo xtask: {error:#}");
        ExitCode::FAILURE
    })
}
