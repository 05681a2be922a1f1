// SPDX-License-Identifier: MIT OR Apache-2.0
//! Runs a program as a real process, with exactly the arguments and environment given, and never
//! waits longer than its time limit.

use std::ffi::{CString, OsStr};
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

/// What the child does between fork and exec: raw system calls only.
type BeforeExec = Box<dyn FnMut() -> io::Result<()> + Send + Sync>;

/// What the thread that started the child does before it waits for its end.
type Supervise = Box<dyn FnOnce(libc::pid_t) -> io::Result<()>>;

/// A program to run.
pub struct Run {
    path: CString,
    arguments: Vec<CString>,
    environment: Vec<CString>,
    stdin: Vec<u8>,
    timeout: Duration,
    before_exec: Vec<BeforeExec>,
    supervise: Option<Supervise>,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// By `exit_group` with this status.
    Exit(i32),
    /// Killed by this signal.
    Signal(i32),
    /// Killed by us, when the time limit had passed.
    TimedOut,
}

/// What a process left behind.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// How it ended.
    pub end: End,
    /// All it wrote to fd 1.
    pub stdout: String,
    /// All it wrote to fd 2.
    pub stderr: String,
}

/// `text` as a C string; a NUL in a test's own text is a mistake in the test.
fn c_string(text: impl AsRef<OsStr>) -> CString {
    CString::new(text.as_ref().as_bytes()).expect("no NUL in an argument")
}

impl Run {
    /// The program at `path`, with its path as `argv[0]`, an empty environment, an empty stdin and
    /// a time limit of 60 seconds.
    pub fn new(path: impl AsRef<Path>) -> Self {
        let path = c_string(path.as_ref());
        Self {
            arguments: vec![path.clone()],
            path,
            environment: Vec::new(),
            stdin: Vec::new(),
            timeout: Duration::from_secs(60),
            before_exec: Vec::new(),
            supervise: None,
        }
    }

    /// Appends an argument.
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.arguments.push(c_string(argument));
        self
    }

    /// Appends arguments.
    pub fn args(mut self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.arguments.extend(arguments.into_iter().map(c_string));
        self
    }

    /// Replaces the whole of argv, `argv[0]` included.
    pub fn argv(mut self, arguments: Vec<CString>) -> Self {
        self.arguments = arguments;
        self
    }

    /// Appends one environment entry as it stands, `NAME=value`; duplicates are kept.
    pub fn env(mut self, entry: impl AsRef<OsStr>) -> Self {
        self.environment.push(c_string(entry));
        self
    }

    /// What the program reads from fd 0.
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = bytes.into();
        self
    }

    /// The time limit after which the process and its group are killed.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Runs `step` in the child before it executes the program.
    ///
    /// # Safety
    /// `step` runs after fork in a process with threads: it may only make system calls.
    pub unsafe fn before_exec(
        mut self,
        step: impl FnMut() -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        self.before_exec.push(Box::new(step));
        self
    }

    /// Has `supervise` called, in the thread that started the program, with its process id, before
    /// that thread waits for its end. When the time limit passes meanwhile, the program is killed.
    pub fn supervised(
        mut self,
        supervise: impl FnOnce(libc::pid_t) -> io::Result<()> + 'static,
    ) -> Self {
        self.supervise = Some(Box::new(supervise));
        self
    }

    /// Runs the program to its end. Panics when it cannot be started at all.
    pub fn run(self) -> Outcome {
        let path = self.path.clone();
        self.try_run()
            .unwrap_or_else(|error| panic!("{path:?} did not start: {error}"))
    }

    /// Runs the program to its end; the error is that of a step before exec, or of exec.
    pub fn try_run(mut self) -> io::Result<Outcome> {
        let timeout = self.timeout;
        let stdin = self.stdin.clone();
        let supervise = self.supervise.take();
        let mut child = self.command().spawn()?;
        let mut input = child.stdin.take().expect("stdin is a pipe");
        // A program that does not read its input closes the pipe: that is no error of the test.
        let writer = std::thread::spawn(move || drop(input.write_all(&stdin)));
        let stdout = read_all(child.stdout.take().expect("stdout is a pipe"));
        let stderr = read_all(child.stderr.take().expect("stderr is a pipe"));
        if let Some(supervise) = supervise {
            within(timeout, &child, supervise)?;
        }
        let status = wait(&mut child, timeout)?;
        let end = match status {
            None => End::TimedOut,
            Some(status) => match (status.code(), status.signal()) {
                (Some(code), _) => End::Exit(code),
                (None, Some(signal)) => End::Signal(signal),
                (None, None) => return Err(io::Error::other("neither a status nor a signal")),
            },
        };
        writer.join().expect("the writer does not panic");
        Ok(Outcome {
            end,
            stdout: stdout.join().expect("the reader does not panic"),
            stderr: stderr.join().expect("the reader does not panic"),
        })
    }

    /// `Command` keeps neither duplicates nor an empty argv, so the last step before its own exec
    /// is ours.
    fn command(self) -> Command {
        let Self {
            path,
            arguments,
            environment,
            mut before_exec,
            ..
        } = self;
        let mut command = Command::new(OsStr::from_bytes(path.as_bytes()));
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command.process_group(0);
        let step = move || {
            let argv = Pointers::to(&arguments);
            let envp = Pointers::to(&environment);
            for step in &mut before_exec {
                step()?;
            }
            // ETXTBSY: a test copied the program a moment ago, and a child that another test has
            // forked meanwhile still holds the descriptor it was written by, until its own exec.
            for _ in 0..500 {
                // SAFETY: three NUL-terminated arrays that live until the call returns, if it does.
                unsafe { libc::execve(path.as_ptr(), argv.0.as_ptr(), envp.0.as_ptr()) };
                if io::Error::last_os_error().raw_os_error() != Some(libc::ETXTBSY) {
                    break;
                }
                std::thread::sleep(Duration::from_millis(10));
            }
            Err(io::Error::last_os_error())
        };
        // SAFETY: the steps are system calls by the contract of `before_exec`; the two small
        // arrays are allocated by a malloc that glibc makes usable after fork.
        unsafe { command.pre_exec(step) };
        command
    }
}

