// SPDX-License-Identifier: MIT OR Apache-2.0
//! A program starts in every link form: arguments, environment, thread-locals, stack protector,
//! initialisers, ways to end.

use std::ffi::{CString, OsStr};
use std::os::unix::ffi::OsStrExt;

use vcpu_tests::case::{self, Case};
use vcpu_tests::programs::{Form, PASSED};
use vcpu_tests::run::{End, Outcome, Run};

/// One check of programs in one form.
type Check = fn(Form) -> Result<(), String>;

/// The checks that depend on how the program is linked.
const CHECKS: [(&str, Check); 10] = [
    ("arguments", arguments),
    ("thread_locals", thread_locals),
    ("canary", canary),
    ("order", order),
    ("exit", exit),
    ("panic", panic),
    ("stack", stack),
    ("alloc", alloc),
    ("hello", hello),
    ("c_consumer", c_consumer),
];

fn main() {
    let mut cases = Vec::new();
    for form in Form::all() {
        for (name, check) in CHECKS {
            cases.push(Case::new(format!("{form}::{name}"), move || check(form)));
        }
    }
    cases.push(Case::new("empty_argv", empty_argv));
    cases.push(Case::new("huge_environment", huge_environment));
    cases.push(Case::new("odd_environment", odd_environment));
    cases.push(Case::new("closed_descriptors", closed_descriptors));
    cases.push(Case::new("print", print));
    case::run(cases)
}

fn run(form: Form, name: &str, arguments: &[&str]) -> Result<Outcome, String> {
    Ok(Run::new(form.program(name)?).args(arguments).run())
}

fn arguments(form: Form) -> Result<(), String> {
    let program = form.program("start")?;
    let outcome = Run::new(&program)
        .args([
            "one",
            "",
            "two words",
            "--",
            "FIRST",
            "EMPTY",
            "FIRS",
            "ABSENT",
        ])
        .env("FIRST=value=with=equals")
        .env("EMPTY=")
        .run()
        .exits(PASSED);
    assert_eq!(outcome.number("args"), 9);
    assert_eq!(
        outcome.value("arg[0]"),
        program.to_str().expect("a path in UTF-8")
    );
    assert_eq!(outcome.value("arg[1]"), "one");
    assert_eq!(outcome.value("arg[2]"), "");
    assert_eq!(outcome.value("arg[3]"), "two words");
    assert_eq!(outcome.number("vars"), 2);
    assert_eq!(outcome.number("environ"), 2);
    assert_eq!(outcome.value("var[0]"), "FIRST=value=with=equals");
    assert_eq!(outcome.value("lookup[FIRST]"), "value=with=equals");
    assert_eq!(outcome.value("lookup[EMPTY]"), "");
    assert_eq!(outcome.value("lookup[FIRS]"), "(none)");
    assert_eq!(outcome.value("lookup[ABSENT]"), "(none)");
    assert_eq!(outcome.stderr, "");
    Ok(())
}

fn thread_locals(form: Form) -> Result<(), String> {
    for (program, alignment) in [
        ("tls_plain", 64),
        ("tls_page", 4096),
        ("tls_wide", 8192),
        ("tls_huge", 65536),
    ] {
        let outcome = run(form, program, &[])?.exits(PASSED);
        assert_eq!(outcome.number("alignment"), alignment);
    }
    run(form, "thread_local", &[])?.exits(PASSED);
    Ok(())
}

fn canary(form: Form) -> Result<(), String> {
    let mut seen = Vec::new();
    for _ in 0..3 {
        let outcome = run(form, "canary", &["show"])?.exits(PASSED);
        let canary = outcome.value("main").to_owned();
        assert_eq!(
            canary,
            outcome.value("thread"),
            "one canary for the process"
        );
        assert_ne!(canary, "0000000000000000");
        assert!(
            canary.ends_with("00"),
            "{canary}: the low byte ends strings"
        );
        assert!(!seen.contains(&canary), "{canary} came twice");
        seen.push(canary);
    }
    for function in ["fill", "fill-thread"] {
        let whole = run(form, "canary", &[function, "16"])?.exits(PASSED);
        assert_eq!(whole.value("filled"), "120");
        // Eight bytes above the buffer, the canary is overwritten and nothing else.
        let smashed = run(form, "canary", &[function, "32"])?.dies_of(libc::SIGABRT);
        assert_eq!(smashed.stdout, "", "the function does not return");
        assert!(
            smashed.stderr.contains("stack smashing"),
            "{}",
            smashed.stderr
        );
        assert_eq!(smashed.stderr.lines().count(), 1, "{}", smashed.stderr);
    }
    Ok(())
}

