// SPDX-License-Identifier: MIT OR Apache-2.0
//! The hosted form in a Rust program with std, alone and beside a C library that is a user of the ABI too.

use vcpu_abi::MODE_SHARED;
use vcpu_tests::case::{self, Case};
use vcpu_tests::confine;
use vcpu_tests::header::run;
use vcpu_tests::hosted::rust::{BUILDS, Build};
use vcpu_tests::hosted::{
    Form, State, WAYS, WITHOUT_LIBC, Way, compiler, directory, rpath, source,
};
use vcpu_tests::programs::PASSED;
use vcpu_tests::run::Run;

fn main() {
    let mut cases = Vec::new();
    for build in BUILDS {
        for way in WAYS {
            for scenario in ["all", "thread", "fast_paths"] {
                cases.push(
                    Case::new(format!("{build}::{way}::{scenario}"), move || {
                        alone(build, way, scenario)
                    })
                    .needs(confine::kernel_has_rseq()),
                );
            }
            cases.push(
                Case::new(format!("{build}::{way}::users"), move || users(build, way))
                    .needs(Form::Preload.is_available())
                    .needs(confine::kernel_has_rseq()),
            );
        }
    }
    case::run(cases)
}

fn in_way(run: Run, way: Way) -> Run {
    match way {
        Way::AsItIs => run,
        Way::WithoutLibc => run.env(WITHOUT_LIBC),
        Way::Own => run.env("VCPU_RT_RSEQ=own"),
        Way::OwnWithoutLibc => run.env(WITHOUT_LIBC).env("VCPU_RT_RSEQ=own"),
        Way::Off => run.env("VCPU_RT_RSEQ=off"),
    }
}

/// A crate in a program is as an archive in it.
fn alone(build: Build, way: Way, scenario: &str) -> Result<(), String> {
    let outcome = in_way(Run::new(build.program()?), way).arg(scenario).run();
    let outcome = outcome.exits(PASSED);
    let state = Form::Archive.state(way);
    assert_eq!(outcome.value("state"), format!("{state:?}"));
    if scenario == "thread" && state.is_registered() {
        assert_eq!(outcome.number("last_area"), 0);
    }
    Ok(())
}

/// One registration for both, whoever made it; exact counts by each.
fn users(build: Build, way: Way) -> Result<(), String> {
    let own = directory()?;
    let library = own.join(format!("libusers-{build}-{way}.so"));
    let mut gcc = compiler("gcc");
    gcc.args(["-fPIC", "-shared", "-o"])
        .arg(&library)
        .arg(source("users_library"));
    gcc.arg(rpath(&Form::Linked.libraries()?));
    run(gcc.args(["-lvcpu_rt", "-Wl,-z,nodelete"]))?;
    let run = Run::new(build.program()?).arg("users").arg(&library);
    let outcome = in_way(run.env("VCPU_RT_DEBUG=1"), way).run().exits(PASSED);
    let (own_state, library_state) = match way {
        Way::AsItIs | Way::Own => (State::Adopted, State::Adopted),
        Way::WithoutLibc => (State::Absent, State::Registered),
        // The second finds the first one's.
        Way::OwnWithoutLibc => (State::Registered, State::Adopted),
        Way::Off => (State::Off, State::Off),
    };
    let told: Vec<&str> = outcome.stderr.lines().collect();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(
        told[0].contains(&format!("rseq={} ", own_state.word())),
        "{told:?}"
    );
    assert!(
        told[1].contains(&format!("rseq={} ", library_state.word())),
        "{told:?}"
    );
    for (name, state) in [("own_mode", own_state), ("library_mode", library_state)] {
        let is_shared = outcome.number(name) == u64::from(MODE_SHARED);
        assert_eq!(is_shared, !state.is_registered(), "{name}");
    }
    if own_state.is_registered() {
        assert_eq!(outcome.number("own_last_area"), 0);
    }
    if library_state.is_registered() {
        assert_eq!(outcome.number("library_last_area"), 0);
    }
    Ok(())
}
