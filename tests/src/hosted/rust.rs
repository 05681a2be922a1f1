// SPDX-License-Identifier: MIT OR Apache-2.0
//! The program `hosted_rust`, of the package `vcpu-test-hosted`, built as users build one: with std, for the C
//! library of the toolchain.

use std::fmt;
use std::path::PathBuf;

use crate::header;
use crate::programs::{cargo, target_directory};

/// How it is built.
#[derive(Clone, Copy, Debug)]
pub enum Build {
    /// `cargo build`.
    Dev,
    /// `cargo build --release`.
    Release,
    /// The same with `-Crelocation-model=static`.
    Fixed,
}

/// All of them.
pub const BUILDS: [Build; 3] = [Build::Dev, Build::Release, Build::Fixed];

impl Build {
    /// Builds it, and returns its path.
    pub fn program(self) -> Result<PathBuf, String> {
        self.build(&["build", "--bin", "hosted_rust"], "hosted_rust")
    }

    /// The same of the package's shared object.
    pub fn plugin(self) -> Result<PathBuf, String> {
        let what = ["rustc", "--lib", "--crate-type", "cdylib"];
        self.build(&what, "libhosted_plugin.so")
    }

    fn build(self, what: &[&str], file: &str) -> Result<PathBuf, String> {
        let mut target = target_directory()?;
        let mut build = cargo();
        build.args(what);
        build.args(["--offline", "--quiet", "--package", "vcpu-test-hosted"]);
        if !matches!(self, Self::Dev) {
            build.arg("--release");
        }
        if matches!(self, Self::Fixed) {
            // A directory of its own, or each build would undo the other.
            target.push("hosted/fixed");
            build.args([
                "--config",
                r#"build.rustflags=["-Crelocation-model=static"]"#,
            ]);
        }
        header::run(build.env("CARGO_TARGET_DIR", &target))?;
        let profile = match self {
            Self::Dev => "debug",
            Self::Release | Self::Fixed => "release",
        };
        Ok(target.join(profile).join(file))
    }
}

impl fmt::Display for Build {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Dev => "dev",
            Self::Release => "release",
            Self::Fixed => "fixed",
        })
    }
}
