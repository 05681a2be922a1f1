// SPDX-License-Identifier: MIT OR Apache-2.0
//! The hosted form: whose registration it is in each form and way, and that the table says what is true.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::Path;

use vcpu_abi::{
    ABI_SIZE, FEATURE_CONST_OFFSET, FEATURE_MM_CID, FEATURE_RSEQ, FEATURE_RSEQ_V2,
    MODE_RSEQ_CPU_ID, MODE_RSEQ_MM_CID, MODE_SHARED,
};
use vcpu_tests::case::{self, Case};
use vcpu_tests::confine;
use vcpu_tests::hosted::{FORMS, Form, State, WAYS, WITHOUT_LIBC, Way, dist, preload};
use vcpu_tests::programs::{PASSED, workspace};
use vcpu_tests::run::{Outcome, Run};

fn main() {
    let mut cases = Vec::new();
    for form in FORMS {
        for way in WAYS {
            cases.push(
                Case::new(format!("{form}::{way}::table"), move || table(form, way))
                    .needs(form.is_available())
                    .needs(confine::kernel_has_rseq()),
            );
            cases.push(
                Case::new(format!("{form}::{way}::data"), move || data(form, way))
                    .needs(form.is_available())
                    .needs(confine::kernel_has_rseq()),
            );
        }
        cases.push(
            Case::new(format!("{form}::read_only"), move || read_only(form))
                .needs(form.is_available()),
        );
        for errno in [libc::ENOSYS, libc::EPERM, libc::EINVAL] {
            cases.push(
                Case::new(format!("{form}::refused_errno_{errno}"), move || {
                    refused(form, errno)
                })
                .needs(form.is_available()),
            );
        }
        cases.push(
            Case::new(format!("{form}::tunables"), move || tunables(form))
                .needs(form.is_available()),
        );
        cases.push(
            Case::new(format!("{form}::first_pool"), move || first_pool(form))
                .needs(form.is_available()),
        );
    }
    let available = Form::Preload.is_available();
    cases.push(Case::new("headers", headers).needs(available.clone()));
    cases.push(Case::new("no_paths", no_paths).needs(available.clone()));
    cases.push(Case::new("nobody", nobody).needs(available.clone()));
    cases.push(Case::new("static_ignores_preload", static_ignores_preload).needs(available));
    case::run(cases)
}

fn table(form: Form, way: Way) -> Result<(), String> {
    let outcome = form
        .run("table", way)?
        .env("VCPU_RT_DEBUG=1")
        .run()
        .exits(PASSED);
    let state = form.state(way);
    let told = format!("rseq={} ", state.word());
    assert!(outcome.stderr.contains(&told), "{told}: {}", outcome.stderr);
    fields(&outcome, state);
    symbols(&outcome, form, state);
    // All of it is there in the program's own constructors.
    assert_eq!(outcome.number("constructor"), 1);
    assert_eq!(
        outcome.number("registered_in_constructor"),
        u64::from(state.is_registered())
    );
    Ok(())
}

/// C's operations inline, and the C libraries of the examples: exact, and by sections where there is a
/// registration.
fn data(form: Form, way: Way) -> Result<(), String> {
    let outcome = form.run("data", way)?.run().exits(PASSED);
    let is_shared = outcome.number("mode") == u64::from(MODE_SHARED);
    assert_eq!(is_shared, !form.state(way).is_registered());
    // A section may be aborted 65 times in a row, though hardly ever.
    let locked = outcome.number("last_area");
    assert!(locked < 1000, "{locked} added by locks");
    Ok(())
}

/// What is installed has every header, as it is.
fn headers() -> Result<(), String> {
    let read = |directory: &Path| {
        let files = fs::read_dir(directory).map_err(|error| error.to_string())?;
        files
            .map(|file| {
                let path = file.map_err(|error| error.to_string())?.path();
                let text = fs::read(&path).map_err(|error| error.to_string())?;
                Ok((path.file_name().map(OsString::from), text))
            })
            .collect::<Result<BTreeMap<_, _>, String>>()
    };
    let installed = read(&dist()?.join("include"))?;
    assert_eq!(installed, read(&workspace().join("abi/include"))?);
    assert!(installed.len() >= 6, "{:?}", installed.keys());
    Ok(())
}

