// SPDX-License-Identifier: MIT OR Apache-2.0
//! Every operation of per-vCPU words from many threads, under storms, against a sequential oracle:
//! `words_storm THREADS TURNS [STORM ...]`, where a storm is `signals` (handlers that do the same, in
//! every thread), `moves` (threads are moved from processor to processor at any instruction),
//! `forks` (children that go on with the copies of that instant), `leave` (every eighth thread is
//! not registered for half of its time), `c` (every other operation is C's).
#![no_std]
#![no_main]

mod ledger;
mod numbers;
mod own;
mod several;

use core::ffi::{c_int, c_void};
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use linux_raw_sys::general as nr;
use vcpu_rt::process::{self, Fork};
use vcpu_rt::thread::ScopedJoinHandle;
use vcpu_rt::{println, rseq, thread};
use vcpu_test_programs::PASSED;
use vcpu_test_programs::arguments::{argument, number};
use vcpu_test_programs::signal::{ThreadTimer, on_alarm};
use vcpu_test_programs::syscall::{affinity, pin_thread, processors, sched_yield, syscall};
use vcpu_test_programs::table::abi;

use self::ledger::{Caller, Entry, Subject};

vcpu_rt::entry!(main);

const COUNT: usize = 21;
type Ledger = [Entry; COUNT];

fn subjects() -> impl Iterator<Item = &'static Subject> {
    numbers::SUBJECTS
        .into_iter()
        .chain(several::SUBJECTS)
        .chain(own::SUBJECTS)
}

/// What the handlers did: each word of each entry, and the flips, apart so that they need no lock.
static HANDLED: [[AtomicU64; 7]; COUNT] = [const { [const { AtomicU64::new(0) }; 7] }; COUNT];
static SIGNALS: AtomicU64 = AtomicU64::new(0);
/// Whether C takes part: settled before the threads run.
static HAS_C: AtomicBool = AtomicBool::new(false);

fn main() -> i32 {
    let storm = |name| (3..).map_while(argument).any(|word| word == name);
    let (threads, turns) = (number(1), number(2));
    let (signals, leave) = (storm("signals"), storm("leave"));
    HAS_C.store(storm("c"), Ordering::Relaxed);
    numbers::prepare();
    several::prepare();
    own::prepare();
    // SAFETY: the handler runs operations, which may be done between any two instructions.
    unsafe { on_alarm(step_one) };
    let before = measure();
    let mut total = Ledger::default();
    thread::scope(|scope| {
        let mut handles = [const { None }; 64];
        for (index, place) in handles.iter_mut().enumerate().take(threads) {
            let work = move || {
                // On average one in the process every 15 us.
                let _timer = signals.then(|| ThreadTimer::every(900 + index as i64));
                work(index, turns, leave && index % 8 == 7)
            };
            *place = Some(scope.spawn(work).expect("a thread"));
        }
        rage(&handles, storm("moves"), storm("forks"));
        for handle in handles.into_iter().flatten() {
            join(&mut total, &handle.join());
        }
    });
    for (entry, handled) in total.iter_mut().zip(&HANDLED) {
        let values = handled
            .each_ref()
            .map(|value| value.load(Ordering::Relaxed));
        let [sums @ .., flips] = values;
        entry.join(&Entry { sums, flips });
    }
    compare(&before, &total);
    let handled = SIGNALS.load(Ordering::Relaxed);
    assert_eq!(handled > 0, signals, "{handled} signals");
    println!("mode={}", abi().mode);
    println!("signals={handled}");
    PASSED
}

/// One thread's turns.
fn work(index: usize, turns: usize, leaves: bool) -> Ledger {
    let leaves = leaves && rseq::is_registered();
    if leaves {
        thread::unregister().expect("it is registered");
    }
    let mut ledger = Ledger::default();
    let mut caller = Caller {
        random: (index as u64 + 1) << 32 | 1,
        may_wait: true,
        has_c: HAS_C.load(Ordering::Relaxed),
    };
    for turn in 0..turns {
        if leaves && turn == turns / 2 {
            thread::register().expect("it is not registered");
        }
        for (subject, entry) in subjects().zip(&mut ledger) {
            (subject.step)(&mut caller, entry);
        }
    }
    ledger
}

