// SPDX-License-Identifier: MIT OR Apache-2.0
//! Timers, of the process and of threads, signals at every instruction, and handlers for them.

use core::arch::asm;
use core::ffi::{c_int, c_void};

use linux_raw_sys::general as nr;
use vcpu_rt::signal::{Action, SA_RESTART, SIGALRM, SignalSet, set_action};

use crate::syscall::{gettid, syscall};

/// Calls `handler` on each SIGALRM; interrupted system calls restart.
///
/// # Safety
/// As for [`set_action`].
pub unsafe fn on_alarm(handler: unsafe extern "C" fn(c_int, *mut c_void, *mut c_void)) {
    // SAFETY: by the caller's word.
    unsafe {
        set_action(
            SIGALRM,
            Action::Call(handler),
            SA_RESTART,
            SignalSet::default(),
        )
    }
    .expect("the action is well formed");
}

/// Sends SIGALRM to the process every `microseconds`, or never again with 0.
pub fn alarm_every(microseconds: i64) {
    let time = nr::__kernel_old_timeval {
        tv_sec: 0,
        tv_usec: microseconds,
    };
    let timer = nr::__kernel_old_itimerval {
        it_interval: time,
        it_value: time,
    };
    let timer = (&raw const timer).expose_provenance();
    // SAFETY: the kernel reads one itimerval; the old one is not asked for.
    unsafe { syscall(nr::__NR_setitimer, [nr::ITIMER_REAL as usize, timer, 0, 0]) }
        .expect("the timer is well formed");
}

/// A timer that sends SIGALRM to the thread that made it, until it is dropped there.
pub struct ThreadTimer(i32);

impl ThreadTimer {
    /// One that fires every `microseconds`.
    pub fn every(microseconds: i64) -> Self {
        /// `struct sigevent` (`include/uapi/asm-generic/siginfo.h`), 64 bytes.
        #[repr(C)]
        struct Event {
            value: u64,
            signal: i32,
            notify: i32,
            thread: i32,
            padding: [i32; 11],
        }
        let event = Event {
            value: 0,
            signal: SIGALRM.cast_signed(),
            notify: nr::SIGEV_THREAD_ID.cast_signed(),
            thread: gettid() as i32,
            padding: [0; 11],
        };
        let time = nr::__kernel_timespec {
            tv_sec: 0,
            tv_nsec: microseconds * 1000,
        };
        let period = nr::__kernel_itimerspec {
            it_interval: time,
            it_value: time,
        };
        let mut timer = 0;
        // SAFETY: the kernel reads one event and one time, and writes one id.
        unsafe {
            let event = (&raw const event).expose_provenance();
            let place = (&raw mut timer).expose_provenance();
            let monotonic = nr::CLOCK_MONOTONIC as usize;
            syscall(nr::__NR_timer_create, [monotonic, event, place, 0]).expect("a timer");
            let period = (&raw const period).expose_provenance();
            syscall(nr::__NR_timer_settime, [timer as usize, 0, period, 0])
                .expect("the time is well formed");
        }
        Self(timer)
    }
}

impl Drop for ThreadTimer {
    fn drop(&mut self) {
        // SAFETY: integers only.
        unsafe { syscall(nr::__NR_timer_delete, [self.0 as usize, 0, 0, 0]) }
            .expect("the timer exists");
    }
}

/// A handler: of the signal's number, its siginfo_t and its ucontext_t.
pub type Handler = unsafe extern "C" fn(c_int, *mut c_void, *mut c_void);

/// Calls `handler` after every instruction of `work`, by the processor's trap flag: the kernel clears
/// it for the handler and sets it again behind it (SIGTRAP; `arch/x86/kernel/signal.c`).
///
/// # Safety
/// As for [`set_action`].
pub unsafe fn at_every_instruction(handler: Handler, work: impl FnOnce()) {
    // SAFETY: by the caller's word.
    unsafe {
        set_action(
            nr::SIGTRAP,
            Action::Call(handler),
            SA_RESTART,
            SignalSet::default(),
        )
    }
    .expect("the action is well formed");
    // SAFETY: bit 8 of the flags, by the stack, which is left as it was.
    unsafe { asm!("pushfq", "or qword ptr [rsp], 0x100", "popfq") };
    work();
    // SAFETY: as above.
    unsafe { asm!("pushfq", "and qword ptr [rsp], ~0x100", "popfq") };
}
