// SPDX-License-Identifier: MIT OR Apache-2.0
//! The C libraries of the examples: linked into programs on vcpu-rt, with exact results under storms of
//! threads in each access mode; and in programs without a runtime.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use vcpu_tests::case::{self, Case};
use vcpu_tests::confine;
use vcpu_tests::header::{
    Scratch, WARNINGS, available, expect_status, fixture, include_directory, run,
};
use vcpu_tests::programs::{Form, workspace};
use vcpu_tests::run::Run;

/// The mode's name as the examples print it, and what brings it about.
const MODES: [(&str, &[&str]); 3] = [
    ("RseqMmCid", &["VCPU_RT_GS=off"]),
    ("RseqCpuId", &["VCPU_RT_GS=off"]),
    ("Shared", &["VCPU_RT_GS=off", "VCPU_RT_RSEQ=off"]),
];

/// How a program without a runtime is linked.
const FORMS: [&str; 4] = [
    "-static -fno-pie",
    "-pie -fPIE",
    "-static-pie -fPIE",
    SHARED,
];

/// With the libraries in a shared one.
const SHARED: &str = "-fPIE -pie -Wl,--as-needed";

fn main() {
    let mut cases = Vec::new();
    for form in [Form::DEFAULT, Form::OPPOSITE] {
        for example in ["c-counter", "c-slab"] {
            for (mode, environment) in MODES {
                let body = move || storm(form, example, mode, environment);
                let case = Case::new(format!("{form}::{example}::{mode}"), body);
                cases.push(case.needs(need(mode)));
            }
        }
    }
    for compiler in ["gcc", "clang"] {
        for flags in FORMS {
            let name = format!("alone_{compiler}{flags}").replace(" -", "-");
            let body = move || alone(compiler, flags);
            cases.push(Case::new(name, body).needs(available(compiler)));
        }
    }
    case::run(cases)
}

fn need(mode: &str) -> Result<(), String> {
    if mode == "Shared" {
        return Ok(());
    }
    confine::kernel_has_rseq()?;
    match confine::rseq_auxv() {
        (28.., _) => Ok(()),
        _ => Err("this kernel tells no mm_cid to rseq".into()),
    }
}

/// The program compares with its oracle by itself.
fn storm(form: Form, example: &str, mode: &str, environment: &[&str]) -> Result<(), String> {
    let mut run = Run::new(form.program(example)?).timeout(Duration::from_secs(120));
    for entry in environment {
        run = run.env(entry);
    }
    if mode == "RseqCpuId" {
        run = run.without_rseq_feature_size();
    }
    let outcome = run.run().exits(0);
    let expected = format!("mode {mode}: ");
    assert!(outcome.stdout.starts_with(&expected), "{}", outcome.stdout);
    Ok(())
}

fn alone(compiler: &str, flags: &str) -> Result<(), String> {
    let scratch = Scratch::new()?;
    let program = scratch.path("alone");
    let compile = || {
        let mut compile = Command::new(compiler);
        compile.args(WARNINGS).args(["-std=c99", "-O2", "-I"]);
        compile.arg(include_directory());
        for directory in directories() {
            compile.arg("-I").arg(directory);
        }
        compile
    };
    let mut libraries: Vec<_> = directories().map(library).collect();
    if flags == SHARED {
        let shared = scratch.path("libexamples.so");
        let mut link = compile();
        link.args(["-shared", "-fPIC", "-Wl,-z,nodelete", "-o"])
            .arg(&shared);
        run(link.args(&libraries))?;
        libraries = vec![shared];
    }
    let mut link = compile();
    link.args(flags.split_whitespace()).arg(fixture("alone.c"));
    run(link.args(libraries).arg("-o").arg(&program))?;
    expect_status(&mut Command::new(program), 83)
}

/// Where the C libraries are.
fn directories() -> impl Iterator<Item = PathBuf> {
    ["counter", "slab"]
        .map(|example| workspace().join(format!("examples/c-{example}/c")))
        .into_iter()
}

/// The source of one.
fn library(directory: PathBuf) -> PathBuf {
    let name = if directory.ends_with("c-slab/c") {
        "slab.c"
    } else {
        "counter.c"
    };
    directory.join(name)
}
