// SPDX-License-Identifier: MIT OR Apache-2.0
//! One increment of a per-vCPU counter in rseq mode, beside the kernel selftests' own headers.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Error, Result, anyhow, ensure};
use vcpu_tests::disassembly::outer_loop;

use super::Row;
use super::process::numbers;
use super::reference::{compile, kernel_tools};
use super::statistics::{Ratio, median};
use super::threads::alternate;
use crate::program::{Form, Profile, build_by, cargo_for};

const ROUNDS: usize = 30;

/// Both compilers align loops by themselves, which would undo our placing: this tells rustc not
/// to, as -fno-align-loops tells gcc.
const UNALIGNED_LOOPS: &str = r#"target.x86_64-unknown-linux-gnu.rustflags=["-Cllvm-args=-x86-experimental-pref-innermost-loop-alignment=0"]"#;

/// The loops of each program, told apart by where they begin in a 64-byte line: 0, 8, .. 56.
const ALIGNMENTS: usize = 8;

/// add_rseq_vs_selftest.
pub fn row() -> Result<Row> {
    let ours = build_ours()?;
    let selftest = compile_selftest()?;
    show_loops("ours", &ours)?;
    show_loops("selftests", &selftest)?;
    let times = alternate(&[&ours, &ours, &selftest], ROUNDS, |program| {
        let medians: Vec<f64> = numbers(program)?
            .iter()
            .map(|samples| median(samples))
            .collect();
        <[f64; ALIGNMENTS]>::try_from(medians)
            .map_err(|lines| anyhow!("{} lines of samples, not {ALIGNMENTS}", lines.len()))
    })?;
    let [ours, again, selftest] = &times[..] else {
        unreachable!("one list a program")
    };
    println!(
        "increment in rseq mode: ours {:.2} ns, again {:.2} ns, selftests {:.2} ns",
        over_alignments(ours),
        over_alignments(again),
        over_alignments(selftest)
    );
    let ratio = Ratio::new([ours, again], selftest, over_alignments);
    Ok(Row::ratio("add_rseq_vs_selftest", &ratio, 0.90))
}

/// The median over the alignments of each one's median over the processes.
fn over_alignments(runs: &[[f64; ALIGNMENTS]]) -> f64 {
    let medians: [f64; ALIGNMENTS] = std::array::from_fn(|alignment| {
        median(&runs.iter().map(|run| run[alignment]).collect::<Vec<_>>())
    });
    median(&medians)
}

/// Builds our program twice, the second time knowing where its loops come to lie.
fn build_ours() -> Result<PathBuf> {
    let build = |lead: u64| {
        let mut cargo = cargo_for("build", Form::Static);
        cargo
            .args(["--config", UNALIGNED_LOOPS])
            .env("VCPU_RT_BENCH_LEAD", lead.to_string());
        build_by(cargo, "bench-increment", Profile::Release)
    };
    let lead = outer_loop(&build(0)?, "increment_at_0")
        .map_err(Error::msg)?
        .offset;
    build(lead)
}

/// The same with our C program, compiled against the selftests' headers and their rseq.c with
/// their flags.
fn compile_selftest() -> Result<PathBuf> {
    let tools = kernel_tools()?;
    let rseq = tools.join("testing/selftests/rseq");
    let library = rseq.join("rseq.c");
    let mut flags: Vec<OsString> = ["-fno-align-loops", "-pthread", "-I"]
        .map(Into::into)
        .into();
    flags.extend([rseq.into(), "-I".into(), tools.join("include").into()]);
    let unaligned = compile("increment_selftest", &flags, &[&library])?;
    let lead = outer_loop(&unaligned, "increment_at_0")
        .map_err(Error::msg)?
        .offset;
    flags.push(format!("-DLEAD={lead}").into());
    compile("increment_selftest", &flags, &[&library])
}

/// Checks where the loops begin, and prints the instructions of one round.
fn show_loops(label: &str, program: &Path) -> Result<()> {
    for alignment in 0..ALIGNMENTS {
        let wanted = 8 * alignment;
        let found = outer_loop(program, &format!("increment_at_{wanted}")).map_err(Error::msg)?;
        ensure!(
            found.offset == wanted as u64,
            "the loop increment_at_{wanted} of {label} begins at {} of a line",
            found.offset
        );
        if alignment == 0 {
            println!(
                "{label}: {} instructions an increment",
                found.instructions.len()
            );
            for instruction in &found.instructions {
                println!("  {instruction}");
            }
        }
    }
    Ok(())
}
