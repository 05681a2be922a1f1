// SPDX-License-Identifier: MIT OR Apache-2.0
//! Increments by many threads: how many a second, by how many threads, in each way.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use super::gs::Gs;
use crate::bench::Row;
use crate::bench::aligned::ROUNDS;
use crate::bench::process::{allowed_cpus, use_cpus};
use crate::bench::reference::bench_directory;
use crate::bench::statistics::{Ratio, median};
use crate::bench::subject::{Mode, Subject, alternate};
use crate::program::{Form, Profile, build_by, cargo_for};

/// Increments of all threads together.
const TOTAL: u32 = 960_000_000;

/// Threads in the picture.
const THREADS: [u32; 7] = [1, 2, 4, 8, 16, 32, 64];

/// Runs of each point of the picture.
const RUNS: usize = 5;

/// threads64_vs_pinned2: on two CPUs.
pub fn row() -> Result<Row> {
    let cpus = allowed_cpus()?;
    ensure!(cpus.len() >= 2, "threads64_vs_pinned2 needs two CPUs");
    let two = &cpus[cpus.len() - 2..];
    use_cpus(two)?;
    let program = program(&[], "threads")?;
    let subject = |threads| counting(&program, Mode::Rseq, "per_vcpu", threads, TOTAL);
    let pinned = two
        .iter()
        .fold(subject(2), |subject, cpu| subject.with(cpu));
    let times = alternate(&[subject(64), subject(64), pinned], ROUNDS, nanoseconds)?;
    use_cpus(&cpus)?;
    let [many, again, pinned] = &times[..] else {
        unreachable!("one list a subject")
    };
    println!(
        "{TOTAL} increments: 64 threads {:.1} ms, again {:.1} ms, 2 pinned {:.1} ms",
        median(many) / 1e6,
        median(again) / 1e6,
        median(pinned) / 1e6
    );
    let ratio = Ratio::new([many, again], pinned, median);
    Ok(Row::ratio("threads64_vs_pinned2", &ratio, 1.05))
}

/// One line of the picture.
pub struct Curve {
    /// What the legend says.
    pub label: &'static str,
    /// Threads, and millions of increments a second.
    pub points: Vec<(u32, f64)>,
}

/// All lines of the picture, on all CPUs that this process may use.
pub fn curves(gs: Gs) -> Result<Vec<Curve>> {
    let shipped = program(&[], "threads")?;
    let curve = |label, program: &Path, mode, what, threads: &[u32], total| {
        let points = threads.iter().map(|&threads| {
            let subject = counting(program, mode, what, threads, total);
            let times = (0..RUNS).map(|_| nanoseconds(&subject));
            let time = median(&times.collect::<Result<Vec<_>>>()?);
            let millions = f64::from(total) / time * 1e3;
            println!("{label}, {threads} threads: {millions:.0} million increments a second");
            Ok((threads, millions))
        });
        let points = points.collect::<Result<_>>()?;
        Ok::<_, anyhow::Error>(Curve { label, points })
    };
    let mut curves = vec![curve(
        "thread-local words",
        &shipped,
        Mode::Rseq,
        "thread_local",
        &THREADS,
        TOTAL,
    )?];
    match gs {
        Gs::Kernel => {
            curves.push(curve(
                "gs mode",
                &shipped,
                Mode::Gs,
                "per_vcpu",
                &THREADS,
                TOTAL,
            )?);
        }
        Gs::Program => {
            let hooked = program(gs.features(), "threads-gs")?;
            let label = "gs mode, one pinned thread (a kernel without PR_SET_GS_MODE)";
            curves.push(curve(label, &hooked, Mode::Gs, "per_vcpu", &[1], TOTAL)?);
        }
        Gs::Nobody => {}
    }
    // An eighth of the increments, where one takes that much longer.
    let less = TOTAL / 8;
    for (label, mode, what, total) in [
        ("rseq mode", Mode::Rseq, "per_vcpu", TOTAL),
        ("shared mode", Mode::Shared, "per_vcpu", less),
        ("one atomic counter", Mode::Rseq, "atomic", less),
    ] {
        curves.push(curve(label, &shipped, mode, what, &THREADS, total)?);
    }
    Ok(curves)
}

fn counting(program: &Path, mode: Mode, what: &str, threads: u32, total: u32) -> Subject {
    Subject::in_mode(program, mode)
        .with(what)
        .with(threads)
        .with(total)
}

/// What the program prints.
fn nanoseconds(subject: &Subject) -> Result<f64> {
    let numbers = subject.numbers()?.concat();
    ensure!(numbers.len() == 1, "one number is wanted, not {numbers:?}");
    Ok(numbers[0])
}

/// Builds the program with features of its package, and copies it to `file`.
fn program(features: &[&str], file: &str) -> Result<PathBuf> {
    let mut cargo = cargo_for("build", Form::Static);
    for feature in features {
        cargo.args(["--features", &format!("vcpu-bench-programs/{feature}")]);
    }
    let path = bench_directory()?.join(file);
    let built = build_by(cargo, "bench-threads", Profile::Release)?;
    fs::copy(built, &path).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}
