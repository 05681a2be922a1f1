// SPDX-License-Identifier: MIT OR Apache-2.0
//! The first process of a test guest: mounts what programs need, runs the cases of /plan one after
//! the other, reports each in one line, and switches the machine off.
#![no_std]
#![no_main]

mod case;
mod mounts;
mod output;

use core::fmt;

use rustix::io::Errno;
use rustix::system::{RebootCommand, reboot};
use vcpu_guest_programs::file;
use vcpu_guest_programs::plan::{self, Malformed};
use vcpu_rt::{println, process};

use self::case::{Outcome, run};

vcpu_rt::entry!(main);

/// Where the plan is.
const PLAN: &str = "/plan";

/// Reported cases, by their end.
#[derive(Default)]
struct Tally {
    passed: u32,
    failed: u32,
    skipped: u32,
}

impl Tally {
    fn report(&mut self, name: impl fmt::Display, outcome: &Outcome) {
        println!("-- {name}: {outcome}");
        match outcome {
            Outcome::Passed => self.passed += 1,
            Outcome::Failed(_) => self.failed += 1,
            Outcome::Skipped(_) => self.skipped += 1,
        }
    }
}

fn main() -> i32 {
    if rustix::process::getpid() != rustix::process::Pid::INIT {
        println!(
            "guest_init mounts file systems, kills all processes and switches off: run it as init"
        );
        return 2;
    }
    mounts::mount_all();
    let mut tally = Tally::default();
    match file::contents(PLAN) {
        Ok(plan) => run_plan(plan, &mut tally),
        Err(errno) => tally.report("plan", &Outcome::failed("cannot read", PLAN, errno)),
    }
    let Tally {
        passed,
        failed,
        skipped,
    } = tally;
    println!("guest: {passed} passed, {failed} failed, {skipped} skipped");
    println!("guest: exit status {}", u8::from(failed > 0));
    power_off()
}

fn run_plan(plan: &mut [u8], tally: &mut Tally) {
    for (index, line) in plan.split_inclusive_mut(|byte| *byte == b'\n').enumerate() {
        match plan::parse(line) {
            Ok(None) => {}
            Ok(Some(case)) => {
                let name = case.name.to_bytes().escape_ascii();
                println!("== {name}");
                let outcome = run(&case);
                tally.report(name, &outcome);
            }
            Err(malformed) => {
                let outcome = malformed_line(index + 1, &malformed);
                tally.report(format_args!("plan:{}", index + 1), &outcome);
            }
        }
    }
}

fn malformed_line(number: usize, malformed: &Malformed<'_>) -> Outcome {
    println!("{PLAN}, line {number}: {malformed}");
    Outcome::Failed(case::Failure::Malformed)
}

/// What was written reached the console: its driver is told to drain by the kernel's own power off.
fn power_off() -> ! {
    let refused: Result<(), Errno> = reboot(RebootCommand::PowerOff);
    println!("guest: cannot switch off: {refused:?}");
    // The first process's end is a kernel panic, which whoever watches the console sees.
    process::abort()
}
