// SPDX-License-Identifier: MIT OR Apache-2.0
//! `cargo xtask bench hosted`: what the library costs a process of glibc, and what glibc costs the library.

mod increment;

use std::ffi::{CString, OsString};
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Error, Result};
use vcpu_tests::hosted::Form;

use super::aligned::ROUNDS;
use super::exec::run_shuffled_in;
use super::reference::{GCC, compile};
use super::statistics::{Ratio, median};
use super::subject::{Subject, alternate};
use super::{Row, finish, machine, process};

/// All rows.
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
    let increments = increment::build_all()?;
    process::pin_to_one_cpu()?;
    let mut rows = vec![start(&nothing, &library)?, create_join(&create, &library)?];
    rows.extend(increment::rows(&increments)?);
    rows.push(sched_getcpu(&get_cpu, &library)?);
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
    let worse = Ratio::worst(&ratios);
    Ok(Row::ratio("preload_create_join_vs_plain", worse, 1.06))
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