/// The table, by what the auxiliary vector says and the kernel answers.
fn fields(outcome: &Outcome, state: State) {
    let (feature_size, _) = confine::rseq_auxv();
    let offered = if feature_size == 0 { 20 } else { feature_size };
    let length = match state {
        State::Adopted => outcome.number("rseq_len"),
        State::Registered | State::TakenOver => offered.max(32),
        State::Absent | State::Off => 0,
    };
    let active = if length == 0 { 0 } else { offered.min(length) };
    assert_eq!(outcome.number("size"), u64::from(ABI_SIZE));
    assert_eq!(outcome.number("end"), 0);
    assert_eq!(outcome.number("rseq_len"), length);
    assert_eq!(outcome.number("rseq_size"), active);
    let mode = match active {
        0 => MODE_SHARED,
        size if size >= 28 => MODE_RSEQ_MM_CID,
        _ => MODE_RSEQ_CPU_ID,
    };
    assert_eq!(outcome.number("mode"), u64::from(mode));
    let features = outcome.number("features");
    for (bit, expected) in [
        (FEATURE_RSEQ, active > 0),
        (FEATURE_RSEQ_V2, length > 32),
        (FEATURE_MM_CID, active >= 28),
        (FEATURE_CONST_OFFSET, false),
    ] {
        assert_eq!(features & bit != 0, expected, "{bit:#x} of {features:#x}");
    }
    let registered = u64::from(state.is_registered());
    assert_eq!(outcome.number("registered"), registered);
    if state.is_registered() {
        assert!(outcome.number("cpu_id") < outcome.number("nr_vcpus"));
        assert_eq!(outcome.number("answer"), libc::EBUSY.unsigned_abs().into());
    }
}

/// `__rseq_*`: ours where we own it, else what they are without us.
fn symbols(outcome: &Outcome, form: Form, state: State) {
    let expected = match state {
        State::Registered | State::TakenOver => outcome.number("rseq_size"),
        State::Adopted => 20,
        State::Off if !form.is_musl() => 20,
        State::Absent | State::Off => 0,
    };
    assert_eq!(outcome.number("__rseq_size"), expected);
    assert_eq!(outcome.number("__rseq_flags"), 0);
    assert_eq!(outcome.value("__rseq_offset"), outcome.value("rseq_offset"));
}

/// What is installed says nothing of the machine that built it.
fn no_paths() -> Result<(), String> {
    let checkout = workspace()
        .canonicalize()
        .map_err(|error| error.to_string())?;
    let home = |name| std::env::var_os(name).map(|home| home.into_encoded_bytes());
    let paths = [
        Some(checkout.into_os_string().into_encoded_bytes()),
        home("CARGO_HOME"),
        home("HOME").map(|home| [&home, b"/.cargo".as_slice()].concat()),
        home("HOME").map(|home| [&home, b"/.rustup".as_slice()].concat()),
    ];
    for libraries in [Form::Linked.libraries()?, Form::MuslLinked.libraries()?] {
        for name in ["libvcpu_rt.so", "libvcpu_rt.a"] {
            let Ok(library) = fs::read(libraries.join(name)) else {
                // Nothing for musl is installed.
                continue;
            };
            for path in paths.iter().flatten() {
                let is_there = library.windows(path.len()).any(|bytes| bytes == path);
                assert!(!is_there, "{name}: {}", String::from_utf8_lossy(path));
            }
        }
    }
    Ok(())
}

/// RELRO, ours or that of the program with a copy, covers the table from before main on.
fn read_only(form: Form) -> Result<(), String> {
    let run = form.run("table", Way::AsItIs)?.arg("write");
    let outcome = run.run().dies_of(libc::SIGSEGV);
    assert_eq!(outcome.stdout, "writing\n");
    Ok(())
}

