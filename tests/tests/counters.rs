// SPDX-License-Identifier: MIT OR Apache-2.0
//! Per-vCPU counters are exact: no addition is lost or counted twice, whatever happens to the
//! threads, in each access mode.

use libc::{SYS_getcpu, SYS_membarrier, SYS_prctl, SYS_rseq, SYS_sched_getaffinity};
use vcpu_tests::case::{self, Case};
use vcpu_tests::confine;
use vcpu_tests::programs::{Form, PASSED, Profile};
use vcpu_tests::run::{Outcome, Run};

/// `MODE_*` of the table.
const SHARED: u64 = 0;
const BY_MM_CID: u64 = 2;

fn main() {
    let mut cases = Vec::new();
    for form in [Form::DEFAULT, Form::OPPOSITE] {
        for how in ["plain", "yield", "affinity", "moved", "alarm", "all"] {
            cases.push(
                Case::new(format!("{form}::{how}"), move || {
                    exact_in_best_mode(form, how)
                })
                .needs(confine::kernel_has_rseq()),
            );
            cases.push(Case::new(format!("{form}::{how}_shared"), move || {
                exact_in_shared_mode(form, how)
            }));
        }
    }
    for (name, errno) in [("ENOSYS", libc::ENOSYS), ("EPERM", libc::EPERM)] {
        cases.push(Case::new(format!("rseq_denied_{name}"), move || {
            rseq_denied(errno)
        }));
    }
    cases.push(Case::new("everything_denied", everything_denied));
    cases.push(Case::new("without_proc_and_sys", without_proc_and_sys).needs(confine::root()));
    case::run(cases)
}

/// Additions of each thread. A debug build under a timer of 50 us gets forward slowly.
const FEW: u64 = 5000;
/// So many that a section which is wrong in one instruction loses some.
const MANY: u64 = 1_000_000;

/// 64 threads that count by `how`, in the program `run`.
fn count(run: Run, how: &str, adds: u64) -> Outcome {
    const THREADS: u64 = 64;
    let arguments = [how, &THREADS.to_string(), &adds.to_string()];
    let outcome = run.args(arguments).run().exits(PASSED);
    let expected = THREADS * adds;
    assert_eq!(outcome.number("sum"), expected);
    assert_eq!(outcome.number("read"), expected, "the areas' own values");
    assert_eq!(outcome.number("word[0]"), 7 * expected);
    assert_eq!(outcome.number("word[1]"), 0, "a neighbour was hit");
    assert_eq!(
        outcome.number("word[2]"),
        expected.wrapping_mul(u64::MAX / 2)
    );
    assert_eq!(outcome.value("beyond"), "false");
    let alarms = outcome.number("handled");
    assert_eq!(
        alarms > 0,
        how == "alarm" || how == "all",
        "{alarms} signals"
    );
    outcome
}

/// By mm_cid where the kernel tells a feature size that has it, else by cpu_id.
fn exact_in_best_mode(form: Form, how: &str) -> Result<(), String> {
    let (feature_size, _) = confine::rseq_auxv();
    let best = if feature_size >= 28 { BY_MM_CID } else { 1 };
    let adds = if matches!(how, "plain" | "moved") && form.profile == Profile::Release {
        MANY
    } else {
        FEW
    };
    let outcome = count(Run::new(form.program("count")?), how, adds);
    assert_eq!(outcome.number("mode"), best);
    Ok(())
}

fn exact_in_shared_mode(form: Form, how: &str) -> Result<(), String> {
    let run = Run::new(form.program("count")?)
        .env("VCPU_RT_RSEQ=off")
        .env("VCPU_RT_GS=off");
    assert_eq!(count(run, how, FEW).number("mode"), SHARED);
    Ok(())
}

/// A seccomp filter that refuses rseq costs speed, not counts.
fn rseq_denied(errno: i32) -> Result<(), String> {
    let program = Form::DEFAULT.program("count")?;
    let run = Run::new(program)
        .without_calls(&[SYS_rseq], errno)
        .env("VCPU_RT_DEBUG=1");
    let outcome = count(run, "all", FEW);
    assert_eq!(outcome.number("mode"), SHARED);
    let told = format!("rseq=refused, errno {errno} ");
    assert!(outcome.stderr.contains(&told), "{}", outcome.stderr);
    Ok(())
}

/// A sandbox that knows none of the newer calls. `affinity` needs the call that is denied.
fn everything_denied() -> Result<(), String> {
    let calls = [
        SYS_rseq,
        SYS_sched_getaffinity,
        SYS_membarrier,
        SYS_prctl,
        SYS_getcpu,
    ];
    for errno in [libc::EPERM, libc::ENOSYS] {
        for denied in [&calls[..], &calls[1..]] {
            for how in ["plain", "yield", "alarm"] {
                let program = Form::DEFAULT.program("count")?;
                count(Run::new(program).without_calls(denied, errno), how, FEW);
            }
        }
    }
    Ok(())
}

/// In a root with nothing but the program, the bound on ids stands in for the possible CPUs.
fn without_proc_and_sys() -> Result<(), String> {
    let root = vcpu_tests::scratch::Scratch::new("empty_root")?;
    let program = Form::DEFAULT.program("count")?;
    std::fs::copy(program, root.path().join("count")).map_err(|error| error.to_string())?;
    for environment in ["VCPU_RT_RSEQ=auto", "VCPU_RT_RSEQ=off"] {
        count(
            Run::new("/count").in_root(root.path()).env(environment),
            "all",
            FEW,
        );
    }
    Ok(())
}
