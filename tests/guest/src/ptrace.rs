// SPDX-License-Identifier: MIT OR Apache-2.0
//! ptrace(2), for tracees that stop themselves.

use core::ptr;

use linux_raw_sys::general::{__NR_ptrace, SIGKILL};
use linux_raw_sys::ptrace::{
    PTRACE_ARCH_PRCTL, PTRACE_CONT, PTRACE_GETREGS, PTRACE_PEEKUSR, PTRACE_POKEUSR, PTRACE_SETREGS,
    PTRACE_TRACEME,
};
use rustix::io::Errno;
use rustix::process::{Pid, WaitOptions};

use crate::check_eq;
use crate::process::{expect_exit, fork, wait_with};
use crate::syscall::syscall;

/// `struct user_regs_struct` (`arch/x86/include/asm/user_64.h`), by index.
pub type Registers = [u64; 27];

/// Indices in [`Registers`].
pub mod register {
    /// The GS base.
    pub const GS_BASE: usize = 22;
    /// The GS selector.
    pub const GS: usize = 26;
}

/// Makes the calling process a tracee of its parent.
pub fn become_tracee() {
    // SAFETY: integers only.
    let found = unsafe { syscall(__NR_ptrace, [PTRACE_TRACEME as usize]) };
    check_eq!(found, Ok(0), "PTRACE_TRACEME");
}

/// A child that this process traces.
pub struct Tracee(Pid);

impl Tracee {
    /// Forks a child that runs `child`, which becomes a tracee by itself.
    pub fn start(child: impl FnOnce()) -> Self {
        Self(fork(|| {
            child();
            0
        }))
    }

    /// Waits until it is stopped by this signal.
    pub fn wait_for_stop(&self, signal: u32) {
        let status = wait_with(self.0, WaitOptions::UNTRACED);
        let expected = Some(signal.cast_signed());
        check_eq!(status.stopping_signal(), expected, "{status:?}");
    }

    /// Lets it go on, with a signal or 0.
    pub fn resume(&self, signal: u32) {
        let found = self.call(PTRACE_CONT, 0, signal as usize);
        check_eq!(found, Ok(0), "PTRACE_CONT");
    }

    /// Waits for its end and checks the status.
    pub fn expect_exit(self, status: i32, what: &str) {
        expect_exit(self.0, status, what);
    }

    /// All general registers.
    pub fn registers(&self) -> Registers {
        let mut registers = Registers::default();
        let place = ptr::from_mut(&mut registers).expose_provenance();
        let found = self.call(PTRACE_GETREGS, 0, place);
        check_eq!(found, Ok(0), "PTRACE_GETREGS");
        registers
    }

    /// Writes all general registers.
    pub fn set_registers(&self, registers: &Registers) -> Result<(), Errno> {
        let place = ptr::from_ref(registers).expose_provenance();
        self.call(PTRACE_SETREGS, 0, place).map(drop)
    }

    /// One word of the user area, by a register's index.
    pub fn peek(&self, register: usize) -> Result<u64, Errno> {
        let mut word = 0_u64;
        let place = ptr::from_mut(&mut word).expose_provenance();
        self.call(PTRACE_PEEKUSR, register * 8, place)?;
        Ok(word)
    }

    /// Writes one word of the user area, by a register's index.
    pub fn poke(&self, register: usize, value: u64) -> Result<(), Errno> {
        self.call(PTRACE_POKEUSR, register * 8, value as usize)
            .map(drop)
    }

    /// arch_prctl(2) on the tracee, an operation that sets.
    pub fn arch_set(&self, operation: usize, base: usize) -> Result<(), Errno> {
        self.call(PTRACE_ARCH_PRCTL, base, operation).map(drop)
    }

    /// arch_prctl(2) on the tracee, an operation that gets.
    pub fn arch_get(&self, operation: usize) -> Result<usize, Errno> {
        let mut base = 0_usize;
        let place = ptr::from_mut(&mut base).expose_provenance();
        self.call(PTRACE_ARCH_PRCTL, place, operation)?;
        Ok(base)
    }

    /// Kills it.
    pub fn kill(self) {
        let signal = rustix::process::Signal::KILL;
        rustix::process::kill_process(self.0, signal).expect("it is this process's child");
        let status = wait_with(self.0, WaitOptions::empty());
        let expected = Some(SIGKILL.cast_signed());
        check_eq!(status.terminating_signal(), expected, "{status:?}");
    }

    fn call(&self, request: u32, address: usize, data: usize) -> Result<usize, Errno> {
        let process = self.0.as_raw_nonzero().get() as usize;
        // SAFETY: the callers pass places for what the kernel writes.
        unsafe { syscall(__NR_ptrace, [request as usize, process, address, data]) }
    }
}
