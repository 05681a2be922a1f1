// SPDX-License-Identifier: MIT OR Apache-2.0
//! Compares the C header with the Rust crate: a C program, generated from one list, prints each
//! size, offset, type and value as the header has it; the same lines are made from Rust.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::{env, fs, process};

pub mod data;
pub mod faults;
pub mod forms;
pub mod list;
pub mod names;
pub mod wrapper_mixes;

use list::Value;

/// The flags under which the header is clean.
pub const WARNINGS: [&str; 7] = [
    "-Wall",
    "-Wextra",
    "-Wpedantic",
    "-Wshadow",
    "-Wconversion",
    "-Wsign-conversion",
    "-Werror",
];

/// A directory of its own, removed with the value.
pub struct Scratch(PathBuf);

impl Scratch {
    /// A new empty directory.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn new() -> Result<Self, String> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = env::temp_dir().join(format!("vcpu-header-{}-{number}", process::id()));
        fs::create_dir(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Self(path))
    }

    /// The path of a file in it.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Writes a file and returns its path.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, name: &str, text: &str) -> Result<PathBuf, String> {
        let path = self.path(name);
        fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Left behind in the temporary directory when it fails: nothing depends on it.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The directory of the header.
#[must_use]
pub fn include_directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../abi/include")
}

/// The header's text.
///
/// # Errors
/// When it cannot be read.
pub fn text() -> Result<String, String> {
    let path = include_directory().join("vcpu_rt.h");
    fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))
}

/// Whether the command can be started, for [`Case::needs`](crate::case::Case::needs).
///
/// # Errors
/// The reason why not.
pub fn available(command: &str) -> Result<(), String> {
    match Command::new(command).arg("--version").output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!("{command} --version: {}", output.status)),
        Err(error) => Err(format!("{command}: {error}")),
    }
}

/// A compiler of C or C++ with the flags under which the headers are clean, and with others.
#[must_use]
pub fn compiler(name: &str, standard: &str, flags: &str) -> Command {
    let mut command = Command::new(name);
    if standard.contains("++") {
        command.args(["-x", "c++"]);
    }
    command
        .args(WARNINGS)
        .args([standard, "-D_GNU_SOURCE", "-pthread"])
        .args(flags.split_whitespace())
        .arg("-I")
        .arg(include_directory());
    command
}

