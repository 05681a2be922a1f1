// SPDX-License-Identifier: MIT OR Apache-2.0
//! A handler that moves its thread: sigreturn then goes back to code that began on another CPU, with
//! another mm_cid perhaps.

use core::ffi::{c_int, c_void};
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use core::time::Duration;

use vcpu_guest_programs::base::{verify, verify_many};
use vcpu_guest_programs::check::skip;
use vcpu_guest_programs::check_eq;
use vcpu_guest_programs::gs::turn_on;
use vcpu_guest_programs::machine::{allowed_cpus, move_to, numbers};
use vcpu_guest_programs::signal::{alarm_every, on};
use vcpu_guest_programs::syscall::tgkill;
use vcpu_guest_programs::threads::under_storm;
use vcpu_rt::signal::{SA_RESTART, SIGALRM, SIGUSR1};
use vcpu_rt::{println, thread};

use vcpu_guest_programs::gs::STRIDE;

static CPUS: AtomicUsize = AtomicUsize::new(1);
static MOVES: AtomicUsize = AtomicUsize::new(0);

unsafe extern "C" fn move_on(_: c_int, _: *mut c_void, _: *mut c_void) {
    verify(STRIDE, "a handler before it moves");
    let moves = MOVES.fetch_add(1, Ordering::Relaxed);
    move_to(0, moves % CPUS.load(Ordering::Relaxed)).expect("the CPU is online");
    verify(STRIDE, "a handler after it moved");
}

pub fn moving_handlers(wanted: usize) {
    let cpus = numbers(&allowed_cpus()).count();
    if cpus < 2 {
        skip("one CPU, to which there is no other");
    }
    CPUS.store(cpus, Ordering::Relaxed);
    turn_on(STRIDE);
    // SAFETY: the handler looks and moves.
    unsafe {
        on(SIGALRM, SA_RESTART, move_on);
        on(SIGUSR1, SA_RESTART, move_on);
    }
    alarm_every(500);
    let work = |_, _: &AtomicBool| {
        while MOVES.load(Ordering::Relaxed) < wanted {
            verify_many(STRIDE, 500, "code that a handler moved");
        }
    };
    under_storm(cpus + 2, 0, work, |workers, _| {
        for id in workers.running() {
            // It may have ended.
            let _no_such_thread = tgkill(id, SIGUSR1);
        }
        thread::sleep(Duration::from_millis(1));
    });
    alarm_every(0);
    let moves = MOVES.load(Ordering::Relaxed);
    println!("moves={moves}");
    check_eq!(moves >= wanted, true, "moves are as many as asked for");
}
