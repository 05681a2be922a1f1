// SPDX-License-Identifier: MIT OR Apache-2.0
//! The kernel's own selftests of rseq, dynamically linked, on the running kernel.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};

use super::table::{Table, Verdict};
use super::way::Way;
use crate::kernel::build::build_with_tests;
use crate::kernel::long::INTERVAL;
use crate::kernel::selftests::{self, HostRun};
use crate::kernel::{Extent, Linux, Selection};
use crate::test::tally::Tally;

/// What a selftest returns where the machine lacks something (tools/testing/selftests/kselftest.h).
const SKIP: Option<i32> = Some(4);

/// The programs of one kernel's source, each in each way that it is for.
pub fn checks(linux: Linux, extent: Extent, tally: &mut Tally, table: &mut Table) -> Result<()> {
    let kernel = build_with_tests(&Selection::of(linux))?;
    let directory = kernel.selftests().join(selftests::DYNAMIC);
    println!("\n== conformance: rseq's selftests of {linux}");
    let runs = selftests::host_runs(&names(&directory)?, extent);
    let mut told = Instant::now();
    for (number, run) in runs.iter().enumerate() {
        if told.elapsed() > INTERVAL {
            told = Instant::now();
            println!("{number} of {} runs, {}", runs.len(), run.program);
        }
        check(run, linux, &directory, tally, table)?;
    }
    Ok(())
}

fn check(
    run: &HostRun,
    linux: Linux,
    directory: &Path,
    tally: &mut Tally,
    table: &mut Table,
) -> Result<()> {
    let row = format!("{linux}: {}", run.program);
    let program = directory.join(&run.program);
    let words: Vec<&str> = std::iter::once(program.to_str().context("a path in UTF-8")?)
        .chain(run.arguments.split_whitespace())
        .collect();
    let (plain_way, ways): (Way, &[Way]) = if run.registers {
        (Way::Unregistered, &[Way::OffUnregistered])
    } else {
        (
            Way::Without,
            &[
                Way::Adopt,
                Way::Own,
                Way::TakeOver,
                Way::Off,
                Way::OffUnregistered,
            ],
        )
    };
    let plain = plain_way.run(&words, directory)?;
    for &way in ways {
        let name = format!(
            "conformance: {linux}: {} {}: {}",
            run.program,
            run.arguments,
            way.name()
        );
        let output = way.run(&words, directory);
        let verdict = match &output {
            Ok(output) if output.status.code() == SKIP && plain.status.code() == SKIP => {
                Verdict::Skipped
            }
            Ok(output) if output.status.success() => Verdict::Same,
            // Not for this kernel: the status is the same without the library.
            Ok(output) if run.registers && output.status == plain.status => Verdict::Skipped,
            _ => Verdict::Other,
        };
        table.count(&row, way, verdict);
        match (verdict, output) {
            (Verdict::Same, _) => tally.passed(),
            (Verdict::Skipped, _) => tally.skipped(
                &format!("conformance: {linux}: {}: {}", run.program, way.name()),
                "this kernel lacks what it tests, without the library too",
            ),
            (Verdict::Other, Err(error)) => tally.failed(format!("{name}: {error:#}")),
            (Verdict::Other, Ok(output)) => tally.failed(format!(
                "{name}: {}; {}{}",
                output.status,
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            )),
        }
    }
    Ok(())
}

fn names(directory: &Path) -> Result<BTreeSet<String>> {
    let entries = fs::read_dir(directory).with_context(|| directory.display().to_string())?;
    entries
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect()
}