fn order(form: Form) -> Result<(), String> {
    const BEFORE: &str = "preinit\ninit early\ninit late\nmain\n";
    const AFTER: &str = "fini first\nfini last\n";
    let lines = |middle: &str| format!("{BEFORE}{middle}{AFTER}");
    let plain = run(form, "order", &[])?.exits(PASSED);
    assert_eq!(plain.stdout, lines("registered second\nregistered first\n"));
    let exit = run(form, "order", &["exit"])?.exits(PASSED + 1);
    assert_eq!(exit.stdout, lines("registered\n"));
    let nested = run(form, "order", &["nested"])?.exits(PASSED);
    assert_eq!(nested.stdout, lines("outer\ninner\nouter again\n"));
    let full = run(form, "order", &["full"])?.exits(PASSED);
    let (error, rest) = full
        .stdout
        .split_at(full.stdout.find("handler").expect("handlers ran"));
    assert!(error.starts_with(BEFORE) && error.contains("32"), "{error}");
    assert_eq!(rest, format!("{}{AFTER}", "handler\n".repeat(32)));
    Ok(())
}

fn exit(form: Form) -> Result<(), String> {
    for how in ["return", "exit", "exit-in-thread"] {
        for status in [0, 1, PASSED, 255] {
            run(form, "exits", &[how, &status.to_string()])?.exits(status);
        }
    }
    // Only eight bits reach the parent (_exit(2)).
    run(form, "exits", &["return", "257"])?.exits(1);
    run(form, "exits", &["abort"])?.dies_of(libc::SIGABRT);
    run(form, "never", &[])?.exits(PASSED);
    Ok(())
}

fn panic(form: Form) -> Result<(), String> {
    for (how, message) in [
        ("panic", "the number is 4711"),
        ("panic-in-thread", "the number is 4712"),
    ] {
        let outcome = run(form, "exits", &[how])?.exits(101);
        assert!(outcome.stderr.contains(message), "{}", outcome.stderr);
        assert!(
            outcome.stderr.contains("src/bin/exits.rs:"),
            "{}",
            outcome.stderr
        );
    }
    let outcome = run(form, "exits", &["panic-in-panic"])?.exits(101);
    assert!(
        outcome.stderr.contains("src/bin/exits.rs:"),
        "the place is told even where the message cannot be: {}",
        outcome.stderr
    );
    let outcome = run(form, "exits", &["overflow", "3"])?.exits(101);
    assert!(
        outcome.stderr.contains("index out of bounds"),
        "{}",
        outcome.stderr
    );
    Ok(())
}

fn stack(form: Form) -> Result<(), String> {
    for place in ["main", "thread"] {
        let silent = run(form, "stack", &[place])?.dies_of(libc::SIGSEGV);
        assert_eq!(silent.stderr, "", "nobody asked for a report");
        let told = run(form, "stack", &[place, "report"])?.dies_of(libc::SIGSEGV);
        assert!(
            told.stderr.contains("has overflowed its stack"),
            "{}",
            told.stderr
        );
        assert_eq!(told.stderr.lines().count(), 1, "{}", told.stderr);
        if place == "thread" {
            assert!(
                told.stderr.contains("deep"),
                "the thread's name: {}",
                told.stderr
            );
        }
    }
    let fault = run(form, "stack", &["null", "report"])?.dies_of(libc::SIGSEGV);
    assert!(
        !fault.stderr.contains("has overflowed its stack"),
        "{}",
        fault.stderr
    );
    run(form, "stack", &["deep"])?.exits(PASSED);
    Ok(())
}

fn alloc(form: Form) -> Result<(), String> {
    let outcome = run(form, "heap", &["ab", "cd", "efg"])?.exits(PASSED);
    assert_eq!(outcome.value("doubled"), "AB CD EFG AB CD EFG");
    assert_eq!(outcome.value("lengths"), "{2: 2, 3: 1}");
    Ok(())
}

/// The smallest program: its `main` returns nothing.
fn hello(form: Form) -> Result<(), String> {
    let outcome = run(form, "hello", &[])?.exits(0);
    assert_eq!(outcome.stdout.lines().count(), 1, "{}", outcome.stdout);
    assert_eq!(outcome.stderr, "");
    Ok(())
}

/// A C object finds the table by its weak symbol, and its counts from eight threads are exact.
fn c_consumer(form: Form) -> Result<(), String> {
    let outcome = run(form, "c-consumer", &[])?.exits(0);
    assert!(
        outcome
            .stdout
            .contains("counted 800000 of 800000, declared 800000"),
        "{}",
        outcome.stdout
    );
    assert_eq!(outcome.stderr, "");
    Ok(())
}

