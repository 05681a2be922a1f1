// SPDX-License-Identifier: MIT OR Apache-2.0
//! The guest's plan for the kernel's own selftests.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::matrix::{self, Run};

/// How much of rseq's matrix runs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Extent {
    /// Each kind of run, with few repetitions.
    Reduced,
    /// What run_param_test.sh does: hours under emulation.
    Whole,
}

impl Extent {
    /// The whole of it, or not.
    pub fn of(whole: bool) -> Self {
        if whole { Self::Whole } else { Self::Reduced }
    }

    fn repetitions(self) -> u32 {
        match self {
            Self::Reduced => 20,
            Self::Whole => 1000,
        }
    }
}

/// Keeps glibc from registering rseq, where the test wants to do it: 7.3's scripts set it.
const WITHOUT_GLIBC: &str = "GLIBC_TUNABLES=glibc.pthread.rseq=0";

/// Programs that register rseq themselves and skip, or fail, where glibc has done so.
const REGISTER: [&str; 4] = [
    "check_optimized",
    "legacy_check",
    "slice_test",
    "syscall_errors_test",
];

/// Programs that do not belong into each run and have no arguments to change that.
/// In the first two, 200 threads spin on locks whose holders are preempted, for minutes; `param_test`
/// has the same tests with fewer. The third one fails where a thread waits for 200 ms, which tells
/// how busy the host is.
const SELDOM: [&str; 3] = [
    "basic_percpu_ops_test",
    "basic_percpu_ops_mm_cid_test",
    "membarrier_rseq_stress",
];

/// run_param_test.sh has six for each processor.
const HOST_THREADS: u32 = 12;

/// Seconds after which a program is killed.
const LIMIT: u32 = 600;

/// The plan for the programs in `SUITE/` of a directory, which lies at /kselftest in the guest.
/// The guest has so many processors.
pub fn plan(programs: &Path, processors: u32, extent: Extent) -> Result<String> {
    let mut plan = String::new();
    // The dynamic programs are for plans with the libraries.
    let suites = names(programs)?;
    for suite in suites.into_iter().filter(|suite| suite != super::DYNAMIC) {
        let names = names(&programs.join(&suite))?;
        plan += &suite_plan(&suite, &names, processors, extent);
    }
    Ok(plan)
}

/// A run on the machine itself.
pub struct HostRun {
    /// The file's name.
    pub program: String,
    /// Separated by spaces.
    pub arguments: String,
    /// Whether the program registers rseq itself.
    pub registers: bool,
}

/// The runs of rseq's programs for the machine itself, without those that sleep at each injection
/// point.
pub fn host_runs(names: &BTreeSet<String>, extent: Extent) -> Vec<HostRun> {
    let single = names.iter().filter(|name| {
        !name.starts_with("param_test") && (extent == Extent::Whole || !SELDOM.contains(&&***name))
    });
    let single = single.map(|name| HostRun {
        program: name.clone(),
        arguments: String::new(),
        registers: REGISTER.contains(&name.as_str()),
    });
    // 7.3's `param_test` refuses to run where somebody else registered; its benchmarks do not. The running
    // kernel decides what is optimized, so what `-L` changes is not asked of it.
    let registers = names.contains("check_optimized");
    let matrix = matrix::runs(extent, false)
        .into_iter()
        .map(|run| (run, registers));
    let benchmarks = matrix::benchmarks().into_iter().map(|run| (run, false));
    let matrix = matrix
        .chain(benchmarks)
        .filter(|(run, _)| !run.arguments.contains("-s "))
        .map(|(run, registers)| HostRun {
            arguments: format!(
                "{} -r {} -t {HOST_THREADS}",
                run.arguments,
                extent.repetitions()
            ),
            program: run.program,
            registers,
        });
    let mut runs: Vec<HostRun> = single.chain(matrix).collect();
    // What spins for minutes comes last.
    runs.sort_by_key(|run| SELDOM.contains(&run.program.as_str()));
    runs
}

