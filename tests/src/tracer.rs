// SPDX-License-Identifier: MIT OR Apache-2.0
//! A tracer (ptrace(2)): of a program's start, where it sees each system call, may answer it in the
//! kernel's place, and may change registers and memory; or as a debugger, by breakpoints and steps.

use std::fs::{File, OpenOptions};
use std::io::{self, Error, ErrorKind};
use std::mem::zeroed;
use std::os::unix::fs::FileExt;
use std::ptr::{null_mut, without_provenance_mut};

use libc::{c_int, c_uint, c_void, pid_t, user_regs_struct};

use crate::run::Run;

/// A system call that the program is about to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// Its number.
    pub number: u64,
    /// Its six arguments.
    pub arguments: [u64; 6],
}

/// What shall become of a call.
pub enum Verdict {
    /// The kernel makes it.
    Make,
    /// It is not made, and returns this.
    Answer(i64),
    /// The kernel makes it, and nobody watches any more.
    Leave,
}

/// A stopped program of one thread.
pub struct Tracee {
    process: pid_t,
    memory: File,
}

/// How the program came to stop.
enum Stop {
    /// At a system call, before it or after it.
    Call,
    /// By a signal, which it has not seen yet.
    Signal(c_int),
    /// On its way out.
    Exit,
}

impl Run {
    /// Has the start of the program watched: `at_exec` sees it before its first instruction, then
    /// `at_call` decides on each system call of the first thread until it answers
    /// [`Verdict::Leave`].
    pub fn traced(
        self,
        at_exec: impl FnOnce(&Tracee) -> io::Result<()> + 'static,
        at_call: impl FnMut(&Tracee, Call) -> io::Result<Verdict> + 'static,
    ) -> Self {
        self.traced_from_exec(move |tracee| watch(tracee, at_exec, at_call))
    }

    /// Has the program debugged: `session` sees it before its first instruction, and decides alone
    /// when it goes on. It is left to itself afterwards.
    pub fn debugged(self, session: impl FnOnce(&Tracee) -> io::Result<()> + 'static) -> Self {
        self.traced_from_exec(move |tracee| match session(tracee) {
            Ok(()) => tracee.detach(),
            // It ended meanwhile: how is in its outcome.
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(()),
            Err(error) => Err(error),
        })
    }

    fn traced_from_exec(self, session: impl FnOnce(&Tracee) -> io::Result<()> + 'static) -> Self {
        // SAFETY: one system call.
        let run = unsafe { self.before_exec(|| request(libc::PTRACE_TRACEME, 0, 0, null_mut())) };
        run.supervised(move |process| session(&Tracee::at_exec(process)?))
    }
}

/// Follows the program until it is left to itself or ends.
fn watch(
    tracee: &Tracee,
    at_exec: impl FnOnce(&Tracee) -> io::Result<()>,
    mut at_call: impl FnMut(&Tracee, Call) -> io::Result<Verdict>,
) -> io::Result<()> {
    at_exec(tracee)?;
    loop {
        if let Stop::Exit = tracee.to_next_call()? {
            return tracee.detach();
        }
        let call = tracee.call()?;
        let verdict = at_call(tracee, call)?;
        match verdict {
            Verdict::Leave => return tracee.detach(),
            Verdict::Make => {}
            Verdict::Answer(_) => {
                let mut registers = tracee.registers()?;
                // No call has this number, so none is made (ptrace(2), "seccomp" aside).
                registers.orig_rax = u64::MAX;
                tracee.set_registers(&registers)?;
            }
        }
        if let Stop::Exit = tracee.to_next_call()? {
            return tracee.detach();
        }
        if let Verdict::Answer(value) = verdict {
            let mut registers = tracee.registers()?;
            registers.rax = value.cast_unsigned();
            tracee.set_registers(&registers)?;
        }
    }
}

impl Tracee {
    /// A child that asked to be traced, at its exec.
    fn at_exec(process: pid_t) -> io::Result<Self> {
        const OPTIONS: c_int =
            libc::PTRACE_O_TRACESYSGOOD | libc::PTRACE_O_TRACEEXIT | libc::PTRACE_O_EXITKILL;
        wait(process)?;
        let options = without_provenance_mut(OPTIONS.cast_unsigned() as usize);
        request(libc::PTRACE_SETOPTIONS, process, 0, options)?;
        let memory = OpenOptions::new()
            .read(true)
            .write(true)
            .open(format!("/proc/{process}/mem"))?;
        Ok(Self { process, memory })
    }

