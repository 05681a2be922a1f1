// SPDX-License-Identifier: MIT OR Apache-2.0
//! The GS mode in the hosted form: by request alone, against a kernel that a tracer plays. The real one is
//! tested in guests.

use vcpu_abi::MODE_GS;
use vcpu_tests::case::{self, Case};
use vcpu_tests::confine;
use vcpu_tests::gs_kernel::{GsKernel, Prctl, vcpu};
use vcpu_tests::hosted::{FORMS, Form, Way};
use vcpu_tests::programs::PASSED;
use vcpu_tests::run::{Outcome, Run};

const STRIDE: u64 = 2 << 20;

fn main() {
    let mut cases = Vec::new();
    for form in FORMS {
        for (name, body) in [
            ("not_asked", not_asked as fn(Form) -> Result<(), String>),
            ("at_start", at_start),
            ("refused", refused),
            ("foreign", foreign),
            ("request", request),
            ("too_late", too_late),
        ] {
            cases.push(
                Case::new(format!("{form}::{name}"), move || body(form))
                    .needs(form.is_available())
                    .needs(confine::kernel_has_rseq()),
            );
        }
    }
    for (name, program, scenario) in [
        ("late_library", "gs", "late"),
        ("late_library_in_namespace", "strange", "namespace"),
    ] {
        let body = move || late_library(program, scenario);
        cases.push(Case::new(name, body).needs(Form::Late.is_available()));
    }
    case::run(cases)
}

fn program(form: Form, scenario: &str) -> Result<Run, String> {
    Ok(form.run("gs", Way::AsItIs)?.arg(scenario))
}

/// Nobody who has not asked loses GS.
fn not_asked(form: Form) -> Result<(), String> {
    for gs in ["auto", "off"] {
        let run = program(form, "start")?.env(format!("VCPU_RT_GS={gs}"));
        let (outcome, prctls) = GsKernel::GRANTS.run(run);
        let outcome = outcome.exits(PASSED);
        assert_eq!(prctls, []);
        assert_ne!(outcome.number("mode"), u64::from(MODE_GS));
    }
    Ok(())
}

#[track_caller]
fn counts_by_gs(outcome: &Outcome) {
    assert_eq!(outcome.number("mode"), u64::from(MODE_GS));
    assert_eq!(outcome.number("feature_mode"), 1);
    assert_eq!(
        outcome.number("area"),
        vcpu(),
        "the base that the kernel loaded"
    );
    assert_eq!(outcome.number("last_area"), 0);
}

fn at_start(form: Form) -> Result<(), String> {
    let run = program(form, "start")?
        .env("VCPU_RT_GS=on")
        .env("VCPU_RT_DEBUG=1");
    let (outcome, prctls) = GsKernel::GRANTS.run(run);
    let outcome = outcome.exits(PASSED);
    assert!(outcome.stderr.contains(" gs=on "), "{}", outcome.stderr);
    assert_eq!(prctls.last(), Some(&Prctl::set(STRIDE)));
    assert_eq!(outcome.number("at_start"), u64::from(MODE_GS));
    counts_by_gs(&outcome);
    Ok(())
}

/// A stock kernel: the mode without.
fn refused(form: Form) -> Result<(), String> {
    let kernel = GsKernel {
        get: Err(libc::EINVAL),
        ..GsKernel::GRANTS
    };
    let run = program(form, "request")?
        .env("VCPU_RT_GS=on")
        .env("VCPU_RT_DEBUG=1");
    let (outcome, _) = kernel.run(run);
    let outcome = outcome.exits(PASSED);
    let told = " gs=refused by PR_GET_GS_MODE, errno 22 ";
    assert!(outcome.stderr.contains(told), "{}", outcome.stderr);
    assert_eq!(outcome.value("request"), (-libc::EINVAL).to_string());
    assert_ne!(outcome.number("mode"), u64::from(MODE_GS));
    Ok(())
}

/// Whoever has GS keeps it.
fn foreign(form: Form) -> Result<(), String> {
    let kernel = GsKernel {
        gs: (0, 0x7000),
        ..GsKernel::GRANTS
    };
    let run = program(form, "request")?.env("VCPU_RT_GS=on");
    let (outcome, prctls) = kernel.run(run);
    let outcome = outcome.exits(PASSED);
    assert!(
        prctls.iter().all(|prctl| *prctl != Prctl::set(STRIDE)),
        "{prctls:?}"
    );
    assert_eq!(outcome.value("request"), (-libc::EBUSY).to_string());
    assert_ne!(outcome.number("mode"), u64::from(MODE_GS));
    Ok(())
}

/// The program's own call: the table says so afterwards, in a copy of it too.
fn request(form: Form) -> Result<(), String> {
    let (outcome, prctls) = GsKernel::GRANTS.run(program(form, "request")?);
    let outcome = outcome.exits(PASSED);
    assert_eq!(prctls.last(), Some(&Prctl::set(STRIDE)));
    assert_ne!(outcome.number("at_start"), u64::from(MODE_GS));
    assert_eq!(outcome.number("request"), 0);
    counts_by_gs(&outcome);
    Ok(())
}

/// Once somebody may know how words are reached, it stays so.
fn too_late(form: Form) -> Result<(), String> {
    for scenario in ["after-alloc", "after-thread"] {
        let (outcome, prctls) = GsKernel::GRANTS.run(program(form, scenario)?);
        let outcome = outcome.exits(PASSED);
        assert_eq!(prctls, []);
        assert_eq!(outcome.value("request"), (-libc::EBUSY).to_string());
        assert_ne!(outcome.number("mode"), u64::from(MODE_GS));
    }
    Ok(())
}

/// Other threads may have put something into GS.
fn late_library(program: &'static str, scenario: &str) -> Result<(), String> {
    let library = Form::Preload.libraries()?.join("libvcpu_rt.so");
    let run = Form::Late.run(program, Way::AsItIs)?;
    let outcome = run
        .arg(scenario)
        .arg(library)
        .env("VCPU_RT_GS=on")
        .env("VCPU_RT_DEBUG=1")
        .run()
        .exits(PASSED);
    assert!(
        outcome.stderr.contains("comes too late"),
        "{}",
        outcome.stderr
    );
    assert!(outcome.stderr.contains(" gs=off "), "{}", outcome.stderr);
    Ok(())
}
