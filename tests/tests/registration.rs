// SPDX-License-Identifier: MIT OR Apache-2.0
//! The rseq registration of each thread, against the running kernel.

use vcpu_tests::case::{self, Case};
use vcpu_tests::confine;
use vcpu_tests::programs::{Form, PASSED};
use vcpu_tests::run::{Outcome, Run};

/// What one scenario must have printed.
type Check = fn(&Outcome);

/// Checks of the program `registration`, and what it prints when they held.
const SCENARIOS: [(&str, Check); 6] = [
    ("facts", facts),
    ("busy", |_| {}),
    ("ids", |outcome| {
        assert_eq!(outcome.stdout, "checked\nchecked\n")
    }),
    ("fork", fork),
    ("by-hand", |outcome| {
        assert_eq!(outcome.stdout, "by hand\nby hand\n")
    }),
    ("unregistered", unregistered),
];

fn main() {
    let mut cases = Vec::new();
    for form in [Form::DEFAULT, Form::OPPOSITE] {
        for (name, check) in SCENARIOS {
            let body = move || scenario(form, name, check);
            cases
                .push(Case::new(format!("{form}::{name}"), body).needs(confine::kernel_has_rseq()));
        }
    }
    cases.push(Case::new("off", off));
    for errno in [libc::ENOSYS, libc::EPERM, libc::EINVAL, libc::EBUSY] {
        cases.push(Case::new(format!("refused_errno_{errno}"), move || {
            refused(errno)
        }));
    }
    case::run(cases)
}

fn scenario(form: Form, name: &str, check: Check) -> Result<(), String> {
    let outcome = Run::new(form.program("registration")?)
        .arg(name)
        .run()
        .exits(PASSED);
    assert_eq!(outcome.stderr, "");
    check(&outcome);
    Ok(())
}

/// Length and feature size follow from the auxiliary vector by glibc's rule.
fn facts(outcome: &Outcome) {
    let (feature_size, _) = confine::rseq_auxv();
    let active = if feature_size == 0 { 20 } else { feature_size };
    assert_eq!(outcome.value("registered"), "true");
    assert_eq!(outcome.number("offset"), 0x100);
    assert_eq!(outcome.number("feature_size"), active);
    assert_eq!(outcome.number("length"), active.max(32));
    assert_eq!(outcome.value("aligned"), "true");
    assert!(outcome.number("cpu_id") < outcome.number("nr_vcpus"));
    if active >= 28 {
        assert!(outcome.number("mm_cid") < outcome.number("nr_vcpus"));
    }
    // SAFETY: a look-up by number.
    let configured = unsafe { libc::sysconf(libc::_SC_NPROCESSORS_CONF) };
    assert!(outcome.number("nr_vcpus") >= configured.cast_unsigned());
}

fn fork(outcome: &Outcome) {
    assert_eq!(
        outcome.number("child"),
        46,
        "5 of the parent, 1, and 4 threads with 10"
    );
    assert_eq!(outcome.number("parent"), 5);
    assert_eq!(
        outcome.value("status"),
        "0x5c00",
        "exit status 92, as wait(2) has it"
    );
}

/// Both fields are no valid index: the kernel alone would have left mm_cid = 0.
fn unregistered(outcome: &Outcome) {
    assert_eq!(outcome.value("cpu_id"), "-1");
    assert_eq!(outcome.value("mm_cid"), u32::MAX.to_string());
}

/// What a program sees without registration, however that came.
fn unregistered_from_start(run: Run) -> Outcome {
    let outcome = run.arg("facts").run().exits(PASSED);
    assert_eq!(outcome.value("registered"), "false");
    assert_eq!(outcome.number("offset"), 0x100);
    assert_eq!(outcome.number("feature_size"), 0);
    assert_eq!(outcome.number("length"), 0);
    unregistered(&outcome);
    outcome
}

fn off() -> Result<(), String> {
    let program = Form::DEFAULT.program("registration")?;
    let outcome = unregistered_from_start(Run::new(program).env("VCPU_RT_RSEQ=off"));
    assert_eq!(outcome.stderr, "");
    Ok(())
}

/// A refusal is told under VCPU_RT_DEBUG only.
fn refused(errno: i32) -> Result<(), String> {
    let program = Form::DEFAULT.program("registration")?;
    let run = || Run::new(&program).without_calls(&[libc::SYS_rseq], errno);
    assert_eq!(unregistered_from_start(run()).stderr, "");
    let told = unregistered_from_start(run().env("VCPU_RT_DEBUG=1")).stderr;
    assert!(
        told.contains(&format!("rseq=refused, errno {errno} ")),
        "{told}"
    );
    Ok(())
}
