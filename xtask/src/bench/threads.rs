// SPDX-License-Identifier: MIT OR Apache-2.0
//! A thread created and joined: ours beside a bare clone and beside glibc's.

use std::ffi::OsString;

use anyhow::Result;

use super::Row;
use super::reference::{GCC, compile};
use super::statistics::{Ratio, median};
use super::subject::{Subject, alternate};
use crate::program::{Form, Profile, build};

/// Processes of each program. Each prints samples, and the median of them counts: a CPU that is
/// taken away, by the machine or by the host of a virtual one, hits few of them.
const ROUNDS: usize = 30;

/// create_join_vs_raw and create_join_vs_glibc.
pub fn rows() -> Result<[Row; 2]> {
    let ours = build("bench-create-join", Form::Static, Profile::Release)?;
    let c = |name, flags: &[OsString]| compile(GCC, name, flags, &[], name);
    let raw = c("create_join_raw", &[])?;
    let glibc = c("create_join_glibc", &["-pthread".into()])?;
    let subjects = [&ours, &ours, &raw, &glibc].map(|program| Subject::new(program));
    let times = alternate(&subjects, ROUNDS, |subject| {
        Ok(median(&subject.numbers()?.concat()))
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
