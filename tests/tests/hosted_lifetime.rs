// SPDX-License-Identifier: MIT OR Apache-2.0
//! The hosted form: when its code comes, before the first constructor of the object that it is in, and that it does
//! not go while threads need it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use vcpu_abi::MODE_SHARED;
use vcpu_tests::case::{self, Case};
use vcpu_tests::confine;
use vcpu_tests::header::{available, run};
use vcpu_tests::hosted::rust::Build;
use vcpu_tests::hosted::{Form, WITHOUT_LIBC, Way, compiler, directory, pkg_config, rpath, source};
use vcpu_tests::programs::PASSED;
use vcpu_tests::run::Run;

/// Names of `-fuse-ld=`, and how programs are linked with each. gold makes no static-pie ones.
const LINKERS: [(&str, &[&str]); 3] = [
    ("bfd", &["-fPIE -pie", "-no-pie", "-static", "-static-pie"]),
    ("gold", &["-fPIE -pie", "-no-pie", "-static"]),
    ("lld", &["-fPIE -pie", "-no-pie", "-static", "-static-pie"]),
];

/// What makes a shared object with sections.
type Plugin = fn() -> Result<PathBuf, String>;

const PLUGINS: [(&str, Plugin); 3] = [
    ("archive", with_archive),
    ("pkg_config", with_shared_library),
    ("rust", || Build::Release.plugin()),
];

fn main() {
    let mut cases = Vec::new();
    for form in [Form::Archive, Form::Static, Form::MuslStatic] {
        let body = move || constructors(form);
        cases.push(Case::new(format!("constructors::{form}"), body).needs(form.is_available()));
    }
    for (linker, links) in LINKERS {
        for link in links {
            let name = format!("{linker}{link}").replace(" -", "-");
            for (what, body) in [
                (
                    "constructors",
                    constructors_by as fn(&str, &str) -> Result<(), String>,
                ),
                ("pkg_config", pkg_config_by),
            ] {
                cases.push(
                    Case::new(format!("{what}::{name}"), move || body(linker, link))
                        .needs(Form::Archive.is_available())
                        .needs(available(&format!("ld.{linker}"))),
                );
            }
        }
    }
    for (name, plugin) in PLUGINS {
        for way in [Way::AsItIs, Way::OwnWithoutLibc] {
            for scenario in [None, Some("namespace")] {
                let name = format!(
                    "unload::{name}::{way}{}",
                    scenario.map_or("", |_| "::namespace")
                );
                cases.push(
                    Case::new(name, move || unload(&plugin()?, way, scenario))
                        .needs(Form::Late.is_available())
                        .needs(confine::kernel_has_rseq()),
                );
            }
        }
    }
    for way in [Way::AsItIs, Way::OwnWithoutLibc] {
        let case = Case::new(format!("unload::refused::{way}"), move || refused(way));
        cases.push(case.needs(Form::Late.is_available()));
    }
    case::run(cases)
}

fn constructors(form: Form) -> Result<(), String> {
    form.run("constructors", Way::AsItIs)?.run().exits(PASSED);
    Ok(())
}

/// Each linker sorts constructors by itself, and has its own answer for a symbol that is missing.
fn constructors_by(linker: &str, link: &str) -> Result<(), String> {
    let archive = Form::Archive.libraries()?.join("libvcpu_rt.a");
    program("constructors", linker, link, |gcc| {
        gcc.arg(archive);
    })
}

/// What pkg-config says of shared objects does programs no harm.
fn pkg_config_by(linker: &str, link: &str) -> Result<(), String> {
    let mut options = pkg_config("Libs: ")?;
    if link.starts_with("-static") {
        options.extend(pkg_config("Libs.private: ")?);
    } else {
        options.push(rpath(&Form::Linked.libraries()?));
    }
    program("table", linker, link, |gcc| {
        gcc.args(options);
    })
}

fn program(
    name: &str,
    linker: &str,
    link: &str,
    libraries: impl FnOnce(&mut Command),
) -> Result<(), String> {
    let program = directory()?.join(format!("{name}-{linker}{}", link.replace(' ', "")));
    let mut gcc = compiler("gcc");
    gcc.args(link.split(' ')).arg(format!("-fuse-ld={linker}"));
    gcc.arg("-o").arg(&program).arg(source(name));
    libraries(&mut gcc);
    run(&mut gcc)?;
    Run::new(&program).run().exits(PASSED);
    Ok(())
}

fn with_archive() -> Result<PathBuf, String> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    plugin(&BUILT, "archive", || {
        let archive = Form::Archive.libraries()?.join("libvcpu_rt.a");
        Ok(vec!["-DWITH_RUNTIME".into(), archive.into_os_string()])
    })
}

/// Nobody of ours runs in it who could keep it: the linker's option does.
fn with_shared_library() -> Result<PathBuf, String> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    plugin(&BUILT, "pkg-config", || {
        let mut options = pkg_config("Libs: ")?;
        options.push(rpath(&Form::Linked.libraries()?));
        Ok(options.into_iter().map(OsString::from).collect())
    })
}

fn plugin(
    built: &'static OnceLock<Result<PathBuf, String>>,
    name: &str,
    options: impl FnOnce() -> Result<Vec<OsString>, String>,
) -> Result<PathBuf, String> {
    let build = || {
        let path = directory()?.join(format!("libplugin-{name}.so"));
        let mut gcc = compiler("gcc");
        gcc.args(["-fPIC", "-shared", "-o"]).arg(&path);
        run(gcc.arg(source("plugin")).args(options()?))?;
        Ok(path)
    };
    built.get_or_init(build).clone()
}

/// The program `unload`, with a `dlopen` of its own that others find.
fn host() -> Result<PathBuf, String> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let build = || {
        let path = directory()?.join("unload");
        let mut gcc = compiler("gcc");
        gcc.args(["-fPIE", "-pie", "-rdynamic", "-o"]).arg(&path);
        run(gcc.arg(source("unload")))?;
        Ok(path)
    };
    BUILT.get_or_init(build).clone()
}

fn in_way(path: &Path, way: Way) -> Result<Run, String> {
    let run = Run::new(host()?).arg(path).env("VCPU_RT_DEBUG=1");
    Ok(match way {
        Way::OwnWithoutLibc => run.env(WITHOUT_LIBC).env("VCPU_RT_RSEQ=own"),
        _ => run,
    })
}

/// rseq_cs of each thread has the address of a descriptor in what is closed, and in own mode a pthread key that
/// of a destructor.
fn unload(path: &Path, way: Way, scenario: Option<&str>) -> Result<(), String> {
    let run = in_way(path, way)?.args(scenario);
    let outcome = run.run().exits(PASSED);
    assert_eq!(outcome.number("stays"), 1);
    assert_ne!(outcome.number("mode"), u64::from(MODE_SHARED));
    let state = Form::Archive.state(way).word();
    let told = format!("rseq={state} ");
    assert!(outcome.stderr.contains(&told), "{}", outcome.stderr);
    Ok(())
}

/// What the dynamic linker may unload registers nobody and has no sections.
fn refused(way: Way) -> Result<(), String> {
    let run = in_way(&with_archive()?, way)?.arg("refused");
    let outcome = run.run().exits(PASSED);
    assert_eq!(outcome.number("stays"), 0);
    assert_eq!(outcome.number("mode"), u64::from(MODE_SHARED));
    let told = "no rseq: the object with the runtime can be unloaded";
    assert!(outcome.stderr.contains(told), "{}", outcome.stderr);
    Ok(())
}
