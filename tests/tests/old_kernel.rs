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
    case::run(cases)
}

fn by_cpu_id(form: Form, kernel: &OldKernel) -> Result<(), String> {
    let directory = Scratch::new(&format!("initramfs_{form}"))?;
    let program = fs::read(form.program("init")?).map_err(|error| error.to_string())?;
    let archive = Initramfs::default()
        .directory("dev")
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
