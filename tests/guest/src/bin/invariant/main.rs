// SPDX-License-Identifier: MIT OR Apache-2.0
//! base == stride * mm_cid, whatever happens. `invariant HOW ...`:
//! `quiet THREADS SAMPLES`, `affinity THREADS SAMPLES` (threads are moved), `hotplug THREADS SAMPLES`
//! (CPUs go and come back), `crossing ROUNDS` (as many threads as CPUs, one more, one less, many),
//! `set ROUNDS CHANGES` (the mode is set, and its stride changed, while 16 threads run).
//! SAMPLES is in all.
#![no_std]
#![no_main]

mod crossing;
mod set;

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use core::time::Duration;

use rustix::io::Errno;
use vcpu_guest_programs::arguments::{number, threads, word};
use vcpu_guest_programs::base::{prepare, verify_many};
use vcpu_guest_programs::check::skip;
use vcpu_guest_programs::check_eq;
use vcpu_guest_programs::gs::{PAGE, begin, turn_on};
use vcpu_guest_programs::machine::{allowed_cpus, numbers, set_online, uptime};
use vcpu_guest_programs::threads::{Workers, move_all, under_storm};
use vcpu_rt::{println, thread};

vcpu_rt::entry!(main);

/// Three pages: no power of two, so that a shift in its place would show.
const STRIDE: u64 = 3 * PAGE as u64;

fn main() {
    begin();
    prepare();
    match word(1) {
        "quiet" => sample(0, |_, _| thread::sleep(Duration::from_millis(20))),
        "affinity" => sample(100, move_all),
        "hotplug" => hotplug(),
        "crossing" => crossing::cross(number(2)),
        "set" => set::while_threads_run(number(2), number(3) as u64),
        other => panic!("what is {other}?"),
    }
}

/// Takes SAMPLES samples from THREADS threads, or more if the storm has not had its rounds yet.
fn sample(rounds: u64, storm: impl FnMut(&Workers<'_, '_>, u64)) {
    const AT_ONCE: u64 = 10_000;
    let (threads, samples) = (threads(2), number(3) as u64);
    turn_on(STRIDE);
    let each = samples.div_ceil(threads as u64);
    let taken = AtomicU64::new(0);
    let work = |_, enough: &AtomicBool| {
        let mut own = 0;
        while own < each || !enough.load(Ordering::Acquire) {
            verify_many(STRIDE, AT_ONCE, word(1));
            own += AT_ONCE;
        }
        taken.fetch_add(own, Ordering::Relaxed);
    };
    let started = uptime();
    let rounds = under_storm(threads, rounds, work, storm);
    let (taken, seconds) = (taken.into_inner(), (uptime() - started).as_secs());
    println!("threads={threads} samples={taken} rounds={rounds} seconds={seconds}");
    check_eq!(taken >= samples, true, "samples are as many as asked for");
}

/// Each round takes one CPU away for a moment. The first one always stays.
fn hotplug() {
    let cpus = allowed_cpus();
    let count = numbers(&cpus).count();
    if count < 2 {
        skip("one CPU, which cannot go");
    }
    // Every CPU twice.
    let rounds = 2 * (count as u64 - 1);
    let mut away = 0;
    sample(rounds, |_, round| {
        let cpu = numbers(&cpus).nth(1 + round as usize % (count - 1));
        let cpu = cpu.unwrap_or(1);
        match set_online(cpu, false) {
            Ok(()) => away += 1,
            Err(Errno::NOENT) => skip("this kernel has no HOTPLUG_CPU"),
            // Refused for now: the next round tries another one.
            Err(Errno::BUSY) => return,
            Err(errno) => panic!("taking CPU {cpu} offline: {errno:?}"),
        }
        thread::sleep(Duration::from_millis(20));
        let back = set_online(cpu, true);
        check_eq!(back, Ok(()), "bringing CPU {cpu} back");
        thread::sleep(Duration::from_millis(20));
    });
    println!("CPUs taken offline and brought back: {away}");
    check_eq!(away > 0, true, "some CPU went away");
}
