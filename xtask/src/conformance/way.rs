// SPDX-License-Identifier: MIT OR Apache-2.0
//! The ways of the hosted form, as a program is made to run in them.

use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, ensure};

use crate::dist;

/// Keeps glibc from registering rseq.
pub const WITHOUT_GLIBC: (&str, &str) = ("GLIBC_TUNABLES", "glibc.pthread.rseq=0");

/// Seconds after which a program is ended.
const LIMIT: &str = "600";

/// Where Debian's programs are: another python3 on the user's PATH may have other tests.
pub const DEBIAN: &str = "/usr/bin:/bin:/usr/sbin:/sbin";

/// How a program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Without the library.
    Without,
    /// Without the library, and glibc does not register.
    Unregistered,
    /// On glibc's registration.
    Adopt,
    /// On ours, where glibc does not register.
    Own,
    /// On ours, after glibc's was undone.
    TakeOver,
    /// The library registers nothing; glibc does.
    Off,
    /// Nobody registers.
    OffUnregistered,
}

impl Way {
    /// In which a program has a registration from the library, or beside it.
    pub const REGISTERED: [Self; 4] = [Self::Adopt, Self::Own, Self::TakeOver, Self::Off];

    /// As docs/conformance.md has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Without => "without",
            Self::Unregistered => "without, rseq=0",
            Self::Adopt => "adopt",
            Self::Own => "own",
            Self::TakeOver => "take over",
            Self::Off => "off",
            Self::OffUnregistered => "off, rseq=0",
        }
    }

    fn has_library(self) -> bool {
        !matches!(self, Self::Without | Self::Unregistered)
    }

    fn environment(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Without => &[],
            Self::Unregistered => &[WITHOUT_GLIBC],
            Self::Adopt => &[("VCPU_RT_RSEQ", "adopt")],
            Self::Own => &[("VCPU_RT_RSEQ", "own"), WITHOUT_GLIBC],
            Self::TakeOver => &[("VCPU_RT_RSEQ", "own")],
            Self::Off => &[("VCPU_RT_RSEQ", "off")],
            Self::OffUnregistered => &[("VCPU_RT_RSEQ", "off"), WITHOUT_GLIBC],
        }
    }

    /// What each process must say of itself under VCPU_RT_DEBUG.
    fn report(self) -> &'static str {
        match self {
            Self::Without | Self::Unregistered => "",
            Self::Adopt => " rseq=adopted ",
            Self::Own => " rseq=registered ",
            Self::TakeOver => " rseq=taken over ",
            Self::Off | Self::OffUnregistered => " rseq=off ",
        }
    }

    /// Runs a program with its arguments to its end, and checks that every process of it was in this
    /// way.
    pub fn run(self, words: &[&str], directory: &Path) -> Result<Output> {
        let mut command = Command::new("timeout");
        command.args(["--kill-after=5", LIMIT]);
        if self.has_library() {
            // By env, so that `timeout` is no process of the program's.
            let mut preload = OsString::from("LD_PRELOAD=");
            preload.push(dist::shared_library());
            command.arg("env").arg(preload).arg("VCPU_RT_DEBUG=1");
        }
        for variable in [
            "GLIBC_TUNABLES",
            "LD_PRELOAD",
            "VCPU_RT_GS",
            "VCPU_RT_STRIDE",
        ] {
            command.env_remove(variable);
        }
        command
            .args(words)
            .current_dir(directory)
            .env("LC_ALL", "C.UTF-8")
            .env("PATH", DEBIAN)
            .envs(self.environment().iter().copied())
            .stdin(Stdio::null());
        let output = command.output().with_context(|| words.join(" "))?;
        if self.has_library() {
            self.check_report(&String::from_utf8_lossy(&output.stderr))?;
        }
        Ok(output)
    }

    fn check_report(self, stderr: &str) -> Result<()> {
        let mut lines = stderr
            .lines()
            .filter(|line| line.contains("vcpu-rt: mode="));
        let first = lines.next();
        ensure!(first.is_some(), "the library is not there: {stderr}");
        for line in first.into_iter().chain(lines) {
            ensure!(
                line.contains(self.report()),
                "not by way of {}: {line}",
                self.name()
            );
        }
        Ok(())
    }
}
