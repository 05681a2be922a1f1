// SPDX-License-Identifier: MIT OR Apache-2.0
//! The executables themselves, read with the `object` crate, and the reader fed bad ones.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use vcpu_tests::case::{self, Case};
use vcpu_tests::elf::{Exported, TABLE, complaints, defined, exported, tls_is_congruent};
use vcpu_tests::programs::{Form, Linker, PASSED, Profile, Start};
use vcpu_tests::run::Run;
use vcpu_tests::scratch::Scratch;

/// The programs whose files are read: the smallest, a plain one, and those with C objects, with
/// arrays and with an allocator.
const PROGRAMS: [&str; 5] = ["hello", "start", "tls_wide", "order", "heap"];

/// Every C symbol that `entry!` puts into a program, but for [`TABLE`]. Each is the argument of the program
/// `symbols`, which checks what the symbol promises and knows no other.
const SYMBOLS: [&str; 16] = [
    "__libc_start_main",
    "__rseq_flags",
    "__rseq_offset",
    "__rseq_size",
    "__stack_chk_fail",
    "_Unwind_Resume",
    "_start",
    "bcmp",
    "environ",
    "main",
    "memcmp",
    "memcpy",
    "memmove",
    "memset",
    "rust_eh_personality",
    "strlen",
];

/// What the linkers and the C toolchain's start files define in every executable.
const TOOLCHAIN: [&str; 10] = [
    "_DYNAMIC",
    "_IO_stdin_used",
    "__TMC_END__",
    "__bss_start",
    "__data_start",
    "_edata",
    "_end",
    "_fini",
    "_init",
    "data_start",
];

fn main() {
    let mut cases = Vec::new();
    for form in Form::all() {
        cases.push(Case::new(
            format!("{form}::nothing_to_complain"),
            move || good(form),
        ));
        cases.push(Case::new(format!("{form}::exported_symbols"), move || {
            symbols(form)
        }));
    }
    for symbol in SYMBOLS.into_iter().chain(TABLE) {
        cases.push(Case::new(format!("symbol::{symbol}"), move || {
            conformance(symbol)
        }));
    }
    cases.push(Case::new("symbol::unknown", unknown_symbol));
    cases.push(Case::new(
        "an_incongruent_tls_segment_is_covered",
        incongruent_tls,
    ));
    for (name, arguments, complaint) in BAD {
        cases.push(
            Case::new(format!("bad::{name}"), move || {
                bad(name, arguments, complaint)
            })
            .needs(has_gcc()),
        );
    }
    cases.push(Case::new("bad::not_elf", || {
        assert!(complaints(b"#!/bin/sh\n").is_err());
        Ok::<_, String>(())
    }));
    case::run(cases)
}

fn read(form: Form, program: &str) -> Result<Vec<u8>, String> {
    fs::read(form.program(program)?).map_err(|error| format!("{program}: {error}"))
}

fn good(form: Form) -> Result<(), String> {
    for program in PROGRAMS {
        let mut found = complaints(&read(form, program)?)?;
        if program == "hello" {
            // It asks for the table only where something refers to it, and nothing does.
            found.retain(|told| told != "vcpu_abi is not exported");
        }
        assert!(found.is_empty(), "{program}: {found:?}");
    }
    Ok(())
}

/// The C symbols of a program, less those of its linker and its own.
fn c_symbols(image: &[u8]) -> Result<BTreeSet<String>, String> {
    let ours = |symbol: &Exported| {
        let name = symbol.name.as_str();
        let mangled = name.starts_with("_ZN") || name.starts_with("_R");
        !mangled && !TOOLCHAIN.contains(&name)
    };
    Ok(exported(image)?
        .into_iter()
        .filter(ours)
        .map(|symbol| symbol.name)
        .collect())
}