    /// Goes on to the next breakpoint. Any other stop is an error; `UnexpectedEof` where the program
    /// was on its way out, and is left to itself.
    pub fn to_breakpoint(&self) -> io::Result<()> {
        self.to_trap(libc::PTRACE_CONT)
    }

    /// Executes one instruction.
    pub fn step(&self) -> io::Result<()> {
        self.to_trap(libc::PTRACE_SINGLESTEP)
    }

    fn to_trap(&self, how: c_uint) -> io::Result<()> {
        request(how, self.process, 0, null_mut())?;
        let what = match wait(self.process)? {
            Stop::Signal(0) => return Ok(()),
            Stop::Signal(number) => format!("signal {number}"),
            Stop::Call => "a system call".into(),
            Stop::Exit => {
                self.detach()?;
                return Err(ErrorKind::UnexpectedEof.into());
            }
        };
        let place = self.registers()?.rip;
        Err(Error::other(format!("stopped at {place:#x} by {what}")))
    }

    /// Goes on to the next stop at a system call, or at the exit. Signals pass.
    fn to_next_call(&self) -> io::Result<Stop> {
        let mut signal = 0;
        loop {
            let data = without_provenance_mut(usize::try_from(signal).unwrap_or(0));
            request(libc::PTRACE_SYSCALL, self.process, 0, data)?;
            match wait(self.process)? {
                Stop::Signal(number) => signal = number,
                stop => return Ok(stop),
            }
        }
    }

    fn detach(&self) -> io::Result<()> {
        request(libc::PTRACE_DETACH, self.process, 0, null_mut())
    }

    /// Sends it a signal, which it sees when it goes on.
    pub fn send(&self, signal: c_int) -> io::Result<()> {
        // SAFETY: two integers; the process is a child that was not waited for.
        match unsafe { libc::kill(self.process, signal) } {
            -1 => Err(Error::last_os_error()),
            _ => Ok(()),
        }
    }

    /// The call at whose beginning the program stopped.
    fn call(&self) -> io::Result<Call> {
        let registers = self.registers()?;
        Ok(Call {
            number: registers.orig_rax,
            arguments: [
                registers.rdi,
                registers.rsi,
                registers.rdx,
                registers.r10,
                registers.r8,
                registers.r9,
            ],
        })
    }

    /// Its registers.
    pub fn registers(&self) -> io::Result<user_regs_struct> {
        // SAFETY: the structure holds integers only.
        let mut registers: user_regs_struct = unsafe { zeroed() };
        let place = (&raw mut registers).cast();
        request(libc::PTRACE_GETREGS, self.process, 0, place)?;
        Ok(registers)
    }

    /// Sets its registers.
    pub fn set_registers(&self, registers: &user_regs_struct) -> io::Result<()> {
        let place = (&raw const *registers).cast_mut().cast();
        request(libc::PTRACE_SETREGS, self.process, 0, place)
    }

    /// Reads its memory.
    pub fn read<const N: usize>(&self, address: u64) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.memory.read_exact_at(&mut bytes, address)?;
        Ok(bytes)
    }

    /// Writes its memory.
    pub fn write(&self, address: u64, bytes: &[u8]) -> io::Result<()> {
        self.memory.write_all_at(bytes, address)
    }
}

/// Waits for the next stop.
fn wait(process: pid_t) -> io::Result<Stop> {
    const AT_CALL: c_int = libc::SIGTRAP | 0x80;
    let mut status = 0;
    // SAFETY: one int to fill.
    if unsafe { libc::waitpid(process, &raw mut status, 0) } != process {
        return Err(Error::last_os_error());
    }
    if !libc::WIFSTOPPED(status) {
        return Err(Error::other(format!(
            "the traced program ended, wait status {status:#x}"
        )));
    }
    Ok(match libc::WSTOPSIG(status) {
        AT_CALL => Stop::Call,
        libc::SIGTRAP if status >> 16 == libc::PTRACE_EVENT_EXIT => Stop::Exit,
        libc::SIGTRAP => Stop::Signal(0),
        signal => Stop::Signal(signal),
    })
}

fn request(request: c_uint, process: pid_t, address: usize, data: *mut c_void) -> io::Result<()> {
    let address = without_provenance_mut::<c_void>(address);
    // SAFETY: the requests made here read and write nothing of ours but what `data` points to.
    match unsafe { libc::ptrace(request, process, address, data) } {
        -1 => Err(Error::last_os_error()),
        _ => Ok(()),
    }
}
