// SPDX-License-Identifier: MIT OR Apache-2.0
//! `cargo xtask kernel test`: the boots of the matrix, each case of their plans an entry of one
//! tally, and the kernel's own complaints failures.

use std::process::ExitCode;

use anyhow::{Result, ensure};

use super::boot::boot;
use super::build::{Kernel, build, build_with_tests};
use super::console::complaints;
use super::cost;
use super::guest::Guest;
use super::matrix::{BOOTS, Boot, HOSTED, KVM, STOCK, UNSUPPORTED};
use super::plan::{Outcome, Plan};
use super::selftests::{self, Extent};
use super::version::Selection;
use crate::command::root;
use crate::test::tally::Tally;

/// How much longer everything takes on a debug kernel.
const DEBUG_FACTOR: u64 = 8;

/// Runs the boots of a kernel, or one of them, and prints the tally.
pub fn run(selection: &Selection, only: Option<&str>, extent: Extent) -> Result<ExitCode> {
    let mut tally = Tally::default();
    boots(selection, only, extent, &mut tally)?;
    tally.finish()
}

/// One entry of the list that a kernel goes through.
enum Job {
    /// A boot of this kernel.
    Boot(&'static Boot),
    /// A boot of a kernel with this fragment added.
    With(&'static str, &'static Boot),
    /// The comparison with the stock kernel by instructions.
    Cost,
    /// The comparison with the stock kernel by its own selftests.
    Selftests,
}

/// Runs the boots of a kernel, or one of them.
pub fn boots(
    selection: &Selection,
    only: Option<&str>,
    extent: Extent,
    tally: &mut Tally,
) -> Result<()> {
    let mut jobs = jobs(selection, extent, only.is_some());
    if let Some(only) = only {
        jobs.retain(|job| job.name(selection) == only);
    }
    ensure!(!jobs.is_empty(), "no such boot of {selection}");
    let kernel = build_with_tests(selection)?;
    let guest = Guest::build()?;
    for job in jobs {
        let name = format!("{selection} {}", job.name(selection));
        tally.group(&name, |tally| match job {
            Job::Boot(boot) => one(&name, selection, boot, extent, &kernel, &guest, tally),
            Job::With(fragment, boot) => {
                let fragment = format!("kernel/config/{fragment}.config");
                let selection = Selection {
                    config: Some(root().join(fragment)),
                    ..selection.clone()
                };
                let kernel = build(&selection)?;
                one(&name, &selection, boot, extent, &kernel, &guest, tally)
            }
            Job::Cost => cost::test(selection, &kernel, &guest, tally),
            Job::Selftests => selftests::test(selection, &kernel, &guest, extent, tally),
        });
    }
    Ok(())
}

/// What there is for a kernel. Building others takes time, so this has to be asked for.
fn jobs(selection: &Selection, extent: Extent, by_name: bool) -> Vec<Job> {
    if selection.stock {
        return STOCK.iter().map(Job::Boot).collect();
    }
    let mut jobs: Vec<Job> = BOOTS.iter().chain([&HOSTED, &KVM]).map(Job::Boot).collect();
    // A kernel that checks itself differs from the stock kernel by that.
    if !selection.debug {
        jobs.extend([Job::Cost, Job::Selftests]);
    }
    if by_name || extent == Extent::Whole {
        let others = UNSUPPORTED.iter();
        jobs.extend(others.map(|(fragment, boot)| Job::With(fragment, boot)));
    }
    jobs
}

impl Job {
    fn name(&self, selection: &Selection) -> String {
        match self {
            Self::Boot(boot) => boot.name(selection.linux),
            Self::With(fragment, _) => (*fragment).to_owned(),
            Self::Cost => cost::NAME.to_owned(),
            Self::Selftests => selftests::NAME.to_owned(),
        }
    }
}

fn one(
    name: &str,
    selection: &Selection,
    case: &Boot,
    extent: Extent,
    kernel: &Kernel,
    guest: &Guest,
    tally: &mut Tally,
) -> Result<()> {
    // A debug kernel is for the contract. The runtime's programs test the runtime, some of them by
    // timers that such a kernel under emulation has no time for.
    let plans = case.plans(extent).iter();
    let plans = plans.filter(|&&plan| !(selection.debug && plan == "runtime"));
    let plan = Plan::read(plans.map(|plan| root().join(format!("tests/guest/plans/{plan}.plan"))))?;
    let factor = if selection.debug { DEBUG_FACTOR } else { 1 };
    let (whole, longest) = plan.seconds();
    let machine = case.machine(selection.linux, (whole * factor, longest * factor));
    println!("\n== {name}");
    let boot = boot(kernel, &machine, &guest.initramfs(kernel, &plan, factor)?)?;
    let mut unreported = Vec::new();
    for (case, outcome) in plan.outcomes(&boot.console) {
        match outcome {
            Outcome::Passed => tally.passed(),
            Outcome::Skipped(reason) => tally.skipped(&format!("{name}: {case}"), &reason),
            Outcome::Failed(how) => tally.failed(format!("{name}: {case}: {how}")),
            Outcome::Unreported => unreported.push(case),
        }
    }
    if !unreported.is_empty() {
        let cases = unreported.join(", ");
        tally.failed(format!("{name}: the guest did not report {cases}"));
    }
    for complaint in complaints(&boot.console) {
        tally.failed(format!("{name}: the kernel says {complaint}"));
    }
    // Failed cases have told already why the status is not 0.
    boot.status.map(drop)
}
