// SPDX-License-Identifier: MIT OR Apache-2.0
//! Handlers and the interval timer.

use linux_raw_sys::general as nr;
use vcpu_rt::signal::{Action, Handler, SignalSet, set_action};

use crate::syscall::syscall;

/// Calls `handler` on each `signal`, with these SA_* flags.
///
/// # Safety
/// As for [`set_action`].
pub unsafe fn on(signal: u32, flags: u32, handler: Handler) {
    // SAFETY: by the caller's word.
    unsafe { set_action(signal, Action::Call(handler), flags, SignalSet::default()) }
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
    unsafe { syscall(nr::__NR_setitimer, [nr::ITIMER_REAL as usize, timer, 0]) }
        .expect("the timer is well formed");
}
