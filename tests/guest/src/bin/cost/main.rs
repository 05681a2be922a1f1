// SPDX-License-Identifier: MIT OR Apache-2.0
//! Counts instructions: of a context switch, by a ping-pong over two pipes, and of the prctl.
//!
//! It needs a machine of one CPU whose time-stamp counter advances by one with each instruction, as
//! QEMU's `-icount shift=0` makes it. So nothing here is a time. A round has an exact length, and the
//! median of many rounds leaves out those that the timer's tick fell into.
//!
//! A line `cost NAME LOW MEAN HIGH` is a row: the mean of several runs, the least of them and the
//! greatest. How far these lie apart tells what the row resolves.
#![no_std]
#![no_main]

mod counter;
mod prctl;
mod switch;

use core::fmt::Display;

use vcpu_guest_programs::arguments::word;
use vcpu_guest_programs::{check, check_eq, gs};
use vcpu_rt::println;

use self::switch::{Between, Mode};

vcpu_rt::entry!(main);

/// Runs of one kind.
const RUNS: usize = 9;

/// `stock` or `patched`: whether the kernel has the prctl.
fn main() -> i32 {
    let patched = match word(1) {
        "stock" => false,
        "patched" => true,
        other => panic!("what is {other}?"),
    };
    check_eq!(
        gs::get().is_ok(),
        patched,
        "whether the kernel has the prctl"
    );
    if let Err(why) = counter::counts_instructions() {
        check::skip(why);
    }
    switches(Between::Threads, patched);
    switches(Between::Processes, patched);
    if patched {
        prctl::rows();
    }
    0
}

/// The rows of the switch, in instructions a switch.
fn switches(between: Between, patched: bool) {
    let (mut off, mut on) = ([0.0; RUNS], [0.0; RUNS]);
    // In turn, so that what drifts with time meets both.
    for run in 0..RUNS {
        off[run] = switch::measure(between, Mode::Off);
        if patched {
            on[run] = switch::measure(between, Mode::On);
        }
    }
    report(format_args!("switch-{between}-off"), &off);
    if patched {
        report(format_args!("switch-{between}-on"), &on);
    }
}

/// Prints the row of these runs.
fn report(name: impl Display, runs: &[f64; RUNS]) {
    let low = runs.iter().copied().fold(f64::INFINITY, f64::min);
    let high = runs.iter().copied().fold(0.0, f64::max);
    let mean = runs.iter().sum::<f64>() / RUNS as f64;
    println!("cost {name} {low:.2} {mean:.2} {high:.2}");
}
