// SPDX-License-Identifier: MIT OR Apache-2.0
//! Commands that take minutes: what they print goes into a log, and a line now and then says how
//! far they are.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};
use std::{fs, thread};

use anyhow::{Context, Result, bail};

/// Between two lines that tell of progress.
pub const INTERVAL: Duration = Duration::from_secs(15);

/// The lines of the log that an error shows.
const TAIL: usize = 15;

/// A log file that long commands append to.
pub struct Log {
    path: PathBuf,
    file: File,
}

impl Log {
    /// Starts an empty log.
    pub fn create(path: &Path) -> Result<Self> {
        let parent = path.parent().context("a log lies in a directory")?;
        fs::create_dir_all(parent)
            .and_then(|()| File::create(path))
            .and_then(|_| OpenOptions::new().append(true).open(path))
            .with_context(|| format!("cannot write {}", path.display()))
            .map(|file| Self {
                path: path.to_path_buf(),
                file,
            })
    }

    /// Runs a command to its end. `what` is told with the progress; an error has the log's tail.
    pub fn run(&mut self, what: &str, command: &mut Command) -> Result<()> {
        let program = command.get_program().to_string_lossy().into_owned();
        writeln!(self.file, "== {what}")?;
        let (reader, writer) = io::pipe()?;
        command
            .stdin(Stdio::null())
            .stdout(writer.try_clone()?)
            .stderr(writer);
        end_with_parent(command, libc::SIGTERM);
        let child = command.spawn();
        // The command holds our ends of the pipe, which would keep it open.
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = child.with_context(|| format!("cannot run {program}"))?;
        let tail = self.follow(what, &lines(reader))?;
        let status = child.wait()?;
        if !status.success() {
            let path = self.path.display();
            bail!("{what}: {program}: {status}; the end of {path}:\n{tail}");
        }
        Ok(())
    }

    /// Copies lines into the log until there are no more, and returns the last ones.
    fn follow(&mut self, what: &str, lines: &Receiver<String>) -> Result<String> {
        let start = Instant::now();
        let mut next = start + INTERVAL;
        let mut count = 0_u64;
        let mut tail = VecDeque::new();
        loop {
            match lines.recv_timeout(next.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    writeln!(self.file, "{line}")?;
                    count += 1;
                    tail.push_back(line);
                    if tail.len() > TAIL {
                        tail.pop_front();
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if Instant::now() >= next {
                next += INTERVAL;
                let seconds = start.elapsed().as_secs();
                let last = tail.back().map_or("", |line| line.trim());
                eprintln!("{what}: {seconds} s, {count} steps, {last}");
            }
        }
        Ok(Vec::from(tail).join("\n"))
    }
}

/// Has the kernel send a signal to the command when the thread that starts it is gone, so that
/// nothing is left behind by a killed parent.
pub fn end_with_parent(command: &mut Command, signal: i32) {
    let step = move || {
        // SAFETY: two integers; the call changes only the calling process.
        match unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, signal) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    };
    // SAFETY: the step is one system call.
    unsafe { command.pre_exec(step) };
}

/// The lines of a pipe, as a thread reads them.
fn lines(pipe: io::PipeReader) -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        for line in BufReader::new(pipe).split(b'\n') {
            let Ok(line) = line else { break };
            if sender
                .send(String::from_utf8_lossy(&line).into_owned())
                .is_err()
            {
                break;
            }
        }
    });
    receiver
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::Log;

    #[test]
    fn an_error_has_the_end_of_the_log() {
        let path = std::env::temp_dir().join(format!("vcpu-rt-log.{}", std::process::id()));
        let mut log = Log::create(&path).unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "seq 100; echo last >&2; exit 3"]);
        let error = log.run("counting", &mut command).unwrap_err().to_string();
        assert!(error.starts_with("counting: sh: exit status: 3"), "{error}");
        assert!(error.ends_with("99\n100\nlast"), "{error}");
        assert!(!error.contains("\n80\n"), "{error}");
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("== counting\n1\n2\n"), "{text}");
        std::fs::remove_file(path).unwrap();
    }
}
