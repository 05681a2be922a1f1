// SPDX-License-Identifier: MIT OR Apache-2.0
//! Counters, histograms, stacks and caches under storms, in each mode that this machine has: what the
//! program `structures` checks, and that it was disturbed.

use libc::SYS_membarrier;
use vcpu_tests::case::{self, Case};
use vcpu_tests::confine;
use vcpu_tests::programs::{Form, PASSED};
use vcpu_tests::run::{Outcome, Run};

/// Of each storm.
const MILLISECONDS: &str = "800";
const EPERM: &str = "1";
const ENOSYS: &str = "38";

fn main() {
    let mut cases = Vec::new();
    for form in [Form::DEFAULT, Form::OPPOSITE] {
        for mode in ["rseq", "shared"] {
            for structure in ["counter", "histogram", "stack", "cache"] {
                let mut add = |how: &'static str| {
                    let case = Case::new(format!("{form}::{mode}::{structure}_{how}"), move || {
                        storm(form, mode, structure, how)
                    });
                    cases.push(match mode {
                        "rseq" => case.needs(confine::kernel_has_rseq()),
                        _ => case,
                    });
                };
                for how in ["alone", "alarm", "moved", "fork"] {
                    add(how);
                }
                // A counter and a histogram are used together in storms.
                let is_pointers = matches!(structure, "stack" | "cache");
                add(if is_pointers { "pair" } else { "threads" });
                if is_pointers {
                    add("threads");
                }
            }
        }
    }
    for structure in ["stack", "cache"] {
        for errno in [EPERM, ENOSYS] {
            let case = Case::new(format!("{structure}_without_fence_{errno}"), move || {
                without_fence(structure, errno)
            });
            cases.push(case.needs(confine::kernel_has_rseq()));
        }
    }
    case::run(cases)
}

fn program(form: Form, mode: &str) -> Result<Run, String> {
    let run = Run::new(form.program("structures")?);
    Ok(match mode {
        "shared" => run.env("VCPU_RT_RSEQ=off").env("VCPU_RT_GS=off"),
        _ => run.env("VCPU_RT_GS=off"),
    })
}

fn in_mode(outcome: &Outcome, mode: &str) {
    assert!(
        outcome.value("mode").starts_with(mode),
        "{}",
        outcome.stdout
    );
}

fn storm(form: Form, mode: &str, structure: &str, how: &str) -> Result<(), String> {
    let arguments = [structure, how, MILLISECONDS];
    let outcome = program(form, mode)?.args(arguments).run().exits(PASSED);
    in_mode(&outcome, mode);
    if how == "alone" {
        return Ok(());
    }
    assert_eq!(
        outcome.number("handled") > 0,
        matches!(how, "alarm" | "fork")
    );
    assert_eq!(outcome.number("forks") > 0, how == "fork");
    if matches!(structure, "counter" | "histogram") {
        let expected = outcome.number("expected");
        assert!(expected > 0);
        assert_eq!(outcome.number("sum"), expected);
        assert_eq!(outcome.number("count"), expected);
    } else {
        assert!(outcome.number("remotely") > 0, "nothing was drained");
    }
    Ok(())
}

/// Drain and resize say so, and nothing changes.
fn without_fence(structure: &str, errno: &str) -> Result<(), String> {
    let mut run = program(Form::DEFAULT, "rseq")?;
    if errno == ENOSYS {
        run = run.without_calls(&[SYS_membarrier], libc::ENOSYS);
    }
    let outcome = run.args([structure, "refused", errno]).run().exits(PASSED);
    in_mode(&outcome, "rseq");
    Ok(())
}