/// Linux 5.18 and newer put an empty string where the caller gave no argv[0]; before, there is
/// none. Both must do.
fn empty_argv() -> Result<(), String> {
    for form in [Form::DEFAULT, Form::OPPOSITE] {
        let outcome = Run::new(form.program("start")?)
            .argv(Vec::new())
            .env("A=b")
            .run()
            .exits(PASSED);
        assert!(outcome.number("args") <= 1);
        if outcome.number("args") == 1 {
            assert_eq!(outcome.value("arg[0]"), "");
        }
        assert_eq!(outcome.value("var[0]"), "A=b");
    }
    Ok(())
}

/// 6000 variables and one of 128 KiB less its name, which is the kernel's limit (MAX_ARG_STRLEN).
fn huge_environment() -> Result<(), String> {
    const LONG: usize = 131_072 - "LONG=".len() - 1;
    for form in [Form::DEFAULT, Form::OPPOSITE] {
        let mut run = Run::new(form.program("start")?).args(["--", "V5999", "LAST"]);
        for index in 0..6000 {
            run = run.env(format!("V{index}={:0>100}", index));
        }
        run = run
            .env(format!("LONG={}", "x".repeat(LONG)))
            .env("LAST=here");
        let outcome = run.run().exits(PASSED);
        assert_eq!(outcome.number("vars"), 6002);
        assert_eq!(outcome.number("environ"), 6002);
        assert_eq!(outcome.number("bytes"), 6000 * 100 + LONG as u64 + 4);
        assert_eq!(outcome.value("lookup[V5999]"), format!("{:0>100}", 5999));
        assert_eq!(outcome.value("lookup[LAST]"), "here");
    }
    Ok(())
}

/// Duplicates (the first wins, as with getenv), entries without `=`, with an empty name, and
/// bytes that are no UTF-8.
fn odd_environment() -> Result<(), String> {
    let bytes = CString::new(b"BYTES=\xff\xfe".to_vec()).expect("no NUL");
    let outcome = Run::new(Form::DEFAULT.program("start")?)
        .args(["--", "TWICE", "BARE", "BYTES"])
        .env("TWICE=first")
        .env("TWICE=second")
        .env("BARE")
        .env("=nameless")
        .env(OsStr::from_bytes(bytes.as_bytes()))
        .run()
        .exits(PASSED);
    assert_eq!(outcome.number("environ"), 5);
    assert_eq!(outcome.value("lookup[TWICE]"), "first");
    assert_eq!(outcome.value("lookup[BARE]"), "(none)");
    assert_eq!(outcome.value("lookup[BYTES]"), r"\xff\xfe");
    Ok(())
}

/// Without any standard descriptor a program runs to its end: a write has nowhere to go.
fn closed_descriptors() -> Result<(), String> {
    let close = || {
        for descriptor in 0..3 {
            // SAFETY: integers only.
            unsafe { libc::close(descriptor) };
        }
        Ok(())
    };
    for (arguments, end) in [(vec!["forms"], PASSED), (vec!["panic"], 101)] {
        let name = if end == 101 { "exits" } else { "print" };
        let run = Run::new(Form::DEFAULT.program(name)?).args(arguments);
        // SAFETY: the step makes system calls only.
        let outcome = unsafe { run.before_exec(close) }
            .env("VCPU_RT_STRIDE=bad")
            .run();
        assert_eq!(outcome.end, End::Exit(end));
    }
    Ok(())
}

fn print() -> Result<(), String> {
    let form = Form::DEFAULT;
    let forms = run(form, "print", &["forms"])?.exits(PASSED);
    assert_eq!(forms.stdout, "a1b\n   42|0xff|\"quoted\"\n");
    assert_eq!(forms.stderr, "error 1 and 2\n\n");
    let long = run(form, "print", &["long"])?.exits(PASSED);
    assert_eq!(long.stdout, format!("<{}>\n", "a".repeat(3000)));
    let closed = run(form, "print", &["closed"])?.exits(PASSED);
    assert_eq!(closed.stderr, "still here\n");
    let threads = run(form, "print", &["threads"])?.exits(PASSED);
    let mut lines: Vec<_> = threads.stdout.lines().collect();
    let mut expected: Vec<_> = (0..8)
        .flat_map(|thread| (0..500).map(move |line| format!("[{thread} {line} {:->200}]", "")))
        .collect();
    lines.sort_unstable();
    expected.sort_unstable();
    assert_eq!(lines, expected, "a line that fits 512 bytes is one write");
    Ok(())
}
