// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the kernel's own selftests said on one kernel, and whether another says the same.

use std::collections::BTreeMap;

use super::GS_MODE_ON;

/// The results of a boot, by case.
#[derive(Debug, Default)]
pub struct Results(BTreeMap<String, Case>);

/// How a case compares with the reference.
#[derive(Debug, PartialEq)]
pub enum Verdict {
    /// As there.
    Same,
    /// Neither could run it; the reason.
    Skipped(String),
    /// In another way; how.
    Differs(String),
}

/// What one program said.
#[derive(Debug, Default, PartialEq)]
struct Case {
    /// What init reports: `passed`, `FAILED: exit status 1`, `SKIP: reason`.
    outcome: String,
    /// The lines about parts of the test, sorted: some are printed by concurrent processes.
    parts: Vec<String>,
}

impl Results {
    /// Reads a console.
    pub fn read(console: &str) -> Self {
        let mut results = Self::default();
        let mut parts = Vec::new();
        for line in console.lines().map(|line| line.trim_end_matches('\r')) {
            if line.starts_with("== ") {
                parts.clear();
            } else if let Some((name, outcome)) =
                line.strip_prefix("-- ").and_then(|it| it.split_once(": "))
            {
                let mut parts = std::mem::take(&mut parts);
                parts.sort();
                let outcome = outcome.to_owned();
                results.0.insert(name.to_owned(), Case { outcome, parts });
            } else if is_part(line) {
                parts.push(without_numbers(line));
            }
        }
        results
    }

    /// Whether a case was reported.
    pub fn has(&self, case: &str) -> bool {
        self.0.contains_key(case)
    }

    /// Each case of these results. With the mode on it has to be what it is on the reference
    /// without. A case that `reference` lacks has to pass.
    pub fn compare(&self, reference: &Self) -> Vec<(String, Verdict)> {
        let compare = |(name, case): (&String, &Case)| {
            let difference = match reference.0.get(&name.replace(GS_MODE_ON, "")) {
                Some(reference) => case.difference(reference),
                None if case.outcome == "passed" => None,
                None => Some(case.outcome.clone()),
            };
            let verdict = match (difference, case.outcome.strip_prefix("SKIP: ")) {
                (Some(how), _) => Verdict::Differs(how),
                (None, Some(reason)) => Verdict::Skipped(reason.to_owned()),
                (None, None) => Verdict::Same,
            };
            (name.clone(), verdict)
        };
        self.0.iter().map(compare).collect()
    }
}

impl Case {
    fn difference(&self, reference: &Self) -> Option<String> {
        if self.outcome != reference.outcome {
            return Some(format!("{}, was: {}", self.outcome, reference.outcome));
        }
        let only_in = |one: &Self, other: &Self| {
            let lacks = |part: &&String| !other.parts.contains(part);
            one.parts.iter().find(lacks).cloned()
        };
        if let Some(part) = only_in(self, reference) {
            Some(format!("new: {part}"))
        } else if let Some(part) = only_in(reference, self) {
            Some(format!("gone: {part}"))
        } else if self.parts != reference.parts {
            Some("parts ran another number of times".to_owned())
        } else {
            None
        }
    }
}

/// Whether a line tells of a part: by TAP, or as the older tests of x86 do.
fn is_part(line: &str) -> bool {
    let starts = ["ok ", "not ok ", "[OK]", "[FAIL]", "[SKIP]"];
    starts.iter().any(|start| line.starts_with(start))
}

/// Process ids and times differ from run to run.
fn without_numbers(line: &str) -> String {
    let mut text = String::new();
    for character in line.chars() {
        if !character.is_ascii_digit() {
            text.push(character);
        } else if !text.ends_with('#') {
            text.push('#');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{Results, Verdict};

    const STOCK: &str = "\
== clone3/clone3\r
# [80] Trying clone3()\r
ok 1 [80] Result (0) matches expectation (0)\r
not ok 2 [81] Result (-22)\r
-- clone3/clone3: FAILED: exit status 1\r
== x86/fsgsbase_64
[OK]\tGSBASE remained 0
-- x86/fsgsbase_64: passed
== rseq/slice_test
-- rseq/slice_test: SKIP: no slices
";

    fn differences(console: &str) -> Vec<String> {
        let compared = Results::read(console).compare(&Results::read(STOCK));
        let differing = |(name, verdict): (String, Verdict)| match verdict {
            Verdict::Differs(how) => Some(format!("{name}: {how}")),
            _ => None,
        };
        compared.into_iter().filter_map(differing).collect()
    }

    #[test]
    fn process_ids_may_differ() {
        let console = STOCK.replace("[80]", "[1234]").replace('\r', "");
        assert_eq!(Results::read(&console).0.len(), 3);
        assert_eq!(differences(&console), [""; 0]);
    }

    #[test]
    fn with_the_mode_on_all_is_as_without() {
        let on = STOCK.replace("clone3/", "clone3-with-gs-mode/");
        assert_eq!(differences(&on), [""; 0]);
        assert_eq!(differences(&on.replace("not ok 2", "ok 2")).len(), 1);
    }

    #[test]
    fn outcomes_and_parts_may_not() {
        let changed = [
            ("clone3: FAILED: exit status 1", "clone3: FAILED: signal 6"),
            ("not ok 2", "ok 2"),
            ("[OK]\tGSBASE remained 0", "[FAIL]\tGSBASE remained 0"),
            ("[OK]\tGSBASE remained 0\n", ""),
            ("SKIP: no slices", "passed"),
        ];
        for (from, to) in changed {
            assert!(STOCK.contains(from));
            let found = differences(&STOCK.replace(from, to));
            assert_eq!(found.len(), 1, "{from:?} to {to:?}: {found:?}");
        }
    }

    #[test]
    fn what_neither_can_run_is_skipped() {
        let stock = Results::read(STOCK);
        let slice = (
            "rseq/slice_test".to_owned(),
            Verdict::Skipped("no slices".into()),
        );
        assert!(stock.compare(&stock).contains(&slice));
    }

    #[test]
    fn what_the_reference_lacks_has_to_pass() {
        assert_eq!(differences("-- x86/gs_mode_64: passed"), [""; 0]);
        assert_eq!(
            differences("-- x86/gs_mode_64: SKIP: no mm_cid"),
            ["x86/gs_mode_64: SKIP: no mm_cid"]
        );
    }
}
