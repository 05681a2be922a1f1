// SPDX-License-Identifier: MIT OR Apache-2.0
//! The virtual machine: QEMU, always emulating, with a serial console and a watchdog.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Args;

use super::long::end_with_parent;
use super::tools;

/// What the machine is like. The defaults are those of the command line.
#[derive(Args, Clone, Debug)]
pub struct Machine {
    /// Processors
    #[arg(long, value_name = "N", default_value_t = 4)]
    pub smp: u32,
    /// Memory in MiB
    #[arg(long, value_name = "MIB", default_value_t = 512)]
    pub memory: u32,
    /// QEMU's processor model, as in max,-fsgsbase
    #[arg(long, default_value = "max")]
    pub cpu: String,
    /// Preemption model: full, lazy, none, voluntary (each kernel has some of them)
    #[arg(long)]
    pub preempt: Option<String>,
    /// Further words of the kernel's command line
    #[arg(long, value_name = "WORDS", allow_hyphen_values = true)]
    pub append: Vec<String>,
    /// One more argument of QEMU; may be given again
    #[arg(long, value_name = "ARGUMENT", allow_hyphen_values = true)]
    pub qemu: Vec<String>,
    /// Emulate the processors in turn, by one thread
    #[arg(long)]
    pub in_turn: bool,
    /// One nanosecond of the guest's time for each instruction, on one processor
    #[arg(long)]
    pub icount: bool,
    /// Seconds after which the machine is killed
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    pub timeout: u64,
    /// Seconds without output after which the machine is killed
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    pub silence: u64,
}

/// How a run ended.
#[derive(Debug, PartialEq, Eq)]
pub enum End {
    /// The guest powered off or asked for a reboot.
    Off,
    /// QEMU itself failed.
    Failed(ExitStatus),
    /// The watchdog killed it; the text says which limit had passed.
    Killed(String),
}

/// The parameters that every boot has: an oops is a panic, as is a report of KASAN, after which it and
/// lockdep are off; a panic ends QEMU (by -no-reboot); the console shows warnings and what is worse;
/// and the timer is not tested by counting its interrupts over a few milliseconds, in which a busy host
/// may give the machine no time at all.
const APPEND: &str =
    "console=ttyS0 oops=panic kasan.fault=panic panic=-1 loglevel=5 no_timer_check";

/// For the same reason the TSC's frequency cannot be measured, so time is taken from the HPET. Where
/// time is counted in instructions, the host does not matter.
const UNCOUNTED: &str = "tsc=unstable";

