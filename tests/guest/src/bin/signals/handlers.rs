// SPDX-License-Identifier: MIT OR Apache-2.0
//! Handlers run with the mode, whatever stack they are on and whatever they interrupt.

use core::ffi::{c_int, c_void};
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use core::time::Duration;

use linux_raw_sys::general::{__NR_sigaltstack, stack_t};
use rustix::io::{read, write};
use rustix::pipe::pipe;
use vcpu_guest_programs::base::{verify, verify_many};
use vcpu_guest_programs::gs::{get, mm_vcpu, set, turn_on};
use vcpu_guest_programs::signal::on;
use vcpu_guest_programs::syscall::{gettid, syscall, tgkill};
use vcpu_guest_programs::{check_eq, memory, threads};
use vcpu_rt::signal::{SA_NODEFER, SA_ONSTACK, SA_RESTART, SIGUSR1, SIGUSR2};
use vcpu_rt::{println, thread};

use vcpu_guest_programs::gs::STRIDE;

const OTHER_STRIDE: u64 = 2 * STRIDE;
const ALTERNATE_BYTES: usize = 64 << 10;

static HANDLED: AtomicU64 = AtomicU64::new(0);
static ON_ALTERNATE: AtomicU64 = AtomicU64::new(0);
static DEPTH: AtomicU32 = AtomicU32::new(0);

unsafe extern "C" fn look(_: c_int, _: *mut c_void, _: *mut c_void) {
    verify(STRIDE, "a handler");
    HANDLED.fetch_add(1, Ordering::Relaxed);
}

/// Sends itself the signal again, a few levels deep.
unsafe extern "C" fn nest(signal: c_int, _: *mut c_void, _: *mut c_void) {
    verify(STRIDE, "a nested handler");
    if DEPTH.fetch_add(1, Ordering::Relaxed) < 5 {
        tgkill(gettid(), signal.cast_unsigned()).expect("one may signal oneself");
    }
    verify(STRIDE, "a handler after a nested one");
    HANDLED.fetch_add(1, Ordering::Relaxed);
}

unsafe extern "C" fn change(_: c_int, _: *mut c_void, _: *mut c_void) {
    check_eq!(set(mm_vcpu(OTHER_STRIDE)), Ok(()), "SET in a handler");
    verify(OTHER_STRIDE, "a handler after its SET");
}

unsafe extern "C" fn look_on_alternate(_: c_int, _: *mut c_void, _: *mut c_void) {
    verify(STRIDE, "a handler on another stack");
    let mut here = stack_t {
        ss_sp: core::ptr::null_mut(),
        ss_flags: 0,
        ss_size: 0,
    };
    let place = (&raw mut here).expose_provenance();
    // SAFETY: the kernel writes the struct.
    unsafe { syscall(__NR_sigaltstack, [0, place]) }.expect("the place is good");
    // SS_ONSTACK: the kernel's word that this runs on it.
    ON_ALTERNATE.fetch_add(u64::from(here.ss_flags == 1), Ordering::Relaxed);
}

fn raise(signal: u32) {
    tgkill(gettid(), signal).expect("one may signal oneself");
}

pub fn all() {
    turn_on(STRIDE);
    // SAFETY: handlers that look, count, and make system calls.
    unsafe {
        on(SIGUSR1, 0, look);
        on(SIGUSR2, SA_NODEFER, nest);
    }
    in_threads();
    raise(SIGUSR2);
    check_eq!(
        DEPTH.load(Ordering::Relaxed),
        6,
        "levels of nested handlers"
    );
    on_another_stack();
    restarted_read();
    // SAFETY: as above.
    unsafe { on(SIGUSR1, 0, change) };
    raise(SIGUSR1);
    verify(
        OTHER_STRIDE,
        "the interrupted code after a SET in its handler",
    );
    check_eq!(
        get(),
        Ok(mm_vcpu(OTHER_STRIDE)),
        "GET after a SET in a handler"
    );
    println!("handled={}", HANDLED.load(Ordering::Relaxed));
}

/// More threads than CPUs, so that handlers are switched out as well.
fn in_threads() {
    const EACH: u64 = 1000;
    threads::in_threads(8, || {
        for _ in 0..EACH {
            raise(SIGUSR1);
            verify(STRIDE, "the interrupted code");
        }
    });
    check_eq!(HANDLED.load(Ordering::Acquire), 8 * EACH, "signals handled");
}

fn on_another_stack() {
    // SAFETY: as in `all`.
    unsafe { on(SIGUSR1, SA_ONSTACK, look_on_alternate) };
    let work = || {
        let start = memory::map(ALTERNATE_BYTES);
        let stack = stack_t {
            ss_sp: core::ptr::with_exposed_provenance_mut(start),
            ss_flags: 0,
            ss_size: ALTERNATE_BYTES as u64,
        };
        let place = (&raw const stack).expose_provenance();
        // SAFETY: a mapping that stays as long as the process.
        unsafe { syscall(__NR_sigaltstack, [place, 0]) }.expect("the stack is large enough");
        for _ in 0..100 {
            raise(SIGUSR1);
            verify(STRIDE, "after a handler on another stack");
        }
    };
    threads::in_threads(4, work);
    check_eq!(
        ON_ALTERNATE.load(Ordering::Acquire),
        400,
        "handlers on another stack"
    );
}

/// A read that is interrupted many times, and each time begins again by itself.
fn restarted_read() {
    // SAFETY: as in `all`.
    unsafe { on(SIGUSR1, SA_RESTART, look) };
    let before = HANDLED.load(Ordering::Acquire);
    let (input, output) = pipe().expect("a pipe");
    let reading = AtomicBool::new(true);
    thread::scope(|scope| {
        let work = || {
            let mut byte = [0_u8];
            check_eq!(read(&input, &mut byte), Ok(1), "a read with SA_RESTART");
            verify(STRIDE, "after a read that began again");
            verify_many(STRIDE, 1000, "after a read that began again");
            reading.store(false, Ordering::Release);
        };
        let thread = scope.spawn(work).expect("a thread");
        for _ in 0..50 {
            tgkill(thread.id(), SIGUSR1).expect("it reads");
            thread::sleep(Duration::from_millis(1));
        }
        check_eq!(
            reading.load(Ordering::Acquire),
            true,
            "whether it still reads"
        );
        check_eq!(write(&output, &[0]), Ok(1), "write to the pipe");
    });
    let handled = HANDLED.load(Ordering::Acquire) - before;
    // Signals of one kind that come before the first is handled are one signal.
    check_eq!(
        (1..=50).contains(&handled),
        true,
        "{handled} signals during the read"
    );
}
