// SPDX-License-Identifier: MIT OR Apache-2.0
//! `cargo xtask kernel demo`: the examples in a guest whose first process is ours as well.

use std::process::ExitCode;

use anyhow::{Result, ensure};

use super::boot::boot;
use super::build::build;
use super::guest::Guest;
use super::machine::Machine;
use super::plan::{Outcome, Plan};
use super::version::Selection;

/// The greeting, then the histogram in each access mode that the kernel has. It counts programs:
/// files of a few hundred kB that are in the guest anyway.
fn plan(selection: &Selection) -> String {
    let mut plan = String::from("hello 60 VCPU_RT_DEBUG=1 /bin/hello\n");
    let modes = [
        ("gs", "VCPU_RT_GS=on"),
        ("rseq-mm_cid", "VCPU_RT_GS=off"),
        ("shared", "VCPU_RT_GS=off VCPU_RT_RSEQ=off"),
    ];
    for (mode, environment) in modes.iter().skip(usize::from(selection.stock)) {
        plan += &format!(
            "histogram-{mode} 120 VCPU_RT_DEBUG=1 {environment} \
             /bin/histogram --check --mode {mode} /init /bin/histogram /bin/hello\n"
        );
    }
    plan
}

/// Boots and streams; what did not pass is an error.
pub fn run(selection: &Selection, machine: &Machine) -> Result<ExitCode> {
    let plan = Plan::parse(&plan(selection))?;
    let kernel = build(selection)?;
    let archive = Guest::build()?.initramfs(&kernel, &plan, 1)?;
    let boot = boot(&kernel, machine, &archive)?;
    let status = boot.status?;
    for (name, outcome) in plan.outcomes(&boot.console) {
        ensure!(outcome == Outcome::Passed, "{name}: {outcome:?}");
    }
    Ok(ExitCode::from(status))
}
