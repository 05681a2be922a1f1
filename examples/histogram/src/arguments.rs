// SPDX-License-Identifier: MIT OR Apache-2.0
//! The command line.

use core::ffi::CStr;
use core::fmt;

use vcpu_rt::abi::Mode;
use vcpu_rt::vcpu_process::mode_name;
use vcpu_rt::{env, found};

use crate::input::Printable;

pub const USAGE: &str = "usage: histogram [--threads N] [--check] [--mode NAME] [--] FILE...
  --threads N  threads that count, 1 to 4096 (default: the CPUs of this process)
  --check      compare with a count by one thread
  --mode NAME  fail unless the access mode is gs, rseq-mm_cid, rseq-cpu_id or shared
  exit status: 0 all well, 1 a file, the output or the mode failed, 2 bad arguments,
               3 the check disagreed";

/// The most threads that `--threads` takes.
const MAX_THREADS: u32 = 4096;

pub struct Arguments {
    pub threads: u32,
    pub check: bool,
    pub help: bool,
    /// The access mode that must be in use.
    pub mode: Option<Mode>,
    options: usize,
}

pub enum Problem {
    Unknown(&'static CStr),
    BadThreads(Option<&'static CStr>),
    BadMode(Option<&'static CStr>),
    NoFiles,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(option) => write!(f, "unknown option {}", Printable(option)),
            Self::BadThreads(None) => {
                write!(f, "--threads needs a number from 1 to {MAX_THREADS}")
            }
            Self::BadThreads(Some(value)) => write!(
                f,
                "--threads {} is not allowed: a number from 1 to {MAX_THREADS}",
                Printable(value)
            ),
            Self::BadMode(None) => f.write_str("--mode needs a name"),
            Self::BadMode(Some(value)) => {
                write!(f, "--mode {}: there is no such mode", Printable(value))
            }
            Self::NoFiles => f.write_str("no file given"),
        }
    }
}

impl Arguments {
    /// Options come before files; `--` ends them.
    pub fn parse() -> Result<Self, Problem> {
        let mut parsed = Self {
            threads: found().affinity().allowed.max(1),
            check: false,
            help: false,
            mode: None,
            options: 1,
        };
        let mut arguments = env::args().skip(1);
        while let Some(argument) = arguments.next() {
            match argument.to_bytes() {
                b"--threads" => {
                    let value = arguments.next();
                    parsed.threads = value.and_then(threads).ok_or(Problem::BadThreads(value))?;
                    parsed.options += 1;
                }
                b"--check" => parsed.check = true,
                b"--mode" => {
                    let value = arguments.next();
                    parsed.mode = Some(value.and_then(mode).ok_or(Problem::BadMode(value))?);
                    parsed.options += 1;
                }
                b"--help" => parsed.help = true,
                b"--" => {
                    parsed.options += 1;
                    break;
                }
                [b'-', _, ..] => return Err(Problem::Unknown(argument)),
                _ => break,
            }
            parsed.options += 1;
        }
        if parsed.files().next().is_none() && !parsed.help {
            return Err(Problem::NoFiles);
        }
        Ok(parsed)
    }

    /// The files, in the order given.
    pub fn files(&self) -> impl Iterator<Item = &'static CStr> + use<> {
        env::args().skip(self.options)
    }
}

fn mode(name: &CStr) -> Option<Mode> {
    [Mode::Shared, Mode::RseqCpuId, Mode::RseqMmCid, Mode::Gs]
        .into_iter()
        .find(|&mode| mode_name(mode).as_bytes() == name.to_bytes())
}

fn threads(text: &CStr) -> Option<u32> {
    let mut number = 0;
    for byte in text.to_bytes() {
        // Far below what overflows.
        if !byte.is_ascii_digit() || number > MAX_THREADS {
            return None;
        }
        number = 10 * number + u32::from(byte - b'0');
    }
    (1..=MAX_THREADS).contains(&number).then_some(number)
}
