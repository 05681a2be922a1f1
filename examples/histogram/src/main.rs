// SPDX-License-Identifier: MIT OR Apache-2.0
//! Counts the bytes of files into a per-vCPU histogram, and the lines into a per-vCPU counter,
//! with one thread per CPU, and never loses an update.
#![cfg_attr(not(test), no_std)]
#![cfg_attr(not(test), no_main)]

mod arguments;
mod count;
mod fault;
mod input;
mod output;
mod picture;

use core::ffi::CStr;

use arguments::Arguments;
use count::{Counts, Plain};
use input::{Input, Printable, Problem};
use output::say;
use vcpu_rt::abi::Mode;
use vcpu_rt::vcpu_process::mode_name;
use vcpu_rt::{eprintln, found};

vcpu_rt::entry!(main);

/// Exit statuses: all well; a file, the output or the mode failed; bad arguments; the check disagreed.
const ALL_WELL: i32 = 0;
const FAILED: i32 = 1;
const USAGE: i32 = 2;
const CHECK_DISAGREED: i32 = 3;

fn main() -> i32 {
    let status = run();
    match output::error() {
        None => status,
        Some(errno) => {
            eprintln!(
                "histogram: standard output: write failed with errno {}",
                errno.raw_os_error()
            );
            status.max(FAILED)
        }
    }
}

fn run() -> i32 {
    let arguments = match Arguments::parse() {
        Ok(arguments) => arguments,
        Err(problem) => {
            eprintln!("histogram: {problem}\n{}", arguments::USAGE);
            return USAGE;
        }
    };
    if arguments.help {
        say!("{}", arguments::USAGE);
        return ALL_WELL;
    }
    print_found();
    if let Some(wanted) = arguments.mode
        && wanted != found().mode
    {
        eprintln!("histogram: the mode is not {}", mode_name(wanted));
        return FAILED;
    }
    let counts = match Counts::new() {
        Ok(counts) => counts,
        Err(errno) => {
            eprintln!("histogram: no per-vCPU memory: {}", errno.raw_os_error());
            return FAILED;
        }
    };
    if let Err(errno) = fault::survive_truncation() {
        eprintln!(
            "histogram: no handler for SIGBUS: errno {}",
            errno.raw_os_error()
        );
        return FAILED;
    }
    let mut status = ALL_WELL;
    let (mut files, mut threads) = (0, 0);
    for path in arguments.files() {
        match count_file(&counts, path, &arguments) {
            Ok(counted_by) => {
                files += 1;
                threads = threads.max(counted_by);
            }
            Err(Failure::File(problem)) => {
                eprintln!("histogram: {}: {problem}", Printable(path));
                status = status.max(FAILED);
            }
            Err(Failure::Check) => {
                eprintln!(
                    "histogram: {}: the per-vCPU sums differ from a one-thread count",
                    Printable(path)
                );
                status = CHECK_DISAGREED;
            }
        }
    }
    let totals = counts.totals();
    let bytes = totals.bytes.iter().sum();
    let lines = totals.lines;
    say!("files {files}, bytes {bytes}, lines {lines}, threads {threads}");
    picture::print(&totals.bytes);
    counts.print_shares(bytes);
    if arguments.check && status != CHECK_DISAGREED {
        say!("check: the per-vCPU sums equal a one-thread count in each of {files} files");
    }
    status
}

enum Failure {
    File(Problem),
    Check,
}

/// Counts one file and, where asked for, counts it again by one thread; returns how many threads
/// counted. What was counted of a file that failed stays in the totals, and is not checked: its
/// bytes are gone.
fn count_file(counts: &Counts, path: &CStr, arguments: &Arguments) -> Result<u32, Failure> {
    let input = Input::open(path).map_err(Failure::File)?;
    let before = if arguments.check {
        counts.totals()
    } else {
        Plain::ZERO
    };
    let threads = count::in_threads(counts, &input, arguments.threads).map_err(Failure::File)?;
    if !arguments.check || counts.totals().since(&before) == Plain::of(&input) {
        return Ok(threads);
    }
    if !input.is_whole() {
        // Truncated between the two counts.
        let (counted, size) = (input.size, input.size);
        return Err(Failure::File(Problem::Truncated { counted, size }));
    }
    Err(Failure::Check)
}

/// What the runtime found and chose.
fn print_found() {
    let found = found();
    say!(
        "mode {}, stride {} bytes, vCPUs below {}, rseq registration length {}, feature size {}",
        mode_name(found.mode),
        found.reservation().stride,
        found.nr_vcpus(),
        found.active_length(),
        found.active_feature_size(),
    );
    if found.mode == Mode::Shared {
        say!("neither rseq nor the GS mode: counting by locked instructions");
    }
}
