// SPDX-License-Identifier: MIT OR Apache-2.0
//! Programs whose loops stand at eight places of a 64-byte line: built so that they do, checked, run.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, anyhow, ensure};
use vcpu_tests::disassembly::Loop;

use super::disassembly::{Kind, loops};
use super::reference::{bench_directory, compile};
use super::statistics::median;
use super::subject::Subject;
use crate::command::cargo;
use crate::program::{Form, Profile, build_by, cargo_for};

/// Runs of each program.
pub const ROUNDS: usize = 30;

/// Both compilers align loops by themselves, which would undo our placing: this tells rustc not
/// to, as -fno-align-loops tells gcc.
const UNALIGNED_LOOPS: &str = r#"target.x86_64-unknown-linux-gnu.rustflags=["-Cllvm-args=-x86-experimental-pref-innermost-loop-alignment=0"]"#;

/// Makes a program of std one with fixed addresses.
const FIXED_ADDRESSES: &str =
    r#"target.x86_64-unknown-linux-gnu.rustflags=["-Crelocation-model=static"]"#;

/// The loops of a name, told apart by where they begin in a 64-byte line: 0, 8, .. 56.
const ALIGNMENTS: usize = 8;

/// What one process says of them: medians of samples.
pub type Medians = [f64; ALIGNMENTS];

/// The loops of one name, as one mode runs them.
#[derive(Clone, Copy)]
pub struct Loops {
    /// The symbols' part before `_at_0`.
    pub name: &'static str,
    /// Which of the functions' loops are run.
    pub kind: Kind,
}

impl Loops {
    /// How far from where it should the compiler put the first one.
    fn lead(&self, program: &Path) -> Result<u64> {
        Ok(self.at(program, 0)?[0].offset)
    }

    fn at(&self, program: &Path, offset: usize) -> Result<Vec<Loop>> {
        loops(program, &format!("{}_at_{offset}", self.name), self.kind)
    }

    /// Checks where the loops begin, and prints the instructions of one round.
    pub fn show(&self, label: &str, program: &Path) -> Result<()> {
        for wanted in (0..ALIGNMENTS).map(|alignment| 8 * alignment) {
            let found = self.at(program, wanted)?[0].offset;
            ensure!(
                found == wanted as u64,
                "the loop {}_at_{wanted} of {label} begins at {found} of a line",
                self.name
            );
        }
        let shown = self.at(program, 0)?;
        let counts = shown
            .iter()
            .map(|one| one.instructions.len().to_string())
            .collect::<Vec<_>>()
            .join(" and ");
        println!("{label}: {counts} instructions a round");
        for (number, one) in shown.iter().enumerate() {
            if number > 0 {
                println!("  --");
            }
            for instruction in &one.instructions {
                println!("  {instruction}");
            }
        }
        Ok(())
    }
}

/// Builds a program of ours twice, the second time knowing where its loops come to lie, with features of
/// its package, and copies it to `file`.
pub fn build(program: &str, features: &[&str], all: &[Loops], file: &str) -> Result<PathBuf> {
    build_by_cargo(
        || cargo_for("build", Form::Static),
        program,
        features,
        all,
        file,
    )
}

/// The same with a program that relocates itself.
pub fn build_static_pie(program: &str, all: &[Loops], file: &str) -> Result<PathBuf> {
    build_by_cargo(
        || cargo_for("build", Form::StaticPie),
        program,
        &[],
        all,
        file,
    )
}

/// The same with a program of std, which by default is a PIE.
pub fn build_hosted(program: &str, form: Form, all: &[Loops], file: &str) -> Result<PathBuf> {
    let build = || {
        let mut cargo = cargo();
        cargo.args(["build", "--target", "x86_64-unknown-linux-gnu"]);
        if let Form::Static = form {
            cargo.args(["--config", FIXED_ADDRESSES]);
        }
        cargo
    };
    build_by_cargo(build, program, &[], all, file)
}

fn build_by_cargo(
    cargo: impl Fn() -> Command,
    program: &str,
    features: &[&str],
    all: &[Loops],
    file: &str,
) -> Result<PathBuf> {
    let directory = bench_directory()?;
    let build = |leads: &[u64]| {
        let mut cargo = cargo();
        cargo.args(["--config", UNALIGNED_LOOPS]);
        // Apart from what is built with other flags, so that neither is built again each time.
        cargo.arg("--target-dir").arg(directory.join("unaligned"));
        for feature in features {
            cargo.args(["--features", &format!("vcpu-bench-programs/{feature}")]);
        }
        for (loops, lead) in all.iter().zip(leads) {
            let variable = format!("VCPU_RT_BENCH_LEAD_{}", loops.name);
            cargo.env(variable, lead.to_string());
        }
        build_by(cargo, program, Profile::Release)
    };
    let first = build(&vec![0; all.len()])?;
    let leads: Vec<u64> = all
        .iter()
        .map(|loops| loops.lead(&first))
        .collect::<Result<_>>()?;
    let path = directory.join(file);
    fs::copy(build(&leads)?, &path).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

/// The same with a program of tests/bench/c, which is compiled with further flags and sources.
pub fn build_c(
    compiler: (&str, &str),
    name: &str,
    flags: &[OsString],
    sources: &[&Path],
    loops: Loops,
    file: &str,
) -> Result<PathBuf> {
    let mut flags = [&["-fno-align-loops".into()], flags].concat();
    let first = compile(compiler, name, &flags, sources, file)?;
    flags.push(format!("-DLEAD={}", loops.lead(&first)?).into());
    compile(compiler, name, &flags, sources, file)
}

/// Runs it once.
pub fn medians(subject: &Subject) -> Result<Medians> {
    let medians: Vec<f64> = subject
        .numbers()?
        .iter()
        .map(|samples| median(samples))
        .collect();
    Medians::try_from(medians)
        .map_err(|lines| anyhow!("{} lines of samples, not {ALIGNMENTS}", lines.len()))
}

/// The median over the alignments of each one's median over the processes.
pub fn over_alignments(runs: &[Medians]) -> f64 {
    let medians: Medians = std::array::from_fn(|alignment| {
        median(&runs.iter().map(|run| run[alignment]).collect::<Vec<_>>())
    });
    median(&medians)
}
