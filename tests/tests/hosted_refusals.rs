// SPDX-License-Identifier: MIT OR Apache-2.0
//! The hosted form where its own registration is wanted and something is in its way: it goes one step down, says
//! so where lines are asked for, and nothing is lost.

use std::ffi::OsString;
use std::path::PathBuf;

use vcpu_tests::case::{self, Case};
use vcpu_tests::confine;
use vcpu_tests::header::run;
use vcpu_tests::hosted::{Form, Way, compiler, directory, preload, source};
use vcpu_tests::programs::PASSED;

/// More than glibc has in a thread's block, and more than there are.
const MANY_KEYS: u32 = 40;
const ALL_KEYS: u32 = 4096;

fn main() {
    let mut cases = Vec::new();
    for form in [Form::Preload, Form::Linked, Form::LinkedFixed] {
        cases.push(case(form, "unregistration_refused", unregistration_refused));
    }
    for form in [Form::Archive, Form::Static] {
        cases.push(case(form, "not_the_shared_library", not_the_shared_library));
    }
    cases.push(case(Form::Late, "too_late", too_late));
    for (form, way) in [
        (Form::Late, Way::Own),
        (Form::Late, Way::WithoutLibc),
        (Form::Archive, Way::OwnWithoutLibc),
        (Form::MuslLinked, Way::AsItIs),
        (Form::MuslFixed, Way::AsItIs),
    ] {
        let name = format!("{form}::{way}::keys");
        let body = move || keys(form, way);
        cases.push(
            Case::new(name, body)
                .needs(form.is_available())
                .needs(confine::kernel_has_rseq()),
        );
    }
    case::run(cases)
}

fn case(form: Form, name: &str, body: fn(Form) -> Result<(), String>) -> Case {
    Case::new(format!("{form}::{name}"), move || body(form))
        .needs(form.is_available())
        .needs(confine::kernel_has_rseq())
}

#[track_caller]
fn contains(text: &str, part: &str) {
    assert!(text.contains(part), "{part} is not in: {text}");
}

/// A filter that lets threads register, and not unregister.
fn unregistration_refused(form: Form) -> Result<(), String> {
    const UNREGISTER: u32 = 1;
    let run = |way| {
        let run = form.run("threads", way)?.arg("pthread");
        let run = run.without_call_of(libc::SYS_rseq, 2, UNREGISTER, libc::EPERM);
        Ok::<_, String>(run.env("VCPU_RT_DEBUG=1").run().exits(PASSED).stderr)
    };
    let told = run(Way::Own)?;
    contains(&told, " rseq=adopted ");
    contains(&told, " own=refused, errno 1 ");
    let told = run(Way::AsItIs)?;
    contains(&told, " rseq=adopted ");
    assert!(!told.contains(" own="), "{told}");
    Ok(())
}

fn not_the_shared_library(form: Form) -> Result<(), String> {
    let run = form.run("table", Way::Own)?.env("VCPU_RT_DEBUG=1");
    let told = run.run().exits(PASSED).stderr;
    contains(&told, " rseq=adopted ");
    contains(
        &told,
        " own=needs libvcpu_rt.so from the program's start on ",
    );
    Ok(())
}

fn too_late(form: Form) -> Result<(), String> {
    let library = Form::Preload.libraries()?.join("libvcpu_rt.so");
    let run = form.run("strange", Way::Own)?.arg("dlopen").arg(library);
    let told = run.env("VCPU_RT_DEBUG=1").run().exits(PASSED).stderr;
    contains(&told, " rseq=adopted ");
    contains(&told, " own=too late, the program runs ");
    Ok(())
}

/// Somebody has made the first pthread keys. On glibc no thread needs one; on musl any will do, and without one
/// no thread is registered.
fn keys(form: Form, way: Way) -> Result<(), String> {
    for (count, scenario) in [
        (MANY_KEYS, "pthread"),
        (MANY_KEYS, "detached"),
        (ALL_KEYS, "pthread"),
        (ALL_KEYS, "detached"),
    ] {
        let mut entry = OsString::from("LD_PRELOAD=");
        // Of two such libraries the one that is loaded last is the first to run.
        if form == Form::Late {
            entry = preload()?;
            entry.push(":");
        }
        entry.push(keys_library(form, count)?);
        let run = form.run("threads", way)?.arg(scenario);
        let run = run.env(entry).env("VCPU_RT_DEBUG=1");
        let outcome = run.run().exits(PASSED);
        let is_registered = !form.is_musl() || count == MANY_KEYS;
        let told = "no pthread key is left, so no thread is registered\n";
        assert_eq!(outcome.stderr.contains(told), !is_registered, "{outcome:?}");
        if scenario == "pthread" {
            for thread in 0..32 {
                let registered = outcome.number(&format!("registered_{thread}")) == 1;
                // An archive registers at the first operation.
                assert!(registered == is_registered || !form.is_shared());
            }
        }
        if is_registered {
            // A section may be aborted 65 times in a row, though hardly ever.
            assert!(outcome.number("last_area") < 1000, "{outcome:?}");
        }
    }
    Ok(())
}

fn keys_library(form: Form, keys: u32) -> Result<PathBuf, String> {
    let name = if form.is_musl() { "musl-gcc" } else { "gcc" };
    let library = directory()?.join(format!("libkeys-{form}-{keys}.so"));
    let mut compiler = compiler(name);
    compiler
        .args(["-shared", "-fPIC", "-Wl,-z,initfirst", "-o"])
        .arg(&library);
    compiler.arg(format!("-DKEYS={keys}"));
    run(compiler.arg(source("keys_library")))?;
    Ok(library)
}
