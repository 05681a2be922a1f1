// SPDX-License-Identifier: MIT OR Apache-2.0
//! One case: a process group that runs until its leader ends, or its time is over.

use core::fmt;
use core::time::Duration;

use linux_raw_sys::general::{__NR_execve, __NR_kill, SIGKILL};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, PidfdFlags, WaitOptions, WaitStatus, pidfd_open, setpgid, wait};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};
use vcpu_guest_programs::check::SKIPPED;
use vcpu_guest_programs::machine::uptime;
use vcpu_guest_programs::plan::Case;
use vcpu_guest_programs::syscall::syscall;
use vcpu_rt::process::{self, Fork};

use super::output::{Line, Output};

/// How long killed processes may take to be gone. A debug kernel under emulation is slow.
const END_LIMIT: Duration = Duration::from_secs(30);

/// How a case ended.
pub enum Outcome {
    /// Exit status 0.
    Passed,
    /// Exit status 4 and a reason.
    Skipped(Line),
    /// Anything else.
    Failed(Failure),
}

/// Why a case failed.
pub enum Failure {
    /// It exited.
    ExitStatus(i32),
    /// A signal ended it.
    Signal(i32),
    /// It was killed after this time.
    TimedOut(Duration),
    /// Exit status 4, but no line that says why.
    SkipWithoutReason,
    /// It ended, but processes of it do not, killed or not.
    ProcessesLeft,
    /// The line is malformed; what is wrong with it was printed.
    Malformed,
    /// Something that this program does was refused.
    System {
        /// What was not possible.
        what: &'static str,
        /// With which file, or empty.
        file: &'static str,
        /// The kernel's answer.
        errno: Errno,
    },
}

impl Outcome {
    /// A failure of this program itself.
    pub fn failed(what: &'static str, file: &'static str, errno: Errno) -> Self {
        Self::Failed(Failure::System { what, file, errno })
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Passed => f.write_str("passed"),
            Self::Skipped(reason) => write!(f, "SKIP: {reason}"),
            Self::Failed(failure) => write!(f, "FAILED: {failure}"),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ExitStatus(status) => write!(f, "exit status {status}"),
            Self::Signal(signal) => write!(f, "signal {signal}"),
            Self::TimedOut(limit) => write!(f, "timed out after {} s", limit.as_secs()),
            Self::SkipWithoutReason => write!(f, "exit status {SKIPPED} without a reason"),
            Self::ProcessesLeft => f.write_str("left processes that SIGKILL does not end"),
            Self::Malformed => f.write_str("malformed line"),
            Self::System {
                what,
                file: "",
                errno,
            } => write!(f, "{what}: {errno:?}"),
            Self::System { what, file, errno } => write!(f, "{what} {file}: {errno:?}"),
        }
    }
}

/// Runs a case and leaves no process of it behind.
pub fn run(case: &Case<'_>) -> Outcome {
    match try_run(case) {
        Ok(outcome) => outcome,
        Err((what, errno)) => Outcome::failed(what, "", errno),
    }
}

fn try_run(case: &Case<'_>) -> Result<Outcome, (&'static str, Errno)> {
    let flags = PipeFlags::CLOEXEC;
    let (output, program_output) = pipe_with(flags).map_err(|errno| ("pipe2", errno))?;
    rustix::io::ioctl_fionbio(&output, true).map_err(|errno| ("FIONBIO", errno))?;
    let (refusal, program_refusal) = pipe_with(flags).map_err(|errno| ("pipe2", errno))?;
    let started = uptime();
    // SAFETY: this process has one thread.
    let child = match unsafe { process::fork() }.map_err(|errno| ("fork", errno))? {
        Fork::Child => become_program(case, program_output, program_refusal),
        Fork::Parent(child) => Pid::from_raw(child.cast_signed()).ok_or(("fork", Errno::CHILD))?,
    };
    // Both do it, so that the group exists whoever is first. It fails after the execve.
    let _done_by_the_child = setpgid(Some(child), Some(child));
    drop((program_output, program_refusal));
    let mut errno = [0_u8; 4];
    // The other end is closed by a successful execve.
    let refused = rustix::io::read(&refusal, &mut errno).is_ok_and(|count| count == errno.len());
    let mut output = Output::new(output);
    let status = wait_for(child, &mut output, started + case.limit);
    let gone = kill_all();
    output.pass_on();
    let reason = output.finish();
    if refused {
        let errno = Errno::from_raw_os_error(i32::from_ne_bytes(errno));
        return Err(("the program cannot be started", errno));
    }
    let Some(status) = status.map_err(|errno| ("waiting", errno))? else {
        return Ok(Outcome::Failed(Failure::TimedOut(case.limit)));
    };
    if !gone {
        return Ok(Outcome::Failed(Failure::ProcessesLeft));
    }
    Ok(classify(status, reason))
}

