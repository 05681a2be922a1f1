// SPDX-License-Identifier: MIT OR Apache-2.0
//! Programs and libraries that refer to the symbols in each way, and what their references find.

use std::path::PathBuf;
use std::process::Command;

use vcpu_tests::header::{self, run};
use vcpu_tests::hosted::{self, Form, WITHOUT_LIBC, compiler, directory, rpath, source};
use vcpu_tests::programs::PASSED;
use vcpu_tests::run::{Outcome, Run};

/// Means by which an object looks for a symbol, in `tests/hosted/symbols.h`.
const MEANS: [&str; 4] = ["default", "next", "default_version", "next_version"];

/// How the program with the references is linked.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Link {
    pub name: &'static str,
    /// `-fno-pie -no-pie`: references become copies.
    fixed: bool,
    /// Its reference is a normal one, not a weak one.
    normal: bool,
    /// `-lvcpu_rt`, not LD_PRELOAD.
    linked: bool,
}

pub const LINKS: [Link; 8] = [
    link("pie-weak-preload", false, false, false),
    link("pie-normal-preload", false, true, false),
    link("fixed-weak-preload", true, false, false),
    link("fixed-normal-preload", true, true, false),
    link("pie-weak-linked", false, false, true),
    link("pie-normal-linked", false, true, true),
    link("fixed-weak-linked", true, false, true),
    link("fixed-normal-linked", true, true, true),
];

const fn link(name: &'static str, fixed: bool, normal: bool, linked: bool) -> Link {
    Link {
        name,
        fixed,
        normal,
        linked,
    }
}

/// A shared library with references, under this name.
fn library(name: &str) -> Result<PathBuf, String> {
    let path = directory()?.join(format!("lib{name}.so"));
    let mut gcc = compiler("gcc");
    gcc.args(["-fPIC", "-shared", "-o"]).arg(&path);
    run(gcc.arg(source("symbols_library")))?;
    Ok(path)
}

fn build(link: Link) -> Result<Run, String> {
    let own = directory()?;
    let loaded = library(&format!("loaded-{}", link.name))?;
    let needed = format!("needed-{}", link.name);
    library(&needed)?;
    let program = own.join(format!("symbols-{}", link.name));
    let mut gcc = compiler("gcc");
    gcc.args(if link.fixed {
        ["-fno-pie", "-no-pie"]
    } else {
        ["-fPIE", "-pie"]
    });
    if link.normal {
        gcc.arg("-DNORMAL");
    }
    gcc.arg("-o").arg(&program).arg(source("symbols"));
    gcc.arg(rpath(&own)).arg(format!("-l{needed}"));
    let mut run = Run::new(&program).arg(&loaded).env(WITHOUT_LIBC);
    if link.linked {
        let directory = Form::Linked.libraries()?;
        gcc.arg("-Wl,--no-as-needed")
            .arg(rpath(&directory))
            .arg("-lvcpu_rt");
    } else {
        run = run.env(hosted::preload()?);
    }
    header::run(&mut gcc)?;
    Ok(run)
}

/// glibc's registration is off, so its own `__rseq_size` would be 0, "theirs".
pub fn references(link: Link) -> Result<(), String> {
    let outcome = build(link)?.run().exits(PASSED);
    for object in ["program", "library", "loaded"] {
        let reference = if object == "program" && !link.normal {
            "weak"
        } else {
            "normal"
        };
        for means in MEANS.iter().chain([&reference, &"default_table"]) {
            finds(&outcome, object, means, "ours");
        }
    }
    // Null is decided when a program with fixed addresses is linked without the library.
    let misses = link.fixed && !link.linked;
    finds(
        &outcome,
        "program",
        "table",
        if misses { "null" } else { "ours" },
    );
    finds(&outcome, "library", "table", "ours");
    Ok(())
}

#[track_caller]
fn finds(outcome: &Outcome, object: &str, means: &str, what: &str) {
    let name = format!("{object}.{means}");
    assert_eq!(outcome.value(&name), what, "{name}");
}

/// The tests above would pass with any library if glibc's symbols were not told from ours.
pub fn without_library() -> Result<(), String> {
    build(link("alone", false, false, false))?;
    let run = Run::new(directory()?.join("symbols-alone")).env(WITHOUT_LIBC);
    let outcome = run.run().exits(PASSED);
    for means in MEANS {
        finds(&outcome, "program", means, "theirs");
    }
    finds(&outcome, "program", "table", "null");
    finds(&outcome, "program", "default_table", "null");
    Ok(())
}

/// A weak reference pulls no member of an archive; `-u` does.
pub fn static_weak() -> Result<(), String> {
    let archive = Form::Static.libraries()?.join("libvcpu_rt.a");
    for (option, expected) in [(None, "absent\n"), (Some("-Wl,-u,vcpu_abi"), "size=")] {
        let program = directory()?.join("static-weak");
        let mut gcc = compiler("gcc");
        gcc.args(option).args(["-static", "-o"]).arg(&program);
        header::run(gcc.arg(source("table")).arg(&archive))?;
        let outcome = Run::new(&program).run().exits(PASSED);
        assert!(outcome.stdout.starts_with(expected), "{}", outcome.stdout);
    }
    Ok(())
}

/// What pkg-config's file says links a program whose references are all weak.
pub fn pkg_config() -> Result<(), String> {
    for (name, is_static) in [("dynamic", false), ("static", true)] {
        let program = directory()?.join(format!("pkg-config-{name}"));
        let mut gcc = Command::new("gcc");
        gcc.args(hosted::pkg_config("Cflags: ")?)
            .arg("-o")
            .arg(&program)
            .arg(source("table"));
        gcc.args(hosted::pkg_config("Libs: ")?);
        if is_static {
            gcc.arg("-static")
                .args(hosted::pkg_config("Libs.private: ")?);
        } else {
            gcc.arg(rpath(&Form::Linked.libraries()?));
        }
        header::run(&mut gcc)?;
        let outcome = Run::new(&program).run().exits(PASSED);
        assert!(outcome.stdout.starts_with("size="), "{}", outcome.stdout);
    }
    Ok(())
}