/// Runs a command to its end and returns its standard output.
///
/// # Errors
/// When it fails: what it was and what it wrote on standard error.
pub fn run(command: &mut Command) -> Result<String, String> {
    // Messages in English: some tests look for words of the compiler's.
    let output = command
        .env("LC_ALL", "C")
        .output()
        .map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(format!(
        "{command:?}: {}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    ))
}

/// Runs a program that must end with a status.
///
/// # Errors
/// When it ended otherwise, with what it wrote on standard error.
pub fn expect_status(command: &mut Command, status: i32) -> Result<(), String> {
    let output = command
        .output()
        .map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.code() == Some(status) {
        return Ok(());
    }
    let message = String::from_utf8_lossy(&output.stderr);
    Err(format!(
        "{command:?}: expected exit status {status}, got {}\n{message}",
        output.status
    ))
}

/// The path of a C source of these tests.
#[must_use]
pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures/header")
        .join(name)
}

/// Every difference between a header's text and the Rust crate, one line each. That the header
/// cannot be read or compiled is one, with the compiler's words.
#[must_use]
pub fn differences(header: &str) -> Vec<String> {
    let mut found = Vec::new();
    for compare in [compare_names, compare_values] {
        compare(header, &mut found).unwrap_or_else(|message| found.push(message));
    }
    found
}

/// The list has what the header has.
fn compare_names(header: &str, found: &mut Vec<String>) -> Result<(), String> {
    found.extend(unlisted_fields(&names::c_structures(header)?));
    let scratch = Scratch::new()?;
    let path = scratch.write("vcpu_rt.h", header)?;
    let listing = run(Command::new("gcc").args(["-dM", "-E"]).arg(path))?;
    let listed = list::constants()
        .iter()
        .map(|constant| format!("VCPU_{}", constant.name))
        .collect();
    found.extend(unmatched(
        "the header",
        names::c_constants(&listing),
        "the list",
        listed,
    ));
    Ok(())
}

/// What the list has is equal in both.
fn compare_values(header: &str, found: &mut Vec<String>) -> Result<(), String> {
    let scratch = Scratch::new()?;
    scratch.write("vcpu_rt.h", header)?;
    let program = scratch.path("print");
    let source = scratch.write("print.c", &printing_program())?;
    run(Command::new("gcc")
        .args(["-std=c11", "-Wall", "-Wextra", "-Werror", "-o"])
        .arg(&program)
        .arg(source))?;
    let printed = run(&mut Command::new(&program))?;
    let expected = expected();
    if expected.lines().count() != printed.lines().count() {
        return Err("the generated program printed another number of lines".into());
    }
    for (rust, c) in expected
        .lines()
        .zip(printed.lines())
        .filter(|(rust, c)| rust != c)
    {
        found.push(format!("Rust has `{rust}`, the header `{c}`"));
    }
    Ok(())
}

/// Constants of a Rust source text of the crate that the list does not have, and the reverse.
#[must_use]
pub fn unlisted_constants(source: &str) -> Vec<String> {
    let listed = list::constants()
        .iter()
        .map(|constant| constant.name.to_owned())
        .collect();
    unmatched(
        "the crate",
        names::rust_constants(source),
        "the list",
        listed,
    )
}

fn unlisted_fields(structures: &[names::Members]) -> Vec<String> {
    let with_tag = |tag: &str, field: &str| format!("struct {tag}: {field}");
    let header = structures
        .iter()
        .flat_map(|(tag, fields)| fields.iter().map(|field| with_tag(tag, field)))
        .collect();
    let list = list::structures()
        .iter()
        .flat_map(|it| {
            it.fields
                .iter()
                .map(|field| with_tag(it.c_name, field.name))
                .collect::<Vec<_>>()
        })
        .collect();
    unmatched("the header", header, "the list", list)
}

fn unmatched(
    left_name: &str,
    left: Vec<String>,
    right_name: &str,
    right: Vec<String>,
) -> Vec<String> {
    let left: BTreeSet<_> = left.into_iter().collect();
    let right: BTreeSet<_> = right.into_iter().collect();
    let only_left = left
        .difference(&right)
        .map(|name| format!("only {left_name} has {name}"));
    let only_right = right
        .difference(&left)
        .map(|name| format!("only {right_name} has {name}"));
    only_left.chain(only_right).collect()
}

/// What the program prints when all is equal.
fn expected() -> String {
    let mut text = String::new();
    for structure in list::structures() {
        let tag = structure.c_name;
        let _ = writeln!(
            text,
            "struct {tag}: size {} align {}",
            structure.size, structure.align
        );
        for field in structure.fields {
            let _ = writeln!(
                text,
                "struct {tag}: {} at {} size {} type {}",
                field.name, field.offset, field.size, field.c_type
            );
        }
    }
    for constant in list::constants() {
        let _ = match constant.value {
            Value::Number(number) => writeln!(text, "VCPU_{} {number}", constant.name),
            Value::Text(string) => writeln!(text, "VCPU_{} {string}", constant.name),
        };
    }
    text
}

/// The C program. An array decays in _Generic to a pointer to its element.
fn printing_program() -> String {
    let structures = list::structures();
    let types: BTreeSet<_> = structures
        .iter()
        .flat_map(|it| it.fields.iter().map(|field| field.c_type))
        .collect();
    let mut text =
        String::from("#include <stdio.h>\n#include \"vcpu_rt.h\"\n#define TYPE(x) _Generic((x)");
    for c_type in types {
        let _ = write!(text, ", \\\n\t{c_type}: \"{c_type}\"");
    }
    text.push_str(", \\\n\tuint8_t *: \"uint8_t\", default: \"unknown\")\nint main(void)\n{\n");
    for structure in structures {
        let tag = structure.c_name;
        let _ = writeln!(
            text,
            "\tprintf(\"struct {tag}: size %zu align %zu\\n\", sizeof(struct {tag}), _Alignof(struct {tag}));"
        );
        for field in structure.fields {
            let name = field.name;
            let place = format!("((struct {tag} *)0)->{name}");
            let _ = writeln!(
                text,
                "\tprintf(\"struct {tag}: {name} at %zu size %zu type %s\\n\", \
                 offsetof(struct {tag}, {name}), sizeof({place}), TYPE({place}));"
            );
        }
    }
    for constant in list::constants() {
        let name = format!("VCPU_{}", constant.name);
        let _ = match constant.value {
            Value::Number(_) => {
                writeln!(text, "\tprintf(\"{name} %lld\\n\", (long long)({name}));")
            }
            Value::Text(_) => writeln!(text, "\tprintf(\"{name} %s\\n\", {name});"),
        };
    }
    text.push_str("\treturn 0;\n}\n");
    text
}
