// SPDX-License-Identifier: MIT OR Apache-2.0
//! `examples/template` is what a user copies. It must build outside of this workspace, and the
//! user's own `cargo test` must work in it.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use vcpu_tests::case::{self, Case};
use vcpu_tests::elf::complaints;
use vcpu_tests::programs::{cargo, workspace};
use vcpu_tests::run::Run;

fn main() {
    case::run(vec![Case::new(
        "builds_runs_and_tests_outside",
        builds_runs_and_tests_outside,
    )])
}

fn builds_runs_and_tests_outside() -> Result<(), String> {
    // Outside: cargo looks for a workspace in every directory above.
    let directory = std::env::temp_dir().join(format!("vcpu-rt-template.{}", std::process::id()));
    let result = copy_and_use(&directory);
    fs::remove_dir_all(&directory).map_err(|error| error.to_string())?;
    result
}

fn copy_and_use(directory: &Path) -> Result<(), String> {
    copy(&workspace().join("examples/template"), directory)?;
    let manifest = directory.join("Cargo.toml");
    let text = fs::read_to_string(&manifest).map_err(|error| error.to_string())?;
    let runtime = workspace()
        .join("rt")
        .canonicalize()
        .map_err(|error| error.to_string())?;
    let here = format!("path = \"{}\"", runtime.display());
    assert!(
        text.contains("path = \"../../rt\""),
        "the template names the runtime by path"
    );
    fs::write(&manifest, text.replace("path = \"../../rt\"", &here))
        .map_err(|error| error.to_string())?;
    let name = text
        .lines()
        .find_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"'))
        .ok_or("the template's package has no name")?;

    for (profile, folder) in [("dev", "debug"), ("release", "release")] {
        succeed(
            cargo()
                .current_dir(directory)
                .args(["build", "--offline", "--profile", profile]),
        )?;
        let program = find(
            &directory.join("target"),
            Path::new(folder).join(name).as_path(),
        )
        .ok_or_else(|| format!("no {folder}/{name} was built"))?;
        let outcome = Run::new(&program).run().exits(0);
        assert_ne!(outcome.stdout, "");
        let image = fs::read(&program).map_err(|error| error.to_string())?;
        assert_eq!(complaints(&image)?, Vec::<String>::new());
    }
    let output = succeed(cargo().current_dir(directory).args(["test", "--offline"]))?;
    let told = String::from_utf8_lossy(&output.stdout);
    let ran = told
        .lines()
        .any(|line| line.starts_with("test result: ok.") && !line.contains(" 0 passed"));
    assert!(ran, "no test ran:\n{told}");
    Ok(())
}

/// Runs cargo with the target directory where the user would find it.
fn succeed(command: &mut Command) -> Result<Output, String> {
    let output = command
        .env_remove("CARGO_TARGET_DIR")
        .output()
        .map_err(|error| format!("cargo: {error}"))?;
    if output.status.success() {
        Ok(output)
    } else {
        Err(format!(
            "{command:?}:\n{}",
            String::from_utf8_lossy(&output.stderr)
        ))
    }
}

/// Copies what a user would: files and directories, without a target directory or a lock file.
fn copy(from: &Path, to: &Path) -> Result<(), String> {
    fs::create_dir_all(to).map_err(|error| error.to_string())?;
    let entries = fs::read_dir(from).map_err(|error| format!("{}: {error}", from.display()))?;
    for entry in entries {
        let path = entry.map_err(|error| error.to_string())?.path();
        let name = path.file_name().expect("an entry has a name");
        if path.is_dir() && name != "target" {
            copy(&path, &to.join(name))?;
        } else if path.is_file() && name != "Cargo.lock" {
            fs::copy(&path, to.join(name)).map_err(|error| error.to_string())?;
        }
    }
    Ok(())
}

/// The program that ends in `end`, in the target directory itself or under a target's name.
fn find(target: &Path, end: &Path) -> Option<std::path::PathBuf> {
    let under = target.join("x86_64-unknown-linux-gnu").join(end);
    [under, target.join(end)]
        .into_iter()
        .find(|path| path.is_file())
}
