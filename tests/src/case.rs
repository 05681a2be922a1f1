// SPDX-License-Identifier: MIT OR Apache-2.0
//! A test case with its needs. A case whose need is not met is reported by the harness as
//! ignored, under the kind `SKIP: reason`; it never counts as passed.

use std::fmt::Display;

use libtest_mimic::{Arguments, Failed, Trial};

/// One test: a name, what it needs of the machine, and its body.
pub struct Case {
    name: String,
    missing: Option<String>,
    body: Box<dyn FnOnce() -> Result<(), Failed> + Send>,
}

impl Case {
    /// A case that runs everywhere. The body fails by panicking or by returning an error.
    pub fn new<E: Display>(
        name: impl Into<String>,
        body: impl FnOnce() -> Result<(), E> + Send + 'static,
    ) -> Self {
        Self {
            name: name.into(),
            missing: None,
            body: Box::new(|| body().map_err(|error| Failed::from(error.to_string()))),
        }
    }

    /// Skips the case, with the reason, when `need` is an error.
    #[must_use]
    pub fn needs(mut self, need: Result<(), String>) -> Self {
        self.missing = self.missing.or(need.err());
        self
    }

    fn into_trial(self) -> Trial {
        let trial = Trial::test(self.name, self.body);
        match self.missing {
            Some(reason) => trial
                .with_kind(format!("SKIP: {reason}"))
                .with_ignored_flag(true),
            None => trial,
        }
    }
}

/// Runs the cases as `cargo test` expects it and exits.
pub fn run(cases: Vec<Case>) -> ! {
    let trials = cases.into_iter().map(Case::into_trial).collect();
    libtest_mimic::run(&Arguments::from_args(), trials).exit()
}