fn suite_plan(suite: &str, names: &BTreeSet<String>, processors: u32, extent: Extent) -> String {
    let (matrix, others): (Vec<_>, Vec<_>) = names
        .iter()
        .map(String::as_str)
        .partition(|name| name.starts_with("param_test"));
    let others = others
        .into_iter()
        .filter(|name| extent == Extent::Whole || !SELDOM.contains(name));
    let mut plan: String = others
        .map(|name| line(suite, name, "", environment(REGISTER.contains(&name))))
        .collect();
    if matrix.is_empty() {
        return plan;
    }
    // A kernel that has the program has the mode as well.
    let optimized = names.contains("check_optimized");
    let benchmarks = matrix
        .into_iter()
        .filter(|name| name.ends_with("_benchmark"))
        .map(|program| Run {
            program: program.to_owned(),
            arguments: String::new(),
        });
    for run in benchmarks.chain(matrix::runs(extent, optimized)) {
        // The number of threads is the script's.
        let amount = format!("-r {} -t {}", extent.repetitions(), 6 * processors);
        let arguments = format!("{} {amount}", run.arguments);
        plan += &line(suite, &run.program, &arguments, environment(optimized));
    }
    plan
}

/// One case. Its name has the arguments in it, so that it differs from others of the program.
fn line(suite: &str, program: &str, arguments: &str, environment: &str) -> String {
    let words: Vec<&str> = arguments.split_whitespace().collect();
    let name: String = words.iter().map(|word| format!("_{word}")).collect();
    let arguments = words.join(" ");
    format!(
        "{suite}/{program}{name} {LIMIT} {environment} /kselftest/{suite}/{program} {arguments}\n"
    )
}

fn environment(registers: bool) -> &'static str {
    if registers { WITHOUT_GLIBC } else { "" }
}

/// The names in a directory, sorted.
fn names(directory: &Path) -> Result<BTreeSet<String>> {
    let entries = fs::read_dir(directory).with_context(|| directory.display().to_string())?;
    entries
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{Extent, host_runs, suite_plan};
    use crate::kernel::plan::Plan;

    fn lines(names: &[&str], extent: Extent) -> Vec<String> {
        let names = names.iter().map(|&name| name.to_owned()).collect();
        let plan = suite_plan("rseq", &names, 2, extent);
        // The names of cases are unique, and every line is one.
        let plan = Plan::parse(&plan).unwrap().text(1);
        plan.lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_case_for_each_program_and_each_run_of_the_matrix() {
        let programs = ["basic_test", "param_test", "param_test_benchmark"];
        let plan = lines(&programs, Extent::Reduced);
        assert_eq!(plan.len(), 1 + 1 + 32 + 36);
        assert_eq!(plan[0], "rseq/basic_test 600 /kselftest/rseq/basic_test");
        let run =
            "rseq/param_test_-T_s_-r_20_-t_12 600 /kselftest/rseq/param_test -T s -r 20 -t 12";
        assert!(plan.iter().any(|line| line == run), "{plan:#?}");
    }

    #[test]
    fn glibc_does_not_register_where_the_test_does() {
        let programs = ["basic_test", "check_optimized", "param_test"];
        let plan = lines(&programs, Extent::Reduced);
        assert_eq!(plan.len(), 2 + 32 + 63);
        let without = |line: &&String| line.contains("GLIBC_TUNABLES=glibc.pthread.rseq=0 /");
        assert_eq!(plan.iter().filter(without).count(), plan.len() - 1);
    }

    #[test]
    fn what_is_slow_is_for_the_whole() {
        let programs = ["basic_percpu_ops_test", "basic_test"];
        assert_eq!(lines(&programs, Extent::Reduced).len(), 1);
        assert_eq!(lines(&programs, Extent::Whole).len(), 2);
    }

    #[test]
    fn what_spins_for_minutes_comes_last() {
        let names = ["basic_percpu_ops_test", "basic_test", "param_test"];
        let names = names.into_iter().map(str::to_owned).collect();
        let runs = host_runs(&names, Extent::Whole);
        let place = |name| runs.iter().position(|run| run.program == name).unwrap();
        assert_eq!(place("basic_percpu_ops_test"), runs.len() - 1);
        assert_eq!(place("basic_test"), 0);
    }
}