fn classify(status: WaitStatus, reason: Option<Line>) -> Outcome {
    match (status.exit_status(), reason) {
        (Some(0), _) => Outcome::Passed,
        (Some(SKIPPED), Some(reason)) => Outcome::Skipped(reason),
        (Some(SKIPPED), None) => Outcome::Failed(Failure::SkipWithoutReason),
        (Some(status), _) => Outcome::Failed(Failure::ExitStatus(status)),
        (None, _) => Outcome::Failed(Failure::Signal(status.terminating_signal().unwrap_or(0))),
    }
}

/// The child: its own process group, standard streams, and the program.
fn become_program(case: &Case<'_>, output: OwnedFd, refusal: OwnedFd) -> ! {
    let Err(errno) = try_become_program(case, &output);
    let _parent_sees_the_exit = rustix::io::write(&refusal, &errno.raw_os_error().to_ne_bytes());
    process::exit_group(127)
}

fn try_become_program(
    case: &Case<'_>,
    output: &OwnedFd,
) -> Result<core::convert::Infallible, Errno> {
    setpgid(None, None)?;
    let null = rustix::fs::open("/dev/null", OFlags::RDWR, Mode::empty())?;
    dup2_stdin(&null)?;
    dup2_stdout(output)?;
    dup2_stderr(output)?;
    let [path, arguments, environment] = [
        case.arguments.pointers()[0].expose_provenance(),
        case.arguments.pointers().as_ptr().expose_provenance(),
        case.environment.pointers().as_ptr().expose_provenance(),
    ];
    // SAFETY: strings and vectors that end as execve demands; a success does not return.
    match unsafe { syscall(__NR_execve, [path, arguments, environment]) } {
        Err(errno) => Err(errno),
        Ok(_) => unreachable!("execve returned"),
    }
}

/// Passes output on until the child ends; `None` when its time is over. Orphans are reaped.
fn wait_for(child: Pid, output: &mut Output, end: Duration) -> Result<Option<WaitStatus>, Errno> {
    // Readable when the child has ended.
    let handle = pidfd_open(child, PidfdFlags::empty())?;
    loop {
        if let Some(status) = reap(child) {
            return Ok(Some(status));
        }
        let left = end.saturating_sub(uptime());
        if left.is_zero() {
            return Ok(None);
        }
        // Woken now and then for the orphans.
        let pause = left.min(Duration::from_millis(500));
        let pause = Timespec::try_from(pause).map_err(|_| Errno::INVAL)?;
        let handle = PollFd::new(&handle, PollFlags::IN);
        match output.pipe() {
            Some(pipe) => {
                let mut waited_for = [handle, PollFd::new(pipe, PollFlags::IN)];
                ignore_interrupts(poll(&mut waited_for, Some(&pause)))?;
            }
            None => ignore_interrupts(poll(&mut [handle], Some(&pause)))?,
        }
        output.pass_on();
    }
}

fn ignore_interrupts(result: Result<usize, Errno>) -> Result<(), Errno> {
    match result {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(errno) => Err(errno),
    }
}

/// Takes the status of every process that has ended, and returns that of `child`.
fn reap(child: Pid) -> Option<WaitStatus> {
    let mut status = None;
    while let Ok(Some((process, its_status))) = wait(WaitOptions::NOHANG) {
        if process == child {
            status = Some(its_status);
        }
    }
    status
}

/// Kills every process but this one, whatever group it went to, and waits until all are gone.
fn kill_all() -> bool {
    let end = uptime() + END_LIMIT;
    loop {
        // From the first process this spares only itself.
        // SAFETY: integers only.
        let _nobody_left = unsafe { syscall(__NR_kill, [usize::MAX, SIGKILL as usize]) };
        match wait(WaitOptions::NOHANG) {
            Ok(Some(_)) | Err(Errno::INTR) => continue,
            Err(_no_child) => return true,
            Ok(None) if uptime() > end => return false,
            Ok(None) => vcpu_rt::thread::sleep(Duration::from_millis(5)),
        }
    }
}
