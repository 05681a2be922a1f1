// SPDX-License-Identifier: MIT OR Apache-2.0
//! The ping-pong: a byte goes to a partner and comes back. On one CPU that takes two switches.

use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering};

use linux_raw_sys::general::{__NR_getrusage, RUSAGE_THREAD, rusage};
use rustix::fd::AsFd;
use rustix::io::{read, write};
use rustix::pipe::pipe;
use vcpu_guest_programs::gs::{self, PAGE};
use vcpu_guest_programs::process::{check_in_child, expect_exit, fork};
use vcpu_guest_programs::syscall::syscall;
use vcpu_guest_programs::{check_eq, memory};
use vcpu_rt::thread;

use crate::counter::{median, now};

/// Rounds of a run.
const ROUNDS: usize = 1001;

/// Who plays.
#[derive(Clone, Copy, Debug)]
pub enum Between {
    /// Two threads of a process.
    Threads,
    /// Two processes.
    Processes,
}

impl fmt::Display for Between {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Threads => "threads",
            Self::Processes => "processes",
        })
    }
}

/// The mode of both players.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mode {
    /// None, or the kernel does not know it.
    Off,
    /// MM_VCPU.
    On,
}

/// Instructions of a switch and of the half of a round that is around it: a run in a process of
/// its own, as the mode could not be turned off again before the partner is gone.
pub fn measure(between: Between, mode: Mode) -> f64 {
    // SAFETY: zero is a value of it.
    let round: &AtomicU64 = unsafe { memory::shared() };
    check_in_child("a ping-pong", || {
        if mode == Mode::On {
            gs::turn_on(PAGE as u64);
        }
        round.store(ping_pong(between), Ordering::Relaxed);
    });
    round.load(Ordering::Relaxed) as f64 / 2.0
}

/// The median length of a round.
fn ping_pong(between: Between) -> u64 {
    let [(there, at_partner), (back, from_partner)] = [0, 1].map(|_| {
        let (reader, writer) = pipe().expect("two descriptors");
        (writer, reader)
    });
    let partner = || {
        for _ in 0..ROUNDS {
            receive(&at_partner);
            send(&back);
        }
    };
    let lead = || {
        let mut lengths = [0; ROUNDS];
        let before = switches();
        let mut start = now();
        for length in &mut lengths {
            send(&there);
            receive(&from_partner);
            let end = now();
            *length = end - start;
            start = end;
        }
        let count = switches() - before;
        // This side is switched out once a round, and by a tick now and then.
        assert!(
            (ROUNDS..=ROUNDS + ROUNDS / 50).contains(&count),
            "{count} switches in {ROUNDS} rounds"
        );
        median(&mut lengths)
    };
    match between {
        Between::Threads => thread::scope(|scope| {
            scope.spawn(partner).expect("a thread");
            lead()
        }),
        Between::Processes => {
            let child = fork(|| {
                partner();
                0
            });
            let length = lead();
            expect_exit(child, 0, "the partner");
            length
        }
    }
}

fn send(pipe: impl AsFd) {
    check_eq!(write(pipe, b"."), Ok(1), "writing to a pipe");
}

fn receive(pipe: impl AsFd) {
    check_eq!(read(pipe, &mut [0_u8]), Ok(1), "reading from a pipe");
}

/// How often this thread was switched out.
fn switches() -> usize {
    // SAFETY: integers only.
    let mut usage: rusage = unsafe { core::mem::zeroed() };
    let place = (&raw mut usage).expose_provenance();
    // SAFETY: the kernel fills the structure.
    unsafe { syscall(__NR_getrusage, [RUSAGE_THREAD as usize, place]) }
        .expect("every thread may ask");
    usize::try_from(usage.ru_nvcsw + usage.ru_nivcsw).expect("a count")
}
