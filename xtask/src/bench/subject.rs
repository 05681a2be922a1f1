// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is measured: a program, what it is told, and in which mode of the runtime.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::statistics::Random;
use crate::command::output;

/// The mode that a program is made to run in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// The kernel loads the GS base, or the program does (see `data/gs.rs`).
    Gs,
    /// By sections and mm_cid.
    Rseq,
    /// By locked instructions.
    Shared,
}

impl Mode {
    /// As the runtime has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gs => "gs",
            Self::Rseq => "rseq-mm_cid",
            Self::Shared => "shared",
        }
    }

    fn environment(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Gs => &[("VCPU_RT_GS", "on")],
            Self::Rseq => &[("VCPU_RT_GS", "off")],
            Self::Shared => &[("VCPU_RT_GS", "off"), ("VCPU_RT_RSEQ", "off")],
        }
    }
}

/// A program with its arguments and its environment.
#[derive(Clone)]
pub struct Subject {
    /// Its file.
    pub program: PathBuf,
    arguments: Vec<String>,
    environment: Vec<(OsString, OsString)>,
}

impl Subject {
    /// A program that is told nothing.
    pub fn new(program: &Path) -> Self {
        Self {
            program: program.into(),
            arguments: Vec::new(),
            environment: Vec::new(),
        }
    }

    /// A program on the runtime, which checks that it is in this mode.
    pub fn in_mode(program: &Path, mode: Mode) -> Self {
        let subject = Self::new(program).with(mode.name());
        let entries = mode.environment().iter();
        entries.fold(subject, |subject, (name, value)| subject.env(name, value))
    }

    /// One more entry of the environment.
    #[must_use]
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// One more argument.
    #[must_use]
    pub fn with(mut self, argument: impl ToString) -> Self {
        self.arguments.push(argument.to_string());
        self
    }

    /// Runs it, and returns the numbers that it prints line by line.
    pub fn numbers(&self) -> Result<Vec<Vec<f64>>> {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments);
        command.envs(self.environment.iter().cloned());
        let printed = output(&mut command)?;
        let numbers = |line: &str| line.split_whitespace().map(str::parse).collect();
        let lines = printed.lines().map(numbers).collect::<Result<_, _>>();
        lines.with_context(|| format!("{} printed {printed:?}", self.program.display()))
    }
}

/// Runs every subject once a round, in an order that changes from round to round, and returns what each
/// measured.
pub fn alternate<T>(
    subjects: &[Subject],
    rounds: usize,
    measure: impl Fn(&Subject) -> Result<T>,
) -> Result<Vec<Vec<T>>> {
    let mut random = Random::new();
    let mut results: Vec<Vec<T>> = subjects
        .iter()
        .map(|_| Vec::with_capacity(rounds))
        .collect();
    let mut order: Vec<usize> = (0..subjects.len()).collect();
    for _ in 0..rounds {
        random.shuffle(&mut order);
        for &subject in &order {
            results[subject].push(measure(&subjects[subject])?);
        }
    }
    Ok(results)
}
