// SPDX-License-Identifier: MIT OR Apache-2.0
//! A kernel that registers rseq and does not tell its feature size: Linux 6.1 under QEMU. The
//! program is the machine's first process.

use std::fs;
use std::time::Duration;

use vcpu_abi::{FEATURE_MM_CID, FEATURE_NODE_ID, FEATURE_RSEQ, MODE_RSEQ_CPU_ID};
use vcpu_tests::case::{self, Case};
use vcpu_tests::initramfs::Initramfs;
use vcpu_tests::old_kernel::OldKernel;
use vcpu_tests::programs::Form;
use vcpu_tests::run::{End, Outcome};
use vcpu_tests::scratch::Scratch;

fn main() {
    let kernel = OldKernel::find();
    let need = kernel.as_ref().map(drop).map_err(Clone::clone);
    let mut cases = Vec::new();
    for form in [Form::DEFAULT, Form::OPPOSITE] {
        let kernel = kernel.clone();
        let body = move || by_cpu_id(form, &kernel?);
        cases.push(Case::new(format!("{form}::linux_6_1"), body).needs(need.clone()));
    }
    let body = move || without_overcommit(&kernel?);
    cases.push(Case::new("overcommit_mode_2", body).needs(need));
    case::run(cases)
}

/// What this program says as the machine's first process.
fn boot(form: Form, program: &str, kernel: &OldKernel) -> Result<Outcome, String> {
    let directory = Scratch::new(&format!("{program}_{form}"))?;
    let program = fs::read(form.program(program)?).map_err(|error| error.to_string())?;
    let archive = Initramfs::default()
        .directory("dev")
        .directory("proc")
        .device("dev/console", 5, 1)
        .executable("init", &program)
        .finish();
    let path = directory.path().join("initramfs");
    fs::write(&path, archive).map_err(|error| error.to_string())?;
    let outcome = kernel.boot(&path, Duration::from_secs(120));
    // The serial line ends lines with CR LF.
    let outcome = Outcome {
        stdout: outcome.stdout.replace('\r', ""),
        ..outcome
    };
    assert_eq!(
        outcome.end,
        End::Exit(0),
        "{}{}",
        outcome.stdout,
        outcome.stderr
    );
    Ok(outcome)
}

/// Mode 2 is for a machine of its own: here it would be everybody's. Half of its 512 MiB may be
/// promised, and a pool of 65 areas takes 130.
fn without_overcommit(kernel: &OldKernel) -> Result<(), String> {
    let outcome = boot(Form::DEFAULT, "init_overcommit", kernel)?;
    assert_eq!(outcome.value("end"), "reached");
    // The start's pool is of the time before.
    assert_eq!(outcome.number("pools"), 2, "{}", outcome.stdout);
    assert_eq!(outcome.number("child_asked"), 1 << 30);
    assert!(
        outcome.number("child_stride") < 2 << 20,
        "{}",
        outcome.stdout
    );
    assert!(outcome.number("child_pools") >= 1, "{}", outcome.stdout);
    let told = "a stride of 1073741824 needs more address space than the kernel gives";
    assert!(outcome.stdout.contains(told), "{}", outcome.stdout);
    Ok(())
}

fn by_cpu_id(form: Form, kernel: &OldKernel) -> Result<(), String> {
    let outcome = boot(form, "init", kernel)?;
    assert_eq!(outcome.value("end"), "reached");
    assert_eq!(outcome.number("mode"), u64::from(MODE_RSEQ_CPU_ID));
    assert_eq!(outcome.number("rseq_size"), 20);
    assert_eq!(outcome.number("rseq_len"), 32);
    assert_eq!(outcome.number("index_offset"), 0x104);
    assert_eq!(outcome.value("registered"), "true");
    // That kernel leaves the field alone: it must show "no valid index".
    assert_eq!(outcome.value("mm_cid"), u32::MAX.to_string());
    let features = outcome.number("features");
    assert_eq!(features & FEATURE_RSEQ, FEATURE_RSEQ);
    assert_eq!(features & (FEATURE_NODE_ID | FEATURE_MM_CID), 0);
    assert_eq!(outcome.value("lost"), "0");
    // Counted in sections, not by locked instructions: an abort without end is the exception.
    assert!(outcome.number("last_area") < 100, "{}", outcome.stdout);
    Ok(())
}
