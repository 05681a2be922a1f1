// SPDX-License-Identifier: MIT OR Apache-2.0
//! A thread created and joined: ours beside a bare clone and beside glibc's.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::Row;
use super::process::numbers;
use super::reference::compile;
use super::statistics::{Random, Ratio, median};
use crate::program::{Form, Profile, build};

/// Processes of each program. Each prints samples, and the median of them counts: a CPU that is
/// taken away, by the machine or by the host of a virtual one, hits few of them.
const ROUNDS: usize = 30;

/// create_join_vs_raw and create_join_vs_glibc.
pub fn rows() -> Result<[Row; 2]> {
    let ours = build("bench-create-join", Form::Static, Profile::Release)?;
    let raw = compile("create_join_raw", &[], &[])?;
    let glibc = compile("create_join_glibc", &["-pthread".into()], &[])?;
    let times = alternate(&[&ours, &ours, &raw, &glibc], ROUNDS, |program| {
        Ok(median(&numbers(program)?.concat()))
    })?;
    let [ours, again, raw, glibc] = &times[..] else {
        unreachable!("one list a program")
    };
    println!(
        "create and join: ours {:.2} us, again {:.2} us, raw clone {:.2} us, glibc {:.2} us",
        median(ours) / 1e3,
        median(again) / 1e3,
        median(raw) / 1e3,
        median(glibc) / 1e3
    );
    Ok([
        Row::ratio(
            "create_join_vs_raw",
            &Ratio::new([ours, again], raw, median),
            1.12,
        ),
        Row::ratio(
            "create_join_vs_glibc",
            &Ratio::new([ours, again], glibc, median),
            0.95,
        ),
    ])
}

/// Runs every program once a round, in an order that changes from round to round, and returns
/// what each measured.
pub fn alternate<T>(
    programs: &[&PathBuf],
    rounds: usize,
    measure: impl Fn(&Path) -> Result<T>,
) -> Result<Vec<Vec<T>>> {
    let mut random = Random::new();
    let mut results: Vec<Vec<T>> = programs
        .iter()
        .map(|_| Vec::with_capacity(rounds))
        .collect();
    let mut order: Vec<usize> = (0..programs.len()).collect();
    for _ in 0..rounds {
        random.shuffle(&mut order);
        for &program in &order {
            results[program].push(measure(programs[program])?);
        }
    }
    Ok(results)
}
