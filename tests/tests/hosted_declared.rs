// SPDX-License-Identifier: MIT OR Apache-2.0
//! Declared variables in C on the hosted form: there in each form and before the program's constructors,
//! whether the runtime's start fills them or their own constructors; what comes where there is no room.

use std::ffi::OsString;

use vcpu_tests::case::{self, Case};
use vcpu_tests::header;
use vcpu_tests::hosted::{FORMS, Form, Way, compiler, directory, source};
use vcpu_tests::programs::PASSED;
use vcpu_tests::run::Outcome;

fn main() {
    let mut cases = Vec::new();
    for form in FORMS {
        for way in [Way::AsItIs, Way::Off] {
            let body = move || declared(form, way);
            let case = Case::new(format!("{form}::{way}::declared"), body);
            cases.push(case.needs(form.is_available()));
        }
        let body = move || no_room(form);
        cases.push(Case::new(format!("{form}::no_room"), body).needs(form.is_available()));
    }
    let case = Case::new("alone", alone);
    cases.push(case.needs(Form::Late.is_available()));
    for form in [Form::Preload, Form::Late, Form::Linked, Form::MuslLinked] {
        let body = move || loaded(form);
        cases.push(Case::new(format!("{form}::loaded"), body).needs(form.is_available()));
    }
    case::run(cases)
}

fn is_there(outcome: &Outcome, counts: u64, small: u64) {
    assert_eq!(outcome.number("declared"), counts);
    assert_eq!(outcome.number("small"), small);
}

fn declared(form: Form, way: Way) -> Result<(), String> {
    let outcome = form.run("declared", way)?.run().exits(PASSED);
    is_there(&outcome, 1, 1);
    assert_eq!(outcome.number("in_constructor"), 1);
    Ok(())
}

/// A stride below the variable's size. Who fills its cells raises that; who does not need the runtime
/// counts alone; others say why they end.
fn no_room(form: Form) -> Result<(), String> {
    let run = form.run("declared", Way::AsItIs)?.env("VCPU_RT_STRIDE=4K");
    if !form.is_shared() {
        is_there(&run.run().exits(PASSED), 1, 1);
    } else if form == Form::Preload {
        is_there(&run.run().exits(PASSED), 0, 1);
    } else {
        let message = "vcpu-rt: cannot start: no room for the per-vCPU variable counts\n";
        assert_eq!(run.run().exits(127).stderr, message);
    }
    Ok(())
}

/// Without a runtime.
fn alone() -> Result<(), String> {
    let outcome = Form::Late.run("declared", Way::AsItIs)?.run();
    is_there(&outcome.exits(PASSED), 0, 0);
    Ok(())
}

/// In a library that comes late, with the runtime or after it.
fn loaded(form: Form) -> Result<(), String> {
    let libraries = form.libraries()?;
    let library = directory()?.join(format!("declared-{form}.so"));
    let mut path = OsString::from("-Wl,-rpath,");
    path.push(&libraries);
    let name = if form.is_musl() { "musl-gcc" } else { "gcc" };
    header::run(
        compiler(name)
            .args(["-shared", "-fPIC", "-o"])
            .arg(&library)
            .arg(source("declared_library"))
            .arg(path)
            .arg("-L")
            .arg(libraries)
            .arg("-lvcpu_rt"),
    )?;
    let run = form.run("declared_loaded", Way::AsItIs)?;
    run.arg(library).run().exits(PASSED);
    Ok(())
}
