// SPDX-License-Identifier: MIT OR Apache-2.0
//! The kernel's own selftests on the stock kernel and on the patched one, there with the mode off and
//! on: a case passes when it ends as on the stock kernel, even where that is a failure.

use anyhow::{Result, bail, ensure};

use super::plan::{Extent, plan};
use super::results::{Results, Verdict};
use crate::kernel::boot::boot;
use crate::kernel::build::{Kernel, build_with_tests};
use crate::kernel::console::complaints;
use crate::kernel::guest::Guest;
use crate::kernel::machine::Machine;
use crate::kernel::plan::Plan;
use crate::kernel::version::Selection;
use crate::test::tally::Tally;

/// The boots' name.
pub const NAME: &str = "selftests";

/// Processors of the machines.
const PROCESSORS: u32 = 4;

/// Boots both kernels and tallies each case of the patched one.
pub fn test(
    selection: &Selection,
    patched: &Kernel,
    guest: &Guest,
    extent: Extent,
    tally: &mut Tally,
) -> Result<()> {
    let stock = Selection {
        stock: true,
        ..selection.clone()
    };
    let reference = run(&build_with_tests(&stock)?, guest, extent)?;
    let results = run(patched, guest, extent)?;
    for (case, verdict) in results.compare(&reference) {
        let case = format!("{selection} {NAME}: {case}");
        match verdict {
            Verdict::Same => tally.passed(),
            Verdict::Skipped(reason) => tally.skipped(&case, &reason),
            Verdict::Differs(how) => tally.failed(format!("{case}: {how}")),
        }
    }
    Ok(())
}

/// Boots a kernel with all selftests that were built for it.
fn run(kernel: &Kernel, guest: &Guest, extent: Extent) -> Result<Results> {
    let plan = Plan::parse(&plan(&kernel.selftests(), PROCESSORS, extent)?)?;
    let (whole, longest) = plan.seconds();
    let machine = Machine {
        smp: PROCESSORS,
        memory: 1024,
        cpu: "max".into(),
        preempt: None,
        append: Vec::new(),
        qemu: Vec::new(),
        in_turn: false,
        icount: false,
        timeout: whole,
        silence: 2 * longest,
    };
    println!("\n== {NAME} of {}", kernel.image().display());
    let boot = boot(kernel, &machine, &guest.initramfs(kernel, &plan, 1)?)?;
    if let Some(complaint) = complaints(&boot.console).into_iter().next() {
        bail!("the kernel says {complaint}");
    }
    // The guest's own status tells of failed cases, which are compared.
    boot.status?;
    let results = Results::read(&boot.console);
    for (case, _) in plan.outcomes(&boot.console) {
        ensure!(results.has(&case), "{case} was not reported");
    }
    Ok(results)
}
