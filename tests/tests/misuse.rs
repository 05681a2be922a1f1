// SPDX-License-Identifier: MIT OR Apache-2.0
//! Programs that misuse critical sections and per-vCPU words do not compile, and the compiler says why.

use std::fs;
use std::path::PathBuf;

use vcpu_tests::case::{self, Case};
use vcpu_tests::programs::{cargo, target_directory, workspace};

fn main() {
    let bin = package().join("src/bin");
    let files = fs::read_dir(&bin).unwrap_or_else(|error| panic!("{}: {error}", bin.display()));
    let mut names: Vec<String> = files
        .filter_map(|file| Some(file.ok()?.path().file_stem()?.to_str()?.to_owned()))
        .collect();
    names.sort();
    let cases = names.into_iter().map(|name| {
        let program = name.clone();
        Case::new(name, move || compile(&program))
    });
    case::run(cases.collect())
}

fn package() -> PathBuf {
    workspace().join("tests/fixtures/misuse")
}

/// Compiles a program and compares with its first line of documentation: `Compiles`, or `error: `
/// and what the compiler says.
fn compile(name: &str) -> Result<(), String> {
    let source = package().join("src/bin").join(format!("{name}.rs"));
    let source = fs::read_to_string(source).map_err(|error| error.to_string())?;
    let expected = source.lines().find_map(|line| line.strip_prefix("//! "));
    let expected = expected.ok_or("it does not say what is wrong with it")?;
    let mut command = cargo();
    command
        .current_dir(workspace().join("examples"))
        .args(["build", "--offline", "--bin", name]);
    command
        .arg("--manifest-path")
        .arg(package().join("Cargo.toml"));
    command
        .arg("--target-dir")
        .arg(target_directory()?.join("misuse"));
    let output = command
        .output()
        .map_err(|error| format!("cargo: {error}"))?;
    let told = String::from_utf8_lossy(&output.stderr);
    if expected.starts_with("Compiles") {
        return if output.status.success() {
            Ok(())
        } else {
            Err(told.into_owned())
        };
    }
    assert!(!output.status.success(), "{name} compiles");
    let (kind, reason) = expected.split_once(": ").unwrap_or((expected, ""));
    let named = told.lines().any(|line| line.starts_with(kind)) && told.contains(reason);
    if named {
        Ok(())
    } else {
        Err(format!("it should fail by `{expected}`:\n{told}"))
    }
}
