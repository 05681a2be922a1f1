// SPDX-License-Identifier: MIT OR Apache-2.0
//! The rules of docs/critical-sections.md on the running kernel, each by a run of the program `rules`.

use std::fs;
use std::process::Command;

use vcpu_tests::case::{self, Case};
use vcpu_tests::confine;
use vcpu_tests::programs::{Form, PASSED, workspace};
use vcpu_tests::run::Run;
use vcpu_tests::scratch::Scratch;

/// What every kernel with rseq does.
const RULES: [&str; 12] = [
    "signal",
    "commit",
    "outside",
    "page-fault",
    "descriptors",
    "unmapped-descriptor",
    "unmapped-area",
    "read-only",
    "registration",
    "exec",
    "vm-child",
    "fence",
];

fn main() {
    let mut cases = Vec::new();
    for form in [Form::DEFAULT, Form::OPPOSITE] {
        let mut case = |name: &'static str, need: Result<(), String>| {
            let body = move || rule(form, name);
            let need = confine::kernel_has_rseq().and(need);
            cases.push(Case::new(format!("{form}::{name}"), body).needs(need));
        };
        for name in RULES {
            case(name, Ok(()));
        }
        case("failed-exec", Ok(()));
        case("checked-descriptors", checks_descriptors());
        case("system-call", is_debug_kernel());
        case("sleep", sleeps_in_sections());
    }
    cases.push(Case::new("reference", reference));
    case::run(cases)
}

fn rule(form: Form, name: &str) -> Result<(), String> {
    let directory = Scratch::new(&format!("rules_{form}_{name}"))?;
    let run = Run::new(form.program("rules")?).arg(name);
    let outcome = run
        .arg(directory.path().join("garbage"))
        .run()
        .exits(PASSED);
    assert!(outcome.stdout.ends_with("shown\n"), "{}", outcome.stdout);
    Ok(())
}

/// The reference names each rule's scenario, and shows the examples as they are compiled and run.
fn reference() -> Result<(), String> {
    let read = |name: &str| {
        fs::read_to_string(workspace().join(name)).map_err(|error| format!("{name}: {error}"))
    };
    let text = read("docs/critical-sections.md")?;
    for name in RULES
        .iter()
        .chain(&["checked-descriptors", "failed-exec", "sleep", "system-call"])
    {
        assert!(
            text.contains(&format!("`rules {name}`")),
            "{name} is not there"
        );
    }
    for name in ["trace", "free_list"] {
        let source = read(&format!("tests/programs/src/{name}.rs"))?;
        let (_, from) = source.split_once("// example: ").ok_or("no beginning")?;
        let (_, example) = from.split_once("\n\n").ok_or("no beginning")?;
        let (example, _) = example.split_once("\n// end\n").ok_or("no end")?;
        let shown = format!("```rust\n{example}\n```\n");
        assert!(text.contains(&shown), "{name}.rs is not what is shown");
    }
    Ok(())
}

/// Kernels before 6.19 check all of a descriptor whenever they see one.
fn checks_descriptors() -> Result<(), String> {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease");
    let release = release.map_err(|error| error.to_string())?;
    let mut numbers = release
        .split(['.', '-'])
        .map(|number| number.trim().parse().unwrap_or(0));
    let version: (u32, u32) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if version < (6, 19) {
        Ok(())
    } else {
        Err(format!(
            "Linux {} checks this under rseq_debug only",
            release.trim()
        ))
    }
}

/// Whether a system call in a section has a defined end on this kernel.
fn sleeps_in_sections() -> Result<(), String> {
    match is_debug_kernel() {
        Ok(()) => Err("this kernel kills for it".into()),
        // The releases between had one kind of registration, and no promise.
        Err(_) if confine::rseq_auxv().0 < 33 => checks_descriptors(),
        Err(_) => Ok(()),
    }
}

/// CONFIG_DEBUG_RSEQ, as the kernel or its package tells.
fn is_debug_kernel() -> Result<(), String> {
    let commands = ["zcat /proc/config.gz", "cat /boot/config-$(uname -r)"];
    let config = commands.into_iter().find_map(|command| {
        let output = Command::new("sh").args(["-c", command]).output().ok()?;
        output.status.success().then_some(output.stdout)
    });
    let config = String::from_utf8(config.ok_or("this kernel does not tell its configuration")?);
    let config = config.map_err(|error| error.to_string())?;
    let debug = ["CONFIG_DEBUG_RSEQ=y", "CONFIG_RSEQ_DEBUG_DEFAULT_ENABLE=y"];
    if config.lines().any(|line| debug.contains(&line)) {
        Ok(())
    } else {
        Err("this kernel has no CONFIG_DEBUG_RSEQ".into())
    }
}
