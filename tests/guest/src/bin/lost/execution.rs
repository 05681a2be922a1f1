// SPDX-License-Identifier: MIT OR Apache-2.0
//! Executions that come back: inside the kernel the thread gives up its mm_cid, may move to another
//! CPU, and gets one again.

use core::ffi::CStr;
use core::sync::atomic::{AtomicU64, Ordering};

use linux_raw_sys::general::{__NR_execve, __NR_execveat, AT_FDCWD};
use rustix::io::Errno;
use vcpu_guest_programs::machine::kernel_version;
use vcpu_guest_programs::syscall::syscall;
use vcpu_guest_programs::{check_eq, file};
use vcpu_rt::println;

/// `AT_EXECVE_CHECK` (`include/uapi/linux/fcntl.h`, Linux 6.14): only ask whether it would be run.
const AT_EXECVE_CHECK: usize = 0x10000;

/// A kind of execution that does not replace the program.
struct Kind {
    name: &'static str,
    path: &'static CStr,
    flags: usize,
    answer: Result<usize, Errno>,
    done: AtomicU64,
}

static KINDS: [Kind; 3] = [
    Kind {
        name: "format",
        path: c"/tmp/format",
        flags: 0,
        answer: Err(Errno::NOEXEC),
        done: AtomicU64::new(0),
    },
    Kind {
        name: "interpreter",
        path: c"/tmp/interpreter",
        flags: 0,
        answer: Err(Errno::NOENT),
        done: AtomicU64::new(0),
    },
    Kind {
        name: "check",
        path: c"/proc/self/exe",
        flags: AT_EXECVE_CHECK,
        answer: Ok(0),
        done: AtomicU64::new(0),
    },
];

/// The kinds that were asked for.
pub struct Executions {
    kinds: [Option<&'static Kind>; KINDS.len()],
    count: usize,
    next: AtomicU64,
}

impl Executions {
    /// Makes the files. A kernel without AT_EXECVE_CHECK leaves that kind out, and says so.
    pub fn prepare(wanted: impl Fn(&str) -> bool) -> Self {
        let created = file::create_executable("/tmp/format", b"no format\n");
        check_eq!(created, Ok(()), "writing /tmp/format");
        let created = file::create_executable("/tmp/interpreter", b"#!/nonexistent\n");
        check_eq!(created, Ok(()), "writing /tmp/interpreter");
        let mut kinds = [None; KINDS.len()];
        let mut count = 0;
        for kind in KINDS.iter().filter(|kind| wanted(kind.name)) {
            if kind.flags != 0 && kernel_version() < (6, 14) {
                check_eq!(
                    kind.call(),
                    Err(Errno::INVAL),
                    "execveat by flag {:#x}",
                    kind.flags
                );
                println!("this kernel has no AT_EXECVE_CHECK");
                continue;
            }
            kinds[count] = Some(kind);
            count += 1;
        }
        Self {
            kinds,
            count,
            next: AtomicU64::new(0),
        }
    }

    /// Executes, each kind in its turn.
    pub fn fail_next(&self) {
        assert!(self.count > 0, "executions of no kind were asked for");
        let turn = self.next.fetch_add(1, Ordering::Relaxed) as usize;
        if let Some(kind) = self.kinds[turn % self.count] {
            check_eq!(kind.call(), kind.answer, "execveat, {}", kind.name);
            kind.done.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Tells how many there were.
    pub fn report(&self) {
        for kind in self.kinds.iter().flatten() {
            let done = kind.done.load(Ordering::Relaxed);
            println!("executions, {}: {done}", kind.name);
        }
    }
}

impl Kind {
    fn call(&self) -> Result<usize, Errno> {
        let path = self.path.as_ptr().expose_provenance();
        let words = [path, 0];
        let arguments = words.as_ptr().expose_provenance();
        let environment = words[1..].as_ptr().expose_provenance();
        let directory = AT_FDCWD as isize as usize;
        // SAFETY: strings and vectors that end. It does not succeed, or only asks.
        unsafe {
            if self.flags == 0 {
                syscall(__NR_execve, [path, arguments, environment])
            } else {
                syscall(
                    __NR_execveat,
                    [directory, path, arguments, environment, self.flags],
                )
            }
        }
    }
}
