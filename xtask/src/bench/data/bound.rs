// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the number of vCPUs that there can be costs a program with areas: 8192 beside 64, by the
//! runtime's test hook, at the default stride of 2 MiB.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::bench::Row;
use crate::bench::exec::{copy, run_shuffled};
use crate::bench::statistics::{Ratio, median};
use crate::program::{Form, Profile, build_by, cargo_for};

const MANY: u32 = 8192;
const FEW: u32 = 64;

/// start_8192_vs_64 and rss_8192_extra_kib.
pub fn rows() -> Result<[Row; 2]> {
    let many = program(MANY, "")?;
    let again = program(MANY, "-again")?;
    let few = program(FEW, "")?;
    let costs = [memory(&many)?, memory(&few)?];
    println!(
        "start with areas: {MANY} vCPUs {} KiB resident and {} KiB of page tables, {FEW} vCPUs {} and {}",
        costs[0].resident, costs[0].page_tables, costs[1].resident, costs[1].page_tables
    );
    let extra = costs[0].sum().saturating_sub(costs[1].sum());
    let times = run_shuffled(&[many, again, few])?;
    let [many, again, few] = &times[..] else {
        unreachable!("one list a program")
    };
    println!(
        "exec to exit: {MANY} vCPUs {:.1} us, again {:.1} us, {FEW} vCPUs {:.1} us",
        median(many),
        median(again),
        median(few)
    );
    Ok([
        Row::ratio(
            "start_8192_vs_64",
            &Ratio::new([many, again], few, median),
            1.03,
        ),
        Row::count("rss_8192_extra_kib", extra, "KiB", 64),
    ])
}

/// The program with this bound, as a file of its own.
fn program(bound: u32, suffix: &str) -> Result<PathBuf> {
    let mut cargo = cargo_for("build", Form::Static);
    cargo.env("VCPU_RT_BENCH_BOUND", bound.to_string());
    cargo.args(["--features", "vcpu-bench-programs/test-hooks"]);
    let built = build_by(cargo, "bench-start-bound", Profile::Release)?;
    copy(&built, &format!("start-bound-{bound}{suffix}"))
}

/// What a process has, in KiB.
struct Memory {
    resident: u64,
    page_tables: u64,
}

impl Memory {
    fn sum(&self) -> u64 {
        self.resident + self.page_tables
    }
}

/// Of the program that has counted once and waits.
fn memory(program: &Path) -> Result<Memory> {
    let mut child = Command::new(program)
        .arg("wait")
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| program.display().to_string())?;
    let mut line = String::new();
    let stdout = child.stdout.take().context("stdout is a pipe")?;
    BufReader::new(stdout).read_line(&mut line)?;
    ensure!(line == "counted\n", "{} said {line:?}", program.display());
    let id = child.id();
    // Exact, unlike VmRSS before Linux 6.16, which leaves out what each CPU has not told yet.
    let resident = kib(&format!("/proc/{id}/smaps_rollup"), "Rss:")?;
    let page_tables = kib(&format!("/proc/{id}/status"), "VmPTE:")?;
    drop(child.stdin.take());
    let status = child.wait()?;
    ensure!(
        status.success(),
        "{} ended with {status}",
        program.display()
    );
    Ok(Memory {
        resident,
        page_tables,
    })
}

fn kib(path: &str, field: &str) -> Result<u64> {
    let text = fs::read_to_string(path).with_context(|| path.to_owned())?;
    let line = text.lines().find_map(|line| line.strip_prefix(field));
    let number = line.and_then(|line| line.trim().strip_suffix(" kB"));
    let number = number.with_context(|| format!("no {field} in {path}"))?;
    Ok(number.parse()?)
}
