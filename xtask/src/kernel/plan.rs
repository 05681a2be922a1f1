// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the guest's first process runs, `NAME SECONDS [KEY=VALUE ...] /PROGRAM [ARG ...]` a line,
//! and what it reported of that.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};

/// A plan.
pub struct Plan(Vec<Case>);

/// A line of it.
struct Case {
    name: String,
    seconds: u64,
    command: String,
}

/// How many of a failed case's last lines are shown.
const TAIL: usize = 10;

/// How a case of the plan ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// As it must.
    Passed,
    /// The guest lacks something; why.
    Skipped(String),
    /// In any other way; how, and the last lines that it printed.
    Failed(String),
    /// The guest said nothing about it: it ended before, or is not ours.
    Unreported,
}

impl Plan {
    /// Reads files as one plan.
    pub fn read(paths: impl Iterator<Item = PathBuf>) -> Result<Self> {
        let mut text = String::new();
        for path in paths {
            text += &fs::read_to_string(&path)
                .with_context(|| format!("cannot read {}", path.display()))?;
        }
        Self::parse(&text)
    }

    /// Reads a plan's text.
    pub fn parse(text: &str) -> Result<Self> {
        let mut names = BTreeSet::new();
        let mut cases = Vec::new();
        for line in text.lines().map(str::trim) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let case = case(line).with_context(|| format!("no case: {line}"))?;
            ensure!(names.insert(case.name.clone()), "twice: {}", case.name);
            cases.push(case);
        }
        ensure!(!cases.is_empty(), "a plan without a case");
        Ok(Self(cases))
    }

    /// The text for the guest, with each time limit multiplied.
    pub fn text(&self, factor: u64) -> String {
        let line = |case: &Case| {
            let seconds = case.seconds * factor;
            format!("{} {seconds} {}\n", case.name, case.command)
        };
        self.0.iter().map(line).collect()
    }

    /// The seconds that all cases together may take, and the longest one.
    pub fn seconds(&self) -> (u64, u64) {
        let seconds = || self.0.iter().map(|case| case.seconds);
        (seconds().sum(), seconds().max().unwrap_or(0))
    }

    /// Whether a case names a path below this directory.
    pub fn mentions(&self, directory: &str) -> bool {
        let mut words = self.0.iter().flat_map(|case| case.command.split(' '));
        words.any(|word| word.starts_with(directory))
    }

    /// What the console says about each case; one that it reports twice has failed.
    pub fn outcomes(&self, console: &str) -> Vec<(String, Outcome)> {
        let outcome = |case: &Case| {
            let mut reports = console.lines().filter_map(|line| {
                let rest = line.strip_prefix("-- ")?.strip_prefix(&case.name)?;
                rest.strip_prefix(": ")
            });
            let outcome = match (reports.next(), reports.next()) {
                (Some("passed"), None) => Outcome::Passed,
                (Some(report), None) => match report.strip_prefix("SKIP: ") {
                    Some(reason) => Outcome::Skipped(reason.to_owned()),
                    None => {
                        let how = report.strip_prefix("FAILED: ").unwrap_or(report);
                        Outcome::Failed(how.to_owned())
                    }
                },
                (None, _) => Outcome::Unreported,
                (Some(_), Some(_)) => Outcome::Failed("the guest reported it twice".into()),
            };
            let outcome = match outcome {
                Outcome::Failed(how) => Outcome::Failed(how + &tail(&case.name, console)),
                other => other,
            };
            (case.name.clone(), outcome)
        };
        self.0.iter().map(outcome).collect()
    }
}

/// The last lines that a case printed, each after a line break.
fn tail(name: &str, console: &str) -> String {
    let mut lines = console.lines();
    let start = format!("== {name}");
    if !lines.any(|line| line == start) {
        return String::new();
    }
    let lines: Vec<&str> = lines
        .take_while(|line| !line.starts_with("-- ") && !line.starts_with("== "))
        .collect();
    let last = &lines[lines.len().saturating_sub(TAIL)..];
    last.iter().map(|line| format!("\n    {line}")).collect()
}

fn case(line: &str) -> Option<Case> {
    let (name, rest) = line.split_once(' ')?;
    let (seconds, command) = rest.trim_start().split_once(' ')?;
    let seconds = seconds.parse().ok()?;
    let mut words = command.split_whitespace();
    let program = words.find(|word| word.starts_with('/') || !word.contains('='))?;
    (seconds > 0 && program.starts_with('/')).then(|| Case {
        name: name.to_owned(),
        seconds,
        command: command.trim_start().to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::{Outcome, Plan};

    const TEXT: &str = "# a comment\n\nerrors 10 /bin/errors\nsums 60 A=/x B=2 /bin/sums 8 /y\n";

    #[test]
    fn cases_have_a_name_a_limit_and_a_program() {
        let plan = Plan::parse(TEXT).unwrap();
        assert_eq!(
            plan.text(3),
            "errors 30 /bin/errors\nsums 180 A=/x B=2 /bin/sums 8 /y\n"
        );
        assert_eq!(plan.seconds(), (70, 60));
        assert!(plan.mentions("/bin/") && !plan.mentions("/kselftest/"));
        for bad in [
            "",
            "a /bin/a",
            "a 0 /bin/a",
            "a 5 bin/a",
            "a 5 A=1",
            "a 5 /b\na 5 /c",
        ] {
            assert!(Plan::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn each_case_is_reported_once() {
        let plan = Plan::parse("a 1 /p\nb 1 /p\nc 1 /p\nd 1 /p\ne 1 /p\naa 1 /p\n").unwrap();
        let console = "== a\n-- a: passed\n== b\nwhy\n-- b: FAILED: exit status 3\n-- c: SKIP: no KVM\n\
                       -- d: passed\n-- d: passed\n-- aa: what\n";
        let failed = |how: &str| Outcome::Failed(how.into());
        let expected = [
            ("a", Outcome::Passed),
            ("b", failed("exit status 3\n    why")),
            ("c", Outcome::Skipped("no KVM".into())),
            ("d", failed("the guest reported it twice")),
            ("e", Outcome::Unreported),
            ("aa", failed("what")),
        ]
        .map(|(name, outcome)| (name.to_owned(), outcome));
        assert_eq!(plan.outcomes(console), expected);
    }
}