fn join(total: &mut Ledger, part: &Ledger) {
    for (entry, part) in total.iter_mut().zip(part) {
        entry.join(part);
    }
}

fn measure() -> Ledger {
    let mut subjects = subjects();
    [(); COUNT].map(|()| (subjects.next().expect("so many").measure)())
}

/// The areas say what the ledger says.
fn compare(before: &Ledger, done: &Ledger) {
    let after = measure();
    for (index, subject) in subjects().enumerate() {
        let found = after[index].since(&before[index]);
        assert_eq!(found, done[index], "{}", subject.name);
    }
}

/// Every signal: one subject's operations, in the middle of whatever the thread does.
unsafe extern "C" fn step_one(_: c_int, _: *mut c_void, _: *mut c_void) {
    let number = SIGNALS.fetch_add(1, Ordering::Relaxed);
    let index = number as usize % COUNT;
    let mut entry = Entry::default();
    let mut caller = Caller {
        random: ledger::mix(number + 1) | 1,
        may_wait: false,
        has_c: HAS_C.load(Ordering::Relaxed),
    };
    let subject = subjects().nth(index).expect("so many");
    (subject.step)(&mut caller, &mut entry);
    let [sums @ .., flips] = &HANDLED[index];
    for (sum, value) in sums.iter().zip(entry.sums) {
        sum.fetch_add(value, Ordering::Relaxed);
    }
    flips.fetch_xor(entry.flips, Ordering::Relaxed);
}

/// Moves and forks until all threads have ended.
fn rage(threads: &[Option<ScopedJoinHandle<'_, Ledger>>], moves: bool, mut forks: bool) {
    let allowed = affinity();
    let mut next = processors(&allowed).cycle();
    let running = || {
        threads
            .iter()
            .flatten()
            .filter(|thread| !thread.is_finished())
    };
    let mut child = None;
    while (moves || forks || child.is_some()) && running().next().is_some() {
        let cpu = next.next().expect("a process may run somewhere");
        for (index, thread) in running().enumerate() {
            // 0 before the thread runs; one that ended meanwhile is no error.
            let id = thread.id() as usize;
            if moves && id != 0 && index % 2 == cpu % 2 {
                let _may_have_ended = pin_thread(id, cpu);
            }
        }
        match child {
            None if forks => child = Some(start_child()),
            Some(process) if ended(process, nr::WNOHANG) => {
                child = None;
                // One is enough for a short storm; more would make it a test of fork.
                forks = false;
            }
            _ => {}
        }
        sched_yield();
    }
    if let Some(process) = child {
        ended(process, 0);
    }
}

/// A child that goes on with every operation, alone, in the middle of what the parent's threads did.
fn start_child() -> usize {
    // SAFETY: the child uses per-vCPU words alone, which may be used in a signal handler.
    match unsafe { process::fork() }.expect("a child") {
        Fork::Parent(process) => process as usize,
        Fork::Child => {
            let before = measure();
            let done = work(70, 50, false);
            compare(&before, &done);
            process::exit_group(PASSED);
        }
    }
}

/// Whether the child is gone; it must have passed.
fn ended(process: usize, options: u32) -> bool {
    let mut status = 0_i32;
    let place = (&raw mut status).expose_provenance();
    // SAFETY: wait4(2) writes one int.
    let waited = unsafe { syscall(nr::__NR_wait4, [process, place, options as usize, 0]) };
    if waited == Ok(0) {
        return false;
    }
    assert_eq!((waited, status), (Ok(process), PASSED << 8), "the child");
    true
}
