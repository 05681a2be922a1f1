// SPDX-License-Identifier: MIT OR Apache-2.0
//! Signal masks and handlers, as the kernel has them (rt_sigprocmask(2), rt_sigaction(2)).

use core::ffi::{c_int, c_void};

use linux_raw_sys::general::{__NR_rt_sigaction, __NR_tgkill, SA_RESTORER};
use rustix::io::Errno;
use vcpu_core::arch::syscall;

use crate::arch::thread::restore_from_signal;

pub use linux_raw_sys::general::{
    SA_NODEFER, SA_ONSTACK, SA_RESETHAND, SA_RESTART, SIGALRM, SIGBUS, SIGCHLD, SIGHUP, SIGINT,
    SIGPIPE, SIGQUIT, SIGSEGV, SIGTERM, SIGUSR1, SIGUSR2,
};
pub use vcpu_core::signal_mask::{SignalSet, block, block_all, restore, unblock};

/// What is done at a signal.
#[derive(Clone, Copy)]
pub enum Action {
    /// The kernel's default (signal(7)).
    Default,
    /// Nothing.
    Ignore,
    /// Calls a function, which gets the signal, `siginfo_t` and `ucontext_t`.
    Call(Handler),
}

/// A handler, which runs on any thread, between any two instructions. Of the runtime it may use
/// what says that it is async-signal-safe: `PerVcpu`, `areas`, `rseq`, `signal`.
pub type Handler = unsafe extern "C" fn(c_int, *mut c_void, *mut c_void);

/// The kernel's `struct sigaction` (`arch/x86/include/uapi/asm/signal.h`).
#[repr(C)]
#[derive(Clone, Copy)]
struct KernelAction {
    handler: usize,
    flags: u64,
    restorer: usize,
    mask: u64,
}

const SIG_DFL: usize = 0;
const SIG_IGN: usize = 1;

/// Sets what the process does at `signal`. `flags` are SA_*; handlers get SA_SIGINFO and
/// SA_RESTORER by themselves. `mask` is blocked, besides the signal, while a handler runs.
///
/// # Errors
/// EINVAL: no such signal, or SIGKILL or SIGSTOP.
///
/// # Safety
/// A handler does only what may be done between any two instructions of the program.
pub unsafe fn set_action(
    signal: u32,
    action: Action,
    flags: u32,
    mask: SignalSet,
) -> Result<(), Errno> {
    /// `SA_SIGINFO`: the handler takes three arguments.
    const SA_SIGINFO: u32 = 4;
    let handler = match action {
        Action::Default => SIG_DFL,
        Action::Ignore => SIG_IGN,
        Action::Call(handler) => handler as usize,
    };
    let new = KernelAction {
        handler,
        flags: u64::from(flags | SA_SIGINFO | SA_RESTORER),
        restorer: restore_from_signal as *const () as usize,
        mask: mask.bits(),
    };
    let new = (&raw const new).expose_provenance();
    // SAFETY: a readable struct; the handler is the caller's duty.
    unsafe {
        syscall(
            __NR_rt_sigaction,
            [signal as usize, new, 0, size_of::<u64>()],
        )
    }
    .map(|_| ())
}

/// Sends `signal` to the calling thread (tgkill(2)).
pub(crate) fn raise(signal: u32) {
    let process = rustix::process::getpid().as_raw_nonzero().get() as usize;
    let thread = rustix::thread::gettid().as_raw_nonzero().get() as usize;
    // SAFETY: what the signal does was decided by who set its action.
    let _cannot_fail = unsafe { syscall(__NR_tgkill, [process, thread, signal as usize, 0]) };
}

/// Sets every signal that has a handler to its default: for a process between clone and execve
/// that shares its parent's memory but not its handlers.
pub(crate) fn reset_handlers() {
    for signal in 1..=64 {
        let mut action = KernelAction {
            handler: SIG_DFL,
            flags: 0,
            restorer: 0,
            mask: 0,
        };
        let place = (&raw mut action).expose_provenance();
        // SAFETY: reads the action into a struct of the kernel's layout. SIGKILL and SIGSTOP
        // show the default.
        let read = unsafe { syscall(__NR_rt_sigaction, [signal, 0, place, size_of::<u64>()]) };
        if read.is_ok() && action.handler != SIG_DFL && action.handler != SIG_IGN {
            let default = KernelAction {
                handler: SIG_DFL,
                flags: 0,
                restorer: 0,
                mask: 0,
            };
            let place = (&raw const default).expose_provenance();
            // SAFETY: the default runs no code of the program.
            let _cannot_fail =
                unsafe { syscall(__NR_rt_sigaction, [signal, place, 0, size_of::<u64>()]) };
        }
    }
}