/// A kernel, or a filter, that refuses rseq: the shared mode, and not a word.
fn refused(form: Form, errno: i32) -> Result<(), String> {
    let run = || {
        Ok::<_, String>(
            form.run("table", Way::AsItIs)?
                .without_calls(&[libc::SYS_rseq], errno),
        )
    };
    let outcome = run()?.run().exits(PASSED);
    assert_eq!(outcome.stderr, "");
    fields(&outcome, State::Absent);
    let told = run()?.env("VCPU_RT_DEBUG=1").run().exits(PASSED).stderr;
    let expected = if form.is_shared() || form.is_musl() {
        format!("rseq=refused, errno {errno} ")
    } else {
        String::from("rseq=absent ")
    };
    assert!(told.contains(&expected), "{told}");
    Ok(())
}

/// Values that are not allowed are told under VCPU_RT_DEBUG alone.
fn tunables(form: Form) -> Result<(), String> {
    let run = || Ok::<_, String>(form.run("table", Way::AsItIs)?.env("VCPU_RT_STRIDE=3M"));
    let outcome = run()?.run().exits(PASSED);
    assert_eq!(outcome.stderr, "");
    assert_eq!(outcome.number("stride"), 2 << 20);
    let told = run()?.env("VCPU_RT_DEBUG=1").run().exits(PASSED).stderr;
    assert!(
        told.starts_with("vcpu-rt: VCPU_RT_STRIDE=3M is not allowed"),
        "{told}"
    );
    // A stride that does not fit is told, too, only where lines are asked for.
    let small = || Ok::<_, String>(form.run("table", Way::AsItIs)?.env("VCPU_RT_STRIDE=1G"));
    let small = || Ok::<_, String>(small()?.limit(libc::RLIMIT_AS, 4 << 30));
    let outcome = small()?.run().exits(PASSED);
    assert_eq!(outcome.stderr, "");
    assert!(outcome.number("stride") < 1 << 30);
    let told = small()?.env("VCPU_RT_DEBUG=1").run().exits(PASSED).stderr;
    assert!(told.contains("a stride of 1073741824 needs"), "{told}");
    let outcome = form
        .run("table", Way::AsItIs)?
        .env("VCPU_RT_STRIDE=64K")
        .run();
    assert_eq!(outcome.exits(PASSED).number("stride"), 64 << 10);
    Ok(())
}

/// Whether there is room the start asks by one mmap where the library starts with the program. Elsewhere, and at the
/// first object, memory may be locked, so the pool grows by mremap: no room, and the program has no counter;
/// refused by a filter, it has.
fn first_pool(form: Form) -> Result<(), String> {
    let run = |errno| {
        let run = form.run("table", Way::AsItIs)?;
        let run = run.without_calls(&[libc::SYS_mremap], errno);
        Ok::<_, String>(run.env("VCPU_RT_DEBUG=1").run())
    };
    let starts_with_program = form.is_shared() && !form.is_musl();
    let outcome = run(libc::ENOMEM)?.exits(1);
    let is_refused = outcome.stderr.contains(" areas=refused, errno 12");
    assert_eq!(is_refused, !starts_with_program, "{}", outcome.stderr);
    for errno in [libc::EPERM, libc::ENOSYS] {
        let outcome = run(errno)?.exits(PASSED);
        assert!(!outcome.stderr.contains("areas="), "{}", outcome.stderr);
    }
    Ok(())
}

/// Without a runtime the weak symbols are null, and the program goes on.
fn nobody() -> Result<(), String> {
    let outcome = Run::new(Form::Preload.program("table")?)
        .run()
        .exits(PASSED);
    assert_eq!(outcome.stdout, "absent\n");
    Ok(())
}

/// Who has no dynamic linker has no preload either.
fn static_ignores_preload() -> Result<(), String> {
    let run = Form::Static
        .run("table", Way::AsItIs)?
        .env(preload()?)
        .env(WITHOUT_LIBC);
    let outcome = run.run().exits(PASSED);
    assert_eq!(outcome.number("mode"), u64::from(MODE_SHARED));
    Ok(())
}
