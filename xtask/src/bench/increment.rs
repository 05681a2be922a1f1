// SPDX-License-Identifier: MIT OR Apache-2.0
//! One increment of a per-vCPU counter in rseq mode, beside the kernel selftests' own headers.

use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::Result;

use super::Row;
use super::aligned::{Loops, ROUNDS, build, build_c, medians, over_alignments};
use super::disassembly::Kind;
use super::reference::{GCC, kernel_tools};
use super::statistics::Ratio;
use super::subject::{Mode, Subject, alternate};

const OURS: Loops = Loops {
    name: "allocated_one",
    kind: Kind::Section,
};

const SELFTEST: Loops = Loops {
    name: "increment",
    kind: Kind::Section,
};

/// add_rseq_vs_selftest.
pub fn row() -> Result<Row> {
    let ours = build("bench-increment", &[], &[OURS], "increment")?;
    let selftest = compile_selftest()?;
    OURS.show("ours", &ours)?;
    SELFTEST.show("selftests", &selftest)?;
    let ours = Subject::in_mode(&ours, Mode::Rseq).with(OURS.name);
    let subjects = [ours.clone(), ours, Subject::new(&selftest)];
    let times = alternate(&subjects, ROUNDS, medians)?;
    let [ours, again, selftest] = &times[..] else {
        unreachable!("one list a subject")
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

/// The same with our C program, compiled against the selftests' headers and their rseq.c with
/// their flags.
fn compile_selftest() -> Result<PathBuf> {
    let tools = kernel_tools()?;
    let rseq = tools.join("testing/selftests/rseq");
    let library = rseq.join("rseq.c");
    let mut flags: Vec<OsString> = ["-pthread", "-I"].map(Into::into).into();
    flags.extend([rseq.into(), "-I".into(), tools.join("include").into()]);
    let name = "increment_selftest";
    build_c(GCC, name, &flags, &[&library], SELFTEST, name)
}
