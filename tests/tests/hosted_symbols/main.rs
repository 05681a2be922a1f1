// SPDX-License-Identifier: MIT OR Apache-2.0
//! The hosted form: which reference finds which symbol, what the libraries export, and what they are.

mod libraries;
mod references;

use std::fs;
use std::os::unix::fs::PermissionsExt;

use vcpu_tests::case::{self, Case};
use vcpu_tests::confine;
use vcpu_tests::hosted::{Form, WITHOUT_LIBC, directory};
use vcpu_tests::old_glibc;
use vcpu_tests::programs::{PASSED, target_directory};
use vcpu_tests::run::Run;

fn main() {
    let available = Form::Preload.is_available();
    let mut cases = Vec::new();
    for link in references::LINKS {
        cases.push(
            Case::new(format!("references::{}", link.name), move || {
                references::references(link)
            })
            .needs(available.clone())
            .needs(confine::kernel_has_rseq()),
        );
    }
    for (name, body) in [
        (
            "references::without_library",
            references::without_library as fn() -> Result<(), String>,
        ),
        ("references::static_weak", references::static_weak),
        ("pkg_config", references::pkg_config),
        ("hidden_symbols", hidden_symbols),
    ] {
        cases.push(Case::new(name, body).needs(available.clone()));
    }
    for form in [Form::Linked, Form::Static, Form::MuslLinked] {
        let case = Case::new(format!("{form}::at_secure"), move || secure(form));
        let case = case.needs(form.is_available()).needs(confine::root());
        let case = case.needs(confine::nobody_reaches_the_target_directory());
        let honours = target_directory().and_then(|directory| confine::honours_setuid(&directory));
        cases.push(case.needs(honours));
    }
    for (name, form) in [("glibc", Form::Preload), ("musl", Form::MuslLinked)] {
        for (what, body) in [
            (
                "shared",
                libraries::shared as fn(Form) -> Result<(), String>,
            ),
            ("archive", libraries::archive),
        ] {
            let body = move || body(form);
            cases.push(Case::new(format!("{name}::{what}"), body).needs(form.is_available()));
        }
    }
    case::run(cases)
}

/// AT_SECURE: the tunables do not exist, and nothing is printed. (The dynamic linker drops LD_PRELOAD by
/// itself.)
fn secure(form: Form) -> Result<(), String> {
    let program = directory()?.join(format!("secure-{form}"));
    fs::copy(form.program("table")?, &program).map_err(|error| error.to_string())?;
    let mode = fs::Permissions::from_mode(0o4755);
    fs::set_permissions(&program, mode).map_err(|error| error.to_string())?;
    let run = Run::new(&program)
        .env("VCPU_RT_DEBUG=1")
        .env("VCPU_RT_RSEQ=off");
    let outcome = run.as_nobody().run().exits(PASSED);
    assert_eq!(outcome.stderr, "");
    assert_ne!(outcome.number("mode"), 0);
    Ok(())
}

/// A glibc without `__rseq_*`, as before 2.35. The registration is ours then, when glibc's is off.
fn hidden_symbols() -> Result<(), String> {
    let own = directory()?.join("old");
    let loader = old_glibc::make(&own)?;
    let program = Form::Preload.program("table")?;
    let run = Run::new(loader)
        .args(["--library-path", &own.display().to_string(), "--preload"])
        .arg(Form::Preload.libraries()?.join("libvcpu_rt.so"))
        .arg(program)
        .env("VCPU_RT_DEBUG=1")
        .env(WITHOUT_LIBC);
    let outcome = run.run().exits(PASSED);
    assert!(
        outcome.stderr.contains("rseq=registered "),
        "{}",
        outcome.stderr
    );
    assert_eq!(outcome.number("registered"), 1);
    assert_eq!(outcome.number("__rseq_size"), outcome.number("rseq_size"));
    Ok(())
}
