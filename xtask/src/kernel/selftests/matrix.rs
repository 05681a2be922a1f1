// SPDX-License-Identifier: MIT OR Apache-2.0
//! What rseq's run_param_test.sh runs, as a list: it is a script for bash, which no guest has.

use super::plan::Extent;

/// The programs of which each runs each test.
const PROGRAMS: [&str; 4] = [
    "param_test",
    "param_test_compare_twice",
    "param_test_mm_cid",
    "param_test_mm_cid_compare_twice",
];

/// The tests: spinlock, list, buffer, buffer with barrier, memcpy, memcpy with barrier, increment,
/// membarrier.
const TESTS: [&str; 8] = ["s", "l", "b", "b -M", "m", "m -M", "i", "r"];

/// How a thread is delayed at an injection point: by yielding, a signal, or a sleep of 1 ms.
const DELAYS: [&str; 3] = ["-y", "-k", "-s 1"];

/// One run: a program of rseq's and its arguments, but for repetitions and threads.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// One of `PROGRAMS`.
    pub program: String,
    /// Separated by spaces.
    pub arguments: String,
}

/// The matrix. `optimized`: the kernel has rseq's optimized mode, and the delays are injected both
/// with it and, by `-L`, without; older programs do not know the option.
///
/// Reduced, each test of each program runs without injection, and with each injection only one test
/// of one program, such that every test and every program has its turn.
pub fn runs(extent: Extent, optimized: bool) -> Vec<Run> {
    let mut runs = every_test("");
    for (index, injection) in injections(optimized).iter().enumerate() {
        let mut injected = every_test(injection);
        if extent == Extent::Reduced {
            // 8 tests by 4 programs; 5 has no factor in common with 32.
            injected = vec![injected.swap_remove(index * 5 % injected.len())];
        }
        runs.append(&mut injected);
    }
    runs
}

/// The tests without injection points, in the programs that have none.
pub fn benchmarks() -> Vec<Run> {
    every_test_of(&["param_test_benchmark", "param_test_mm_cid_benchmark"], "")
}

fn every_test(injection: &str) -> Vec<Run> {
    every_test_of(&PROGRAMS, injection)
}

fn every_test_of(programs: &[&str], injection: &str) -> Vec<Run> {
    let run = |test: &str, program: &&str| Run {
        program: (*program).to_owned(),
        arguments: format!("-T {test} {injection}").trim_end().to_owned(),
    };
    TESTS
        .iter()
        .flat_map(|test| programs.iter().map(move |program| run(test, program)))
        .collect()
}

/// Points 1 to 9 with 10,000 loops, then points 7 to 9 with each delay, once in 4, 2 and 1 times.
fn injections(optimized: bool) -> Vec<String> {
    let mut injections: Vec<String> = (1..=9).map(|point| format!("-{point} 10000")).collect();
    let registrations: &[&str] = if optimized { &[" -L", ""] } else { &[""] };
    for registration in registrations {
        for delay in DELAYS {
            for modulo in [4, 2, 1] {
                for point in 7..=9 {
                    injections.push(format!("-{point} -1 -m {modulo} {delay}{registration}"));
                }
            }
        }
    }
    injections
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{PROGRAMS, Run, TESTS, runs};
    use crate::kernel::selftests::plan::Extent;

    /// The numbers that run_param_test.sh comes to in 6.12 and in 7.3.
    #[test]
    fn the_whole_matrix_has_what_the_script_has() {
        let tests = TESTS.len() * PROGRAMS.len();
        assert_eq!(runs(Extent::Whole, false).len(), tests * (1 + 9 + 27));
        assert_eq!(runs(Extent::Whole, true).len(), tests * (1 + 9 + 54));
    }

    #[test]
    fn the_reduced_matrix_has_every_injection_and_every_test_with_one() {
        let reduced = runs(Extent::Reduced, true);
        assert_eq!(reduced.len(), 32 + 9 + 54);
        let whole = runs(Extent::Whole, true);
        assert!(reduced.iter().all(|run| whole.contains(run)));
        let injected = &reduced[32..];
        let pair = |run: &Run| {
            let test = run.arguments.split(" -").next().map(str::to_owned);
            (test, run.arguments.contains("-M"), run.program.clone())
        };
        let pairs: BTreeSet<_> = injected.iter().map(pair).collect();
        assert_eq!(pairs.len(), 32);
    }
}