/// A NULL-terminated array of pointers to C strings.
struct Pointers(Vec<*const libc::c_char>);

impl Pointers {
    fn to(strings: &[CString]) -> Self {
        let null = std::iter::once(std::ptr::null());
        Self(
            strings
                .iter()
                .map(|string| string.as_ptr())
                .chain(null)
                .collect(),
        )
    }
}

/// Supervises the child, and kills its process group when the time is over first.
fn within(timeout: Duration, child: &Child, supervise: Supervise) -> io::Result<()> {
    let pid = child.id().cast_signed();
    let (done, is_done) = std::sync::mpsc::channel::<()>();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            if is_done.recv_timeout(timeout) == Err(RecvTimeoutError::Timeout) {
                // SAFETY: two integers; the group's leader is our child, not yet waited for.
                unsafe { libc::kill(-pid, libc::SIGKILL) };
            }
        });
        let supervised = supervise(pid);
        drop(done);
        supervised
    })
}

/// Waits for the child, or kills its process group when the time is over and answers `None`.
fn wait(child: &mut Child, timeout: Duration) -> io::Result<Option<ExitStatus>> {
    let pid = child.id().cast_signed();
    // SAFETY: two integers; the answer is a new file descriptor or -1.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    let fd = i32::try_from(fd).expect("a file descriptor is an int");
    // SAFETY: the descriptor is new, so nobody else owns it.
    let process = unsafe { OwnedFd::from_raw_fd(fd) };
    let mut poll = libc::pollfd {
        fd: process.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    let milliseconds = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
    // SAFETY: one pollfd, which lives for the call.
    let ready = unsafe { libc::poll(&raw mut poll, 1, milliseconds) };
    // What the program started in its group and left behind would keep the pipes open.
    // SAFETY: two integers; the group's leader is our child, not yet waited for.
    unsafe { libc::kill(-pid, libc::SIGKILL) };
    let status = child.wait()?;
    Ok((ready > 0).then_some(status))
}

/// Reads to the end in a thread, so that no full pipe stops the program.
fn read_all(mut pipe: impl Read + Send + 'static) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes).expect("a pipe can be read");
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

impl Outcome {
    /// Panics, showing all there is, unless the program exited with `status`.
    #[track_caller]
    pub fn exits(self, status: i32) -> Self {
        self.ends(End::Exit(status))
    }

    /// Panics, showing all there is, unless the program was killed by `signal`.
    #[track_caller]
    pub fn dies_of(self, signal: i32) -> Self {
        self.ends(End::Signal(signal))
    }

    #[track_caller]
    fn ends(self, end: End) -> Self {
        assert_eq!(
            self.end, end,
            "stdout:\n{}\nstderr:\n{}",
            self.stdout, self.stderr
        );
        self
    }

    /// The value of the line `name=value` on stdout. Panics when there is none, or two.
    #[track_caller]
    pub fn value(&self, name: &str) -> &str {
        let mut values = self
            .stdout
            .lines()
            .filter_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        match (values.next(), values.next()) {
            (Some(value), None) => value,
            _ => panic!("not one line {name}= in:\n{}", self.stdout),
        }
    }

    /// The number in the line `name=value` on stdout.
    #[track_caller]
    pub fn number(&self, name: &str) -> u64 {
        let value = self.value(name);
        value
            .parse()
            .unwrap_or_else(|_| panic!("{name}={value} is no number"))
    }
}
