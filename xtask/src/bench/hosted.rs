// SPDX-License-Identifier: MIT OR Apache-2.0
//! `cargo xtask bench hosted`: what the library costs a process of glibc, and what glibc costs the library.

use std::ffi::{CString, OsString};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Error, Result};
use vcpu_tests::hosted::Form;

use super::aligned::{Loops, ROUNDS, build, build_hosted, medians, over_alignments};
use super::disassembly::Kind;
use super::exec::run_shuffled_in;
use super::reference::{GCC, compile};
use super::statistics::{Ratio, median};
use super::subject::{Mode, Subject, alternate};
use super::{Row, finish, machine, process};

const NO_STD: Loops = Loops {
    name: "allocated_one",
    kind: Kind::Section,
};

const HOSTED: Loops = Loops {
    name: "hosted_one",
    kind: Kind::Section,
};

/// All four rows.
pub fn hosted(json: Option<&Path>) -> Result<ExitCode> {
    println!("{}", machine()?);
    let library = Form::Preload
        .libraries()
        .map_err(Error::msg)?
        .join("libvcpu_rt.so");
    let nothing = compile(GCC, "nothing", &[], &[], "nothing-glibc")?;
    let create = compile(
        GCC,
        "create_join_glibc",
        &["-pthread".into()],
        &[],
        "create_join_glibc",
    )?;
    let get_cpu = compile(GCC, "sched_getcpu", &[], &[], "sched_getcpu")?;
    let programs = [
        build_hosted("bench-increment-hosted", &[HOSTED], "increment-hosted")?,
        build("bench-increment", &[], &[NO_STD], "increment-hosted-no_std")?,
    ];
    process::pin_to_one_cpu()?;
    let rows = [
        start(&nothing, &library)?,
        create_join(&create, &library)?,
        increment(&programs)?,
        sched_getcpu(&get_cpu, &library)?,
    ];
    finish(&rows, json)
}

/// A dynamic program that does nothing, from before its start to after its end.
fn start(program: &Path, library: &Path) -> Result<Row> {
    let mut entry = OsString::from("LD_PRELOAD=");
    entry.push(library);
    let entry = CString::new(entry.into_vec())?;
    let preloaded = (program.to_path_buf(), Some(entry));
    let times = run_shuffled_in(&[preloaded.clone(), preloaded, (program.to_path_buf(), None)])?;
    let [ours, again, plain] = &times[..] else {
        unreachable!("one list a program")
    };
    println!(
        "exec to exit: preloaded {:.1} us, again {:.1} us, plain {:.1} us",
        median(ours),
        median(again),
        median(plain)
    );
    let ratio = Ratio::new([ours, again], plain, median);
    Ok(Row::ratio("preload_start_vs_plain", &ratio, 1.10))
}

/// A thread: glibc registers it (adopt), or the library does, and unregisters it (own). The row has the worse.
fn create_join(program: &Path, library: &Path) -> Result<Row> {
    let preloaded = Subject::new(program).env("LD_PRELOAD", library);
    let own = preloaded.clone().env("VCPU_RT_RSEQ", "own");
    let plain = Subject::new(program);
    let subjects = [preloaded.clone(), preloaded, own.clone(), own, plain];
    let times = alternate(&subjects, ROUNDS, |subject| {
        Ok(median(&subject.numbers()?.concat()))
    })?;
    let [adopt, adopt_again, own, own_again, plain] = &times[..] else {
        unreachable!("one list a subject")
    };
    println!(
        "create and join: adopted {:.2} us, own {:.2} us, plain {:.2} us",
        median(adopt) / 1e3,
        median(own) / 1e3,
        median(plain) / 1e3
    );
    let ratios = [
        Ratio::new([adopt, adopt_again], plain, median),
        Ratio::new([own, own_again], plain, median),
    ];
    let worse = ratios.iter().max_by(|a, b| a.value.total_cmp(&b.value));
    let worse = worse.expect("there are two");
    Ok(Row::ratio("preload_create_join_vs_plain", worse, 1.06))
}

/// The public function in a loop; a section in both.
fn increment([hosted, no_std]: &[PathBuf; 2]) -> Result<Row> {
    HOSTED.show("hosted", hosted)?;
    NO_STD.show("no_std", no_std)?;
    let subject = |program| Subject::in_mode(program, Mode::Rseq).with(NO_STD.name);
    let subjects = [subject(hosted), subject(hosted), subject(no_std)];
    let times = alternate(&subjects, ROUNDS, medians)?;
    let [ours, again, no_std] = &times[..] else {
        unreachable!("one list a subject")
    };
    println!(
        "increment: hosted {:.2} ns, again {:.2} ns, no_std {:.2} ns",
        over_alignments(ours),
        over_alignments(again),
        over_alignments(no_std)
    );
    let ratio = Ratio::new([ours, again], no_std, over_alignments);
    Ok(Row::ratio("hosted_inc_vs_no_std", &ratio, 1.10))
}

/// The library's function beside glibc's, both by the registered area.
fn sched_getcpu(program: &Path, library: &Path) -> Result<Row> {
    let preloaded = Subject::new(program).env("LD_PRELOAD", library);
    let subjects = [preloaded.clone(), preloaded, Subject::new(program)];
    let times = alternate(&subjects, ROUNDS, |subject| {
        Ok(median(&subject.numbers()?.concat()))
    })?;
    let [ours, again, glibc] = &times[..] else {
        unreachable!("one list a subject")
    };
    println!(
        "sched_getcpu: ours {:.3} ns, again {:.3} ns, glibc {:.3} ns",
        median(ours),
        median(again),
        median(glibc)
    );
    let ratio = Ratio::new([ours, again], glibc, median);
    Ok(Row::ratio("sched_getcpu_vs_glibc", &ratio, 1.05))
}