impl Machine {
    /// Boots a kernel, hands over the console as it comes (without carriage returns), and returns
    /// when QEMU has ended. QEMU does not outlive the thread that calls this.
    pub fn run(
        &self,
        image: &Path,
        initramfs: &[u8],
        mut console: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<End> {
        tools::ensure_boot()?;
        let archive = in_memory(initramfs)?;
        let mut command = Command::new(tools::QEMU.0);
        command
            .args(self.arguments(image))
            .arg("-initrd")
            .arg(format!("/dev/fd/{}", archive.as_raw_fd()))
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        end_with_parent(&mut command, libc::SIGKILL);
        let mut child = command.spawn().context("cannot run QEMU")?;
        let output = chunks(child.stdout.take().expect("stdout is a pipe"));
        let followed = self.follow(&output, &mut console);
        // Whatever came of it, QEMU ends here.
        if !matches!(followed, Ok(None)) {
            child.kill()?;
        }
        let status = wait(&mut child)?;
        Ok(match followed? {
            Some(limit) => End::Killed(limit),
            None if status.success() => End::Off,
            None => End::Failed(status),
        })
    }

    fn arguments(&self, image: &Path) -> Vec<String> {
        let accelerator = if self.icount || self.in_turn {
            "single"
        } else {
            "multi"
        };
        let mut arguments: Vec<String> = [
            "-nodefaults",
            "-no-reboot",
            "-display",
            "none",
            "-serial",
            "stdio",
        ]
        .map(str::to_owned)
        .to_vec();
        let mut pair = |name: &str, value: String| {
            arguments.extend([name.to_owned(), value]);
        };
        pair("-accel", format!("tcg,thread={accelerator}"));
        if self.icount {
            pair("-icount", "shift=0,sleep=off".into());
        }
        pair("-cpu", self.cpu.clone());
        pair("-smp", self.smp.to_string());
        pair("-m", self.memory.to_string());
        pair("-kernel", image.display().to_string());
        let preempt = self.preempt.iter().map(|model| format!("preempt={model}"));
        let clock = (!self.icount).then(|| UNCOUNTED.to_owned());
        let words = [APPEND.to_owned()].into_iter().chain(clock).chain(preempt);
        let words: Vec<_> = words.chain(self.append.iter().cloned()).collect();
        pair("-append", words.join(" "));
        arguments.extend(self.qemu.iter().cloned());
        arguments
    }

    /// Hands on what comes until there is no more, or a limit has passed, which is returned.
    fn follow(
        &self,
        output: &Receiver<Vec<u8>>,
        console: &mut impl FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<Option<String>> {
        let end = Instant::now() + Duration::from_secs(self.timeout);
        let silence = Duration::from_secs(self.silence);
        loop {
            let left = end.saturating_duration_since(Instant::now());
            match output.recv_timeout(left.min(silence)) {
                Ok(mut bytes) => {
                    bytes.retain(|&byte| byte != b'\r');
                    console(&bytes).context("cannot show the console")?;
                    if !left.is_zero() {
                        continue;
                    }
                }
                Err(RecvTimeoutError::Disconnected) => return Ok(None),
                Err(RecvTimeoutError::Timeout) => {}
            }
            return Ok(Some(if left <= silence {
                format!("it ran longer than {} s", self.timeout)
            } else {
                format!("its console was silent for {} s", self.silence)
            }));
        }
    }
}

/// A file in memory that a child can open as /dev/fd/N: nothing to remove afterwards.
fn in_memory(bytes: &[u8]) -> Result<File> {
    // SAFETY: a C string and flags; the answer is a new file descriptor or -1. Without
    // MFD_CLOEXEC, so that the child has it.
    let fd = unsafe { libc::memfd_create(c"initramfs".as_ptr(), 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error()).context("memfd_create");
    }
    // SAFETY: the descriptor is new, so nobody else owns it.
    let mut file = File::from(unsafe { OwnedFd::from_raw_fd(fd) });
    file.write_all(bytes).context("the initramfs")?;
    Ok(file)
}

/// What a pipe gives, as a thread reads it.
fn chunks(mut pipe: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        let mut buffer = vec![0; 1 << 16];
        while let Ok(length @ 1..) = pipe.read(&mut buffer) {
            if sender.send(buffer[..length].to_vec()).is_err() {
                break;
            }
        }
    });
    receiver
}

/// Waits for QEMU, which has closed its output or was killed, so it ends at once.
fn wait(child: &mut Child) -> Result<ExitStatus> {
    child.wait().context("waiting for QEMU")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use clap::Parser;

    use super::Machine;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        machine: Machine,
    }

    fn arguments(line: &[&str]) -> String {
        let line = Line::parse_from([&["qemu"], line].concat());
        line.machine.arguments(Path::new("/image")).join(" ")
    }

    #[test]
    fn the_command_line_of_qemu() {
        assert_eq!(
            arguments(&[
                "--smp",
                "2",
                "--preempt",
                "lazy",
                "--append",
                "nofsgsbase a=b"
            ]),
            "-nodefaults -no-reboot -display none -serial stdio -accel tcg,thread=multi -cpu max \
             -smp 2 -m 512 -kernel /image -append console=ttyS0 oops=panic kasan.fault=panic \
             panic=-1 loglevel=5 no_timer_check tsc=unstable preempt=lazy nofsgsbase a=b"
        );
        let in_turn = arguments(&["--in-turn"]);
        assert!(
            in_turn.contains("-accel tcg,thread=single -cpu"),
            "{in_turn}"
        );
        let counted = arguments(&["--icount", "--smp=1", "--cpu=max,-fsgsbase", "--qemu=-s"]);
        assert!(
            counted
                .contains("-accel tcg,thread=single -icount shift=0,sleep=off -cpu max,-fsgsbase"),
            "{counted}"
        );
        assert!(counted.ends_with(" -s"), "{counted}");
    }
}
