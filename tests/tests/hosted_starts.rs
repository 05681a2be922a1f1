// SPDX-License-Identifier: MIT OR Apache-2.0
//! The hosted form: many threads that have been made and have not run yet.

use std::path::PathBuf;

use vcpu_tests::case::{self, Case};
use vcpu_tests::confine;
use vcpu_tests::header::run;
use vcpu_tests::hosted::{Form, Way, compiler, directory, preload, source};
use vcpu_tests::programs::PASSED;
use vcpu_tests::run::Outcome;

fn main() {
    let mut cases = Vec::new();
    for way in [Way::AsItIs, Way::Own] {
        for (name, body) in [
            ("pending", pending as fn(Way) -> Result<(), String>),
            ("no_memory", no_memory),
            ("fork", fork),
        ] {
            cases.push(
                Case::new(format!("{way}::{name}"), move || body(way))
                    .needs(Form::Preload.is_available())
                    .needs(confine::kernel_has_rseq()),
            );
        }
    }
    case::run(cases)
}

/// What holds threads.
fn holder(way: Way, scenario: &str) -> Result<PathBuf, String> {
    let library = directory()?.join(format!("libholder-{way}-{scenario}.so"));
    let mut gcc = compiler("gcc");
    gcc.args(["-fPIC", "-shared", "-o"]).arg(&library);
    run(gcc.arg(source("holder_library")))?;
    Ok(library)
}

fn outcome(way: Way, scenario: &str) -> Result<Outcome, String> {
    let mut libraries = preload()?;
    libraries.push(":");
    libraries.push(holder(way, scenario)?);
    let run = Form::Late.run("starts", way)?.env(libraries);
    let outcome = run.env("VCPU_RT_DEBUG=1").arg(scenario).run();
    Ok(outcome.exits(PASSED))
}

const TOLD: &str = "no memory for the start of a thread";

fn pending(way: Way) -> Result<(), String> {
    let outcome = outcome(way, "pending")?;
    assert_eq!(outcome.number("registered"), outcome.number("threads"));
    Ok(())
}

/// The others register at their first operation, which the program checks.
fn no_memory(way: Way) -> Result<(), String> {
    let outcome = outcome(way, "no_memory")?;
    let registered = outcome.number("registered");
    assert!(registered > 0 && registered < outcome.number("threads"));
    assert!(outcome.stderr.contains(TOLD), "{}", outcome.stderr);
    Ok(())
}

fn fork(way: Way) -> Result<(), String> {
    let outcome = outcome(way, "fork")?;
    assert_eq!(outcome.number("registered"), outcome.number("threads"));
    assert!(!outcome.stderr.contains(TOLD), "{}", outcome.stderr);
    Ok(())
}
