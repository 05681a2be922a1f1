// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a program does before `main`: every instruction is stepped over, from the kernel's first
//! one to the system call by which the benchmark program marks that `main` has begun.

use std::fs::File;
use std::io;
use std::mem::zeroed;
use std::os::unix::fs::FileExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command};
use std::ptr::null_mut;

use anyhow::{Context, Result, bail, ensure};
use libc::c_long;

use super::Row;
use crate::program::{Form, Profile, build};

/// No kernel has a call of this number; tests/bench/programs/src/bin/startup.rs makes it.
const MARKER: u64 = 0x6d61_696e;

const SYSCALL: [u8; 2] = [0x0f, 0x05];
const CPUID: [u8; 2] = [0x0f, 0xa2];

/// The calls that a start makes or must not make, by name.
const NAMES: [(c_long, &str); 18] = [
    (libc::SYS_arch_prctl, "arch_prctl"),
    (libc::SYS_brk, "brk"),
    (libc::SYS_clock_gettime, "clock_gettime"),
    (libc::SYS_getrandom, "getrandom"),
    (libc::SYS_gettid, "gettid"),
    (libc::SYS_madvise, "madvise"),
    (libc::SYS_membarrier, "membarrier"),
    (libc::SYS_mmap, "mmap"),
    (libc::SYS_mprotect, "mprotect"),
    (libc::SYS_open, "open"),
    (libc::SYS_openat, "openat"),
    (libc::SYS_openat2, "openat2"),
    (libc::SYS_prctl, "prctl"),
    (libc::SYS_rseq, "rseq"),
    (libc::SYS_sched_getaffinity, "sched_getaffinity"),
    (libc::SYS_set_robust_list, "set_robust_list"),
    (libc::SYS_set_tid_address, "set_tid_address"),
    (libc::SYS_sigaltstack, "sigaltstack"),
];

/// One system call as the program made it.
struct Call {
    number: u64,
    arguments: [u64; 3],
    result: u64,
}

/// What was seen between exec and `main`.
#[derive(Default)]
struct Startup {
    calls: Vec<Call>,
    instructions: u64,
    cpuids: u64,
}

/// syscalls_before_main.
pub fn row() -> Result<Row> {
    let startup = trace(&build("bench-startup", Form::Static, Profile::Release)?)?;
    println!(
        "before main: {} instructions, and the calls",
        startup.instructions
    );
    for call in &startup.calls {
        println!("  {}", call.shown());
    }
    ensure!(
        startup.cpuids == 0,
        "the start asks CPUID {} times",
        startup.cpuids
    );
    ensure!(
        !startup.calls.iter().any(Call::opens_a_file),
        "the start opens a file"
    );
    Ok(Row::count(
        "syscalls_before_main",
        startup.calls.len() as u64,
        "calls",
        6,
    ))
}

impl Call {
    fn name(&self) -> Option<&'static str> {
        let number = c_long::try_from(self.number).ok()?;
        NAMES
            .iter()
            .find(|(known, _)| *known == number)
            .map(|(_, name)| *name)
    }

    fn opens_a_file(&self) -> bool {
        self.name().is_some_and(|name| name.starts_with("open"))
    }

    fn shown(&self) -> String {
        let name = self
            .name()
            .map_or_else(|| self.number.to_string(), str::to_owned);
        let [first, second, third] = self.arguments;
        let result = self.result.cast_signed();
        let result = if (-4095..0).contains(&result) {
            let error = i32::try_from(-result).expect("an errno is small");
            io::Error::from_raw_os_error(error).to_string()
        } else {
            format!("{result:#x}")
        };
        format!("{name}({first:#x}, {second:#x}, {third:#x}, ..) = {result}")
    }
}

fn trace(program: &Path) -> Result<Startup> {
    let mut child = spawn_traced(program)?;
    let pid = child.id().cast_signed();
    let startup = step_to_main(pid).with_context(|| format!("tracing {}", program.display()));
    child.kill()?;
    child.wait()?;
    startup
}

fn spawn_traced(program: &Path) -> Result<Child> {
    let mut command = Command::new(program);
    command.env_clear();
    // SAFETY: the closure makes one system call.
    unsafe { command.pre_exec(|| ptrace(libc::PTRACE_TRACEME, 0, null_mut())) };
    command
        .spawn()
        .with_context(|| format!("cannot trace {}", program.display()))
}

fn step_to_main(pid: libc::pid_t) -> Result<Startup> {
    /// Far more than a start takes; a start that loops is an error, not a wait.
    const LIMIT: u64 = 1_000_000;
    let memory = File::open(format!("/proc/{pid}/mem"))?;
    let mut startup = Startup::default();
    wait_for_stop(pid)?;
    while startup.instructions < LIMIT {
        let before = registers(pid)?;
        let mut opcode = [0; 2];
        memory.read_exact_at(&mut opcode, before.rip)?;
        if opcode == SYSCALL && before.rax == MARKER {
            return Ok(startup);
        }
        ptrace(libc::PTRACE_SINGLESTEP, pid, null_mut())?;
        wait_for_stop(pid)?;
        startup.instructions += 1;
        startup.cpuids += u64::from(opcode == CPUID);
        if opcode == SYSCALL {
            startup.calls.push(Call {
                number: before.rax,
                arguments: [before.rdi, before.rsi, before.rdx],
                result: registers(pid)?.rax,
            });
        }
    }
    bail!("main was not reached in {LIMIT} instructions")
}

fn wait_for_stop(pid: libc::pid_t) -> Result<()> {
    let mut status = 0;
    // SAFETY: the child is ours.
    if unsafe { libc::waitpid(pid, &raw mut status, 0) } != pid {
        return Err(io::Error::last_os_error()).context("waitpid");
    }
    ensure!(
        libc::WIFSTOPPED(status) && libc::WSTOPSIG(status) == libc::SIGTRAP,
        "the program ended before main, with wait status {status:#x}"
    );
    Ok(())
}

fn registers(pid: libc::pid_t) -> Result<libc::user_regs_struct> {
    // SAFETY: the structure holds integers only.
    let mut registers: libc::user_regs_struct = unsafe { zeroed() };
    ptrace(libc::PTRACE_GETREGS, pid, (&raw mut registers).cast())?;
    Ok(registers)
}

/// A ptrace request whose address argument is null: `data` is null or what the request fills.
fn ptrace(request: libc::c_uint, pid: libc::pid_t, data: *mut libc::c_void) -> io::Result<()> {
    // SAFETY: the requests made here read and write nothing of ours but what `data` points to.
    match unsafe { libc::ptrace(request, pid, null_mut::<libc::c_void>(), data) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}
