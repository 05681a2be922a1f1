// SPDX-License-Identifier: MIT OR Apache-2.0
//! Counts what passed, failed and was skipped. A skipped test is one that said why it cannot run
//! on this machine; where CI=true only those that xtask/expected-skips.txt names may.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, ExitCode, Stdio};
use std::{env, fs, io};

use anyhow::{Context, Result};

use crate::command::{root, run};

const EXPECTED_SKIPS: &str = "xtask/expected-skips.txt";

/// The sum over all checks. A command that checks one thing counts as one.
#[derive(Default)]
pub struct Tally {
    passed: u64,
    failures: Vec<String>,
    /// Each as `name: reason`.
    skips: BTreeSet<String>,
}

/// What the lines of test programs say.
#[derive(Default, Debug, PartialEq)]
struct Lines {
    passed: u64,
    ignored: u64,
    failed: Vec<String>,
    skips: Vec<String>,
}

impl Tally {
    /// Runs a command that passes or fails as a whole.
    pub fn check(&mut self, name: &str, command: &mut Command) {
        println!("\n== {name}");
        match run(command) {
            Ok(()) => self.passed += 1,
            Err(error) => self.failed(format!("{name}: {error:#}")),
        }
    }

    /// Runs a command that runs tests; its output passes through while it is counted.
    pub fn tests(&mut self, name: &str, command: &mut Command) -> Result<()> {
        println!("\n== {name}");
        let mut child = command
            .stdout(Stdio::piped())
            .spawn()
            .context(name.to_owned())?;
        let mut lines = Lines::default();
        for line in BufReader::new(child.stdout.take().expect("piped")).split(b'\n') {
            let line = line?;
            let line = String::from_utf8_lossy(&line);
            writeln!(io::stdout(), "{line}")?;
            lines.read(&line);
        }
        let status = child.wait()?;
        if !status.success() && lines.failed.is_empty() {
            lines.failed.push(format!("{name}: {status}"));
        }
        let Lines {
            passed,
            ignored,
            failed,
            skips,
        } = lines;
        self.passed += passed;
        self.failures.extend(failed);
        if ignored != skips.len() as u64 {
            self.failed(format!(
                "{name}: {ignored} tests were ignored, but seen were {skips:?}"
            ));
        }
        self.skips.extend(skips);
        Ok(())
    }

    /// Runs checks of which the preparation may fail too.
    pub fn group(&mut self, name: &str, checks: impl FnOnce(&mut Self) -> Result<()>) {
        if let Err(error) = checks(self) {
            self.failed(format!("{name}: {error:#}"));
        }
    }

    /// Counts a check that passed.
    pub fn passed(&mut self) {
        self.passed += 1;
    }

    /// Counts a check that cannot run here, and why.
    pub fn skipped(&mut self, name: &str, reason: &str) {
        self.skips.insert(format!("{name}: {reason}"));
    }

    /// Counts a check that failed, and how.
    pub fn failed(&mut self, what: String) {
        println!("FAILED: {what}");
        self.failures.push(what);
    }

    /// Prints the lists and the counts. An unexpected skip is a failure where CI=true.
    pub fn finish(mut self) -> Result<ExitCode> {
        println!();
        if env::var_os("CI").is_some_and(|value| value == "true") {
            let path = root().join(EXPECTED_SKIPS);
            let expected = fs::read_to_string(&path).context(EXPECTED_SKIPS)?;
            for skip in self
                .skips
                .iter()
                .filter(|skip| !expected.lines().any(|line| line == **skip))
            {
                self.failures.push(format!(
                    "skipped, which {EXPECTED_SKIPS} does not name: {skip}"
                ));
            }
        }
        for skip in &self.skips {
            println!("SKIP    {skip}");
        }
        for failure in &self.failures {
            println!("FAILED  {failure}");
        }
        let (failed, skipped) = (self.failures.len(), self.skips.len());
        println!("{} passed, {failed} failed, {skipped} skipped", self.passed);
        Ok(if failed == 0 {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }
}

impl Lines {
    /// Takes in one line of a test program: of libtest, or of our cases, whose kind says SKIP.
    fn read(&mut self, line: &str) {
        if let Some(result) = line.strip_prefix("test result: ") {
            self.passed += count(result, "passed");
            self.ignored += count(result, "ignored");
        } else if let Some(test) = line.strip_prefix("test ") {
            if let Some(name) = test.trim_end().strip_suffix(" ... FAILED") {
                self.failed.push(name.trim_end().to_owned());
            } else if let Some((name, reason)) = test.split_once(" ... ignored") {
                let name = name.trim_end();
                let skip = match name
                    .strip_prefix("[SKIP: ")
                    .and_then(|rest| rest.rsplit_once("] "))
                {
                    Some((reason, name)) => format!("{}: {reason}", name.trim_start()),
                    None if reason.is_empty() => format!("{name}: no reason given"),
                    None => format!("{name}: {}", reason.trim_start_matches(", ")),
                };
                self.skips.push(skip);
            }
        }
    }
}

/// The number before a word, in libtest's `ok. 3 passed; 0 failed; 1 ignored; ...`.
fn count(result: &str, word: &str) -> u64 {
    let words: Vec<&str> = result.split([' ', ';']).collect();
    let place = words.iter().position(|&other| other == word);
    place
        .and_then(|place| words.get(place.checked_sub(1)?)?.parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::Lines;

    #[test]
    fn the_lines_of_libtest_and_of_our_cases() {
        let mut lines = Lines::default();
        for line in [
            "running 5 tests",
            "test auxv::stops_at_the_end ... ok",
            "test tunables::stride ... FAILED",
            "test slow ... ignored, takes an hour",
            "test bare ... ignored",
            "test [SKIP: no /dev/kvm] old_kernel::boots    ... ignored",
            "test result: FAILED. 1 passed; 1 failed; 3 ignored; 0 measured; 0 filtered out",
        ] {
            lines.read(line);
        }
        let expected = Lines {
            passed: 1,
            ignored: 3,
            failed: vec!["tunables::stride".into()],
            skips: vec![
                "slow: takes an hour".into(),
                "bare: no reason given".into(),
                "old_kernel::boots: no /dev/kvm".into(),
            ],
        };
        assert_eq!(lines, expected);
    }
}
