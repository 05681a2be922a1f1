// SPDX-License-Identifier: MIT OR Apache-2.0
//! From exec to exit of a program that does nothing, ours beside musl's.

use std::ffi::CString;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::Row;
use super::process::{c_path, time_to_exit};
use super::reference::{assemble_floor, bench_directory, musl_nothing};
use super::statistics::{Random, Ratio, median};
use crate::program::{Form, Profile, build};

/// Runs of each program that count.
const RUNS: usize = 600;

/// Runs of each program before those, which bring files and caches to a steady state.
const WARM_UP: usize = 50;

/// exec_vs_musl and exec_vs_musl_static_pie.
pub fn rows() -> Result<[Row; 2]> {
    Ok([
        Row::ratio("exec_vs_musl", &compare("static", Form::Static)?, 1.08),
        Row::ratio(
            "exec_vs_musl_static_pie",
            &compare("static-pie", Form::StaticPie)?,
            1.14,
        ),
    ])
}

fn compare(label: &str, form: Form) -> Result<Ratio> {
    // The same program as two files: two files differ in where the page cache put them.
    let built = build("bench-nothing", form, Profile::Release)?;
    let ours = copy(&built, &format!("nothing-{label}"))?;
    let again = copy(&built, &format!("nothing-{label}-again"))?;
    let times = run_shuffled(&[ours, again, musl_nothing(form)?, assemble_floor()?])?;
    let [ours, again, musl, floor] = &times[..] else {
        unreachable!("one list a program")
    };
    println!(
        "exec to exit, {label}: ours {:.1} us, again {:.1} us, musl {:.1} us, \
         a three-instruction _exit {:.1} us",
        median(ours),
        median(again),
        median(musl),
        median(floor)
    );
    Ok(Ratio::new([ours, again], musl, median))
}

/// The program as a file of its own, which its next build leaves alone.
pub fn copy(program: &Path, name: &str) -> Result<PathBuf> {
    let path = bench_directory()?.join(name);
    fs::copy(program, &path).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

/// The times in microseconds of each program, all runs of all programs in random order.
pub fn run_shuffled(programs: &[PathBuf]) -> Result<Vec<Vec<f64>>> {
    let programs: Vec<_> = programs.iter().map(|path| (path.clone(), None)).collect();
    run_shuffled_in(&programs)
}

/// The same, each program with an entry of the environment or none.
pub fn run_shuffled_in(programs: &[(PathBuf, Option<CString>)]) -> Result<Vec<Vec<f64>>> {
    let paths = programs
        .iter()
        .map(|(path, entry)| Ok((c_path(path)?, entry.as_deref())))
        .collect::<Result<Vec<_>>>()?;
    for _ in 0..WARM_UP {
        for (path, entry) in &paths {
            time_to_exit(path, *entry)?;
        }
    }
    let mut order: Vec<usize> = (0..RUNS * paths.len())
        .map(|run| run % paths.len())
        .collect();
    Random::new().shuffle(&mut order);
    let mut times = vec![Vec::with_capacity(RUNS); paths.len()];
    for program in order {
        let (path, entry) = &paths[program];
        times[program].push(time_to_exit(path, *entry)?.as_secs_f64() * 1e6);
    }
    Ok(times)
}
