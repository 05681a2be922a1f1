// SPDX-License-Identifier: MIT OR Apache-2.0
//! The file systems that programs expect, and the console as standard streams.

use linux_raw_sys::general::{__NR_fcntl, F_GETFD};
use rustix::fs::{CWD, Mode, OFlags, mkdirat};
use rustix::io::Errno;
use rustix::mount::{MountFlags, mount};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};
use vcpu_guest_programs::syscall::syscall;
use vcpu_rt::println;

/// A file system to mount.
struct FileSystem {
    target: &'static str,
    kind: &'static str,
    /// Whether a kernel without it gets a line on the console.
    expected: bool,
}

const fn file_system(target: &'static str, kind: &'static str, expected: bool) -> FileSystem {
    FileSystem {
        target,
        kind,
        expected,
    }
}

const FILE_SYSTEMS: [FileSystem; 6] = [
    file_system("/proc", "proc", true),
    file_system("/sys", "sysfs", true),
    file_system("/dev", "devtmpfs", true),
    file_system("/tmp", "tmpfs", true),
    // In sysfs, which has the directories where the kernel has the file systems.
    file_system("/sys/fs/cgroup", "cgroup2", false),
    file_system("/sys/kernel/debug", "debugfs", false),
];

/// Mounts all of them. What is missing is said here once, and by the programs that need it.
pub fn mount_all() {
    for system in &FILE_SYSTEMS {
        let result = mount_one(system);
        if system.kind == "devtmpfs" {
            open_console();
        }
        if let Err(errno) = result
            && system.expected
        {
            println!("guest: {} is not mounted: {errno:?}", system.target);
        }
    }
}

fn mount_one(system: &FileSystem) -> Result<(), Errno> {
    match mkdirat(CWD, system.target, Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(Errno::EXIST) => {}
        // sysfs takes no directories.
        Err(_) if !system.expected => return Ok(()),
        Err(errno) => return Err(errno),
    }
    let (kind, target) = (system.kind, system.target);
    match mount(kind, target, kind, MountFlags::empty(), None) {
        // The kernel itself may have mounted it.
        Ok(()) | Err(Errno::BUSY) => Ok(()),
        Err(errno) => Err(errno),
    }
}

/// The kernel opens the console before the first process where the initramfs has /dev/console;
/// where it has not, the device exists from now on.
fn open_console() {
    // SAFETY: integers only.
    if unsafe { syscall(__NR_fcntl, [1, F_GETFD as usize]) }.is_ok() {
        return;
    }
    let console = rustix::fs::open("/dev/console", OFlags::RDWR, Mode::empty());
    // Without a console nobody can be told.
    if let Ok(console) = console {
        let _silent = dup2_stdin(&console);
        let _silent = dup2_stdout(&console);
        let _silent = dup2_stderr(&console);
    }
}
