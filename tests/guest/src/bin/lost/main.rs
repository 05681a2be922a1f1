// SPDX-License-Identifier: MIT OR Apache-2.0
//! No update is lost: threads count by `inc %gs:(p)`, and the sum over all areas is exact.
//! `lost THREADS MILLIONS [STORM ...]`, where MILLIONS is in all. Storms:
//! `signals` (one thread sends them), `timer` (SIGALRM every 200 us), `migrate` (threads are moved),
//! and failed executions, `own` by the counting threads and `others` by two threads beside them, of
//! these kinds: `format` (ENOEXEC), `interpreter` (a script's, ENOENT), `check` (AT_EXECVE_CHECK).
#![no_std]
#![no_main]

mod areas;
mod execution;

use core::ffi::{c_int, c_void};
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use core::time::Duration;

use vcpu_guest_programs::arguments::{has, number, threads};
use vcpu_guest_programs::base::{prepare, verify};
use vcpu_guest_programs::check_eq;
use vcpu_guest_programs::gs::{begin, turn_on};
use vcpu_guest_programs::machine::uptime;
use vcpu_guest_programs::signal::{alarm_every, on};
use vcpu_guest_programs::syscall::tgkill;
use vcpu_guest_programs::threads::{Workers, move_all, under_storm};
use vcpu_rt::signal::{SA_RESTART, SIGALRM, SIGUSR1};
use vcpu_rt::{println, thread};

use self::areas::{Areas, CHUNK, STRIDE, Word};
use self::execution::Executions;

vcpu_rt::entry!(main);

/// Signals handled, by a locked instruction.
static HANDLED: AtomicU64 = AtomicU64::new(0);
/// Chunks that a thread counts between two executions of its own.
const CHUNKS_PER_EXECUTION: u64 = 4;

/// Whether a storm was asked for.
fn storm(name: &str) -> bool {
    has(3, name)
}

fn main() {
    begin();
    prepare();
    let (threads, millions) = (threads(1), number(2) as u64);
    let chunks = (millions * 1_000_000).div_ceil(CHUNK * threads as u64);
    let areas = Areas::map();
    let executions = Executions::prepare(storm);
    turn_on(STRIDE);
    // SAFETY: the handler only counts.
    unsafe {
        on(SIGUSR1, SA_RESTART, count_signal);
        on(SIGALRM, SA_RESTART, count_signal);
    }
    alarm_every(if storm("timer") { 200 } else { 0 });
    let started = uptime();
    let rounds = run(threads, chunks, &areas, &executions);
    alarm_every(0);
    let milliseconds = (uptime() - started).as_millis();
    println!("threads={threads} rounds={rounds} milliseconds={milliseconds}");
    executions.report();
    report(&areas, chunks * CHUNK * threads as u64);
}

/// Counts, under all the storms, and returns the rounds that they took.
fn run(threads: usize, chunks: u64, areas: &Areas, executions: &Executions) -> u64 {
    let own = storm("own");
    let begun = AtomicBool::new(false);
    let work = |index: usize, _: &AtomicBool| {
        begun.store(true, Ordering::Release);
        for chunk in 0..chunks {
            areas.count();
            if own && (chunk + index as u64).is_multiple_of(CHUNKS_PER_EXECUTION) {
                executions.fail_next();
                verify(STRIDE, "after a failed execution");
            }
        }
    };
    let stop = AtomicBool::new(false);
    let beside = || {
        while !begun.load(Ordering::Acquire) {
            thread::yield_now();
        }
        while !stop.load(Ordering::Acquire) {
            executions.fail_next();
            verify(
                STRIDE,
                "a thread that does not count, after a failed execution",
            );
            thread::sleep(Duration::from_micros(500));
        }
    };
    thread::scope(|scope| {
        if storm("others") {
            for _ in 0..2 {
                scope.spawn(beside).expect("a thread");
            }
        }
        let rounds = under_storm(threads, 0, work, disturb);
        stop.store(true, Ordering::Release);
        rounds
    })
}

/// One round: signals and moves, where they were asked for.
fn disturb(workers: &Workers<'_, '_>, round: u64) {
    if storm("signals") {
        for id in workers.running() {
            // It may have ended.
            let _no_such_thread = tgkill(id, SIGUSR1);
        }
    }
    if storm("migrate") {
        move_all(workers, round);
    }
    thread::sleep(Duration::from_millis(1));
}

/// Compares the sums with what was counted.
fn report(areas: &Areas, expected: u64) {
    let handled = HANDLED.load(Ordering::Acquire);
    let (by_threads, by_handlers) = (areas.sum(Word::Threads), areas.sum(Word::Handlers));
    println!("counted by threads={by_threads} by handlers={by_handlers}");
    let lost = expected.wrapping_sub(by_threads).cast_signed();
    check_eq!(by_threads, expected, "sum over all areas ({lost} lost)");
    let lost = handled.wrapping_sub(by_handlers).cast_signed();
    check_eq!(
        by_handlers,
        handled,
        "sum over all areas of what handlers counted ({lost} lost)"
    );
    if storm("signals") || storm("timer") {
        check_eq!(handled > 0, true, "signals came");
    }
}

unsafe extern "C" fn count_signal(_: c_int, _: *mut c_void, _: *mut c_void) {
    areas::count_in_handler();
    HANDLED.fetch_add(1, Ordering::Relaxed);
}
