// SPDX-License-Identifier: MIT OR Apache-2.0
//! Programs that people have: the same output and status as without the library.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};

use super::table::{Table, Verdict};
use super::way::Way;
use crate::command::{output, target_directory};
use crate::test::tally::Tally;
use crate::test::tools;

/// A program, Debian's package of it, and what a shell does with it. The scripts print nothing that
/// differs from run to run.
struct Program {
    name: &'static str,
    script: &'static str,
}

/// What the scripts need: a program, and Debian's package of it.
const TOOLS: [(&str, &str); 9] = [
    ("bash", "bash"),
    ("perl", "perl"),
    ("gcc", "gcc"),
    ("python3", "python3"),
    ("redis-server", "redis-server"),
    ("redis-benchmark", "redis-tools"),
    ("sqlite3", "sqlite3"),
    ("java", "default-jdk-headless"),
    ("gdb", "gdb"),
];

const PROGRAMS: [Program; 9] = [
    program("bash", include_str!("scripts/bash.sh")),
    program("perl", include_str!("scripts/perl.sh")),
    program("gcc", include_str!("scripts/gcc.sh")),
    program("python3", include_str!("scripts/python3.sh")),
    program(
        "python3: test_threading",
        include_str!("scripts/test_threading.sh"),
    ),
    program(
        "redis-server, redis-benchmark",
        include_str!("scripts/redis.sh"),
    ),
    program("sqlite3", include_str!("scripts/sqlite3.sh")),
    program("java", include_str!("scripts/java.sh")),
    program("gdb attaches", include_str!("scripts/gdb.sh")),
];

const fn program(name: &'static str, script: &'static str) -> Program {
    Program { name, script }
}

/// Installs what is missing where we may.
pub fn ensure_installed() -> Result<()> {
    let missing: Vec<&str> = TOOLS
        .iter()
        .filter(|(program, _)| !Path::new("/usr/bin").join(program).exists())
        .map(|(_, package)| *package)
        .collect();
    tools::install(&missing)?;
    // Python's own tests are a package of its version.
    let python = |code| output(Command::new("/usr/bin/python3").args(["-c", code]));
    if python("import test.test_threading").is_err() {
        let package = "import sys; print('libpython%d.%d-testsuite' % sys.version_info[:2])";
        tools::install(&[python(package)?.trim()])?;
    }
    Ok(())
}

/// Each program in each way.
pub fn checks(tally: &mut Tally, table: &mut Table) -> Result<()> {
    for program in &PROGRAMS {
        println!("\n== conformance: {}", program.name);
        let plain = program.run(Way::Without)?;
        ensure!(
            plain.status.success() && !plain.stdout.is_empty(),
            "{} fails without the library: {}{}",
            program.name,
            String::from_utf8_lossy(&plain.stdout),
            String::from_utf8_lossy(&plain.stderr)
        );
        for way in Way::REGISTERED {
            let name = format!("conformance: {}: {}", program.name, way.name());
            let same = program.run(way).and_then(|output| same(&plain, &output));
            let verdict = if same.is_ok() {
                Verdict::Same
            } else {
                Verdict::Other
            };
            table.count(program.name, way, verdict);
            match same {
                Ok(()) => tally.passed(),
                Err(error) => tally.failed(format!("{name}: {error:#}")),
            }
        }
    }
    Ok(())
}

fn same(plain: &Output, output: &Output) -> Result<()> {
    ensure!(
        (output.status, &output.stdout) == (plain.status, &plain.stdout),
        "{} and {:?}, without the library {} and {:?}; {}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        plain.status,
        String::from_utf8_lossy(&plain.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

impl Program {
    /// In an empty directory.
    fn run(&self, way: Way) -> Result<Output> {
        let directory = empty_directory()?;
        way.run(&["sh", "-euc", self.script], &directory)
    }
}

fn empty_directory() -> Result<PathBuf> {
    let directory = target_directory().join("conformance/scratch");
    remove(&directory)?;
    fs::create_dir_all(&directory).with_context(|| directory.display().to_string())?;
    Ok(directory)
}

fn remove(directory: &Path) -> Result<()> {
    if directory.exists() {
        fs::remove_dir_all(directory).with_context(|| directory.display().to_string())?;
    }
    Ok(())
}