/// Exactly the documented symbols: one more would have no test, one less breaks a promise.
fn symbols(form: Form) -> Result<(), String> {
    let documented: BTreeSet<_> = SYMBOLS.into_iter().chain(TABLE).map(String::from).collect();
    for program in ["hello", "heap", "symbols"] {
        let image = read(form, program)?;
        let found = c_symbols(&image)?;
        if form.profile == Profile::Small {
            assert!(found.is_empty(), "the small profile strips: {found:?}");
            continue;
        }
        let extra: Vec<_> = found.difference(&documented).collect();
        assert!(
            extra.is_empty(),
            "{program} has {extra:?}, which nothing documents or tests"
        );
        // The linker leaves out what nobody refers to; `symbols` refers to all. The memory
        // functions are hidden: they serve the link and are gone from its result.
        let all: BTreeSet<_> = defined(&image)?
            .into_iter()
            .map(|symbol| symbol.name)
            .collect();
        let missing: Vec<_> = documented.difference(&all).collect();
        assert!(
            program != "symbols" || missing.is_empty(),
            "{program} lacks {missing:?}"
        );
    }
    Ok(())
}

/// The program `symbols` checks one symbol by what a C object would do with it.
fn conformance(symbol: &str) -> Result<(), String> {
    for form in [
        Form::DEFAULT,
        Form::OPPOSITE,
        Form {
            start: Start::Own,
            ..Form::DEFAULT
        },
    ] {
        let outcome = Run::new(form.program("symbols")?).arg(symbol).run();
        match symbol {
            "__stack_chk_fail" => drop(outcome.dies_of(libc::SIGABRT)),
            // Nothing unwinds: to get there is a trap.
            "_Unwind_Resume" | "rust_eh_personality" => drop(outcome.dies_of(libc::SIGILL)),
            _ => assert_eq!(outcome.exits(PASSED).stdout, format!("{symbol}\n")),
        }
    }
    Ok(())
}

/// A symbol that the program has no check for is an error, not a pass.
fn unknown_symbol() -> Result<(), String> {
    Run::new(Form::DEFAULT.program("symbols")?)
        .arg("memccpy")
        .run()
        .exits(101);
    Ok(())
}

/// The runtime's layout rule is only tested by a segment whose address is not a multiple of its
/// alignment. lld starts it at any page, so most of these are.
fn incongruent_tls() -> Result<(), String> {
    let forms = Form::all().into_iter();
    for form in forms.filter(|form| form.linker == Linker::RustLld) {
        for program in ["tls_wide", "tls_huge"] {
            if !tls_is_congruent(&read(form, program)?)? {
                return Ok(());
            }
        }
    }
    Err("every TLS segment is congruent: none tests the rule".into())
}

/// Executables made wrong on purpose, and the complaint that each must bring.
const BAD: [(&str, &[&str], &str); 6] = [
    ("dynamic", &[], "interpreter"),
    ("dynamic_needs_libc", &["-pie"], "needs a shared library"),
    (
        "execstack",
        &["-static", "-z", "execstack"],
        "the stack is executable",
    ),
    ("norelro", &["-static", "-z", "norelro"], "no PT_GNU_RELRO"),
    (
        "writable_text",
        &["-static", "-nostdlib", "-Wl,-N,-emain"],
        "writable and executable",
    ),
    ("foreign", &["-static"], "vcpu_abi is not exported"),
];

fn has_gcc() -> Result<(), String> {
    match Command::new("gcc").arg("--version").output() {
        Ok(output) if output.status.success() => Ok(()),
        _ => Err("gcc is not installed".into()),
    }
}

fn bad(name: &str, arguments: &[&str], complaint: &str) -> Result<(), String> {
    let directory = Scratch::new(&format!("bad_{name}"))?;
    let source = directory.path().join("main.c");
    let program = directory.path().join("main");
    fs::write(&source, "int main(void) { return 0; }\n").map_err(|error| error.to_string())?;
    let mut gcc = Command::new("gcc");
    let status = gcc
        .args(arguments)
        .arg("-o")
        .arg(&program)
        .arg(&source)
        .status();
    assert!(
        status.map_err(|error| error.to_string())?.success(),
        "gcc failed"
    );
    let image = fs::read(&program).map_err(|error| error.to_string())?;
    let found = complaints(&image)?;
    assert!(
        found.iter().any(|told| told.contains(complaint)),
        "{complaint:?} not in {found:?}"
    );
    Ok(())
}
