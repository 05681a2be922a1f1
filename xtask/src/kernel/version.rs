// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which kernel is meant: the version, with or without the series, for use or for debugging.

use std::fmt;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

/// The versions that a series exists for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Linux {
    /// The longterm kernel.
    #[value(name = "6.12")]
    V6_12,
    /// The one with per-CPU ownership of concurrency ids.
    #[value(name = "7.3")]
    V7_3,
}

/// One kernel.
#[derive(Args, Clone, Debug)]
pub struct Selection {
    /// The kernel's version
    #[arg(long)]
    pub linux: Linux,
    /// Without the series of kernel/
    #[arg(long)]
    pub stock: bool,
    /// With KASAN, lockdep and the other checkers of kernel/config/debug.config
    #[arg(long)]
    pub debug: bool,
    /// A further configuration fragment, such as kernel/config/without-smp.config
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Take this source tree (it is copied) instead of Debian's package
    #[arg(long, value_name = "DIR")]
    pub source: Option<PathBuf>,
}

impl Selection {
    /// Debian's source with the series, for use.
    pub fn of(linux: Linux) -> Self {
        Self {
            linux,
            stock: false,
            debug: false,
            config: None,
            source: None,
        }
    }
}

impl fmt::Display for Linux {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::V6_12 => "6.12",
            Self::V7_3 => "7.3",
        })
    }
}

/// As a file name shows it: `linux-6.12-stock-debug`.
impl fmt::Display for Selection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let series = if self.stock { "stock" } else { "gs" };
        let debug = if self.debug { "-debug" } else { "" };
        write!(formatter, "linux-{}-{series}{debug}", self.linux)?;
        match self.config.as_deref().and_then(Path::file_stem) {
            None => Ok(()),
            Some(name) => write!(formatter, "-{}", name.display()),
        }
    }
}
