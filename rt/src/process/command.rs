// SPDX-License-Identifier: MIT OR Apache-2.0
//! Starting another program.
//!
//! The child shares this process's memory until it execs (CLONE_VM | CLONE_VFORK), so it must not
//! run on its parent's thread block: it would read the parent's stale ids, and on a v2 kernel a
//! registration of that block would kill the parent. It gets a stack and a block of its own,
//! unregistered.

use core::ffi::{CStr, c_char};
use core::sync::atomic::{AtomicI32, Ordering};

use linux_raw_sys::general::{
    __NR_dup3, __NR_execve, __NR_fcntl, __NR_wait4, CLONE_SETTLS, CLONE_VFORK, CLONE_VM,
    F_DUPFD_CLOEXEC, F_SETFD, SIGCHLD,
};
use rustix::fd::{AsRawFd, BorrowedFd};
use rustix::io::Errno;
use vcpu_core::arch::syscall;

use super::exit_group;
use crate::arch::thread::clone;
use crate::block::ThreadBlock;
use crate::signal::{self, SignalSet};
use crate::thread::mapping;

/// Stack of the child until it execs, bytes.
const STACK_BYTES: usize = 64 << 10;

/// A program to start: path, arguments, environment and standard streams.
pub struct Command<'a> {
    path: &'a CStr,
    arguments: *const *const c_char,
    environment: *const *const c_char,
    streams: [Option<BorrowedFd<'a>>; 3],
}

impl<'a> Command<'a> {
    /// The program at `path`, which is not searched for in PATH. `arguments` and `environment`
    /// are as execve(2) takes them: pointers to strings, then a null pointer; the first argument
    /// is by custom the path.
    ///
    /// # Errors
    /// EINVAL: a vector does not end with a null pointer.
    ///
    /// # Safety
    /// Every other pointer is to a zero-terminated string that lives as long as `'a`.
    pub unsafe fn new(
        path: &'a CStr,
        arguments: &'a [*const c_char],
        environment: &'a [*const c_char],
    ) -> Result<Self, Errno> {
        let terminated = |vector: &[*const c_char]| vector.last().is_some_and(|end| end.is_null());
        if !terminated(arguments) || !terminated(environment) {
            return Err(Errno::INVAL);
        }
        Ok(Self {
            path,
            arguments: arguments.as_ptr(),
            environment: environment.as_ptr(),
            streams: [None; 3],
        })
    }

    /// Uses the environment that this process was started with instead.
    #[must_use]
    pub fn inherit_environment(mut self) -> Self {
        self.environment = crate::env::environ();
        self
    }

    /// Makes `descriptor` the program's standard input (0), output (1) or error (2); other numbers
    /// are ignored.
    #[must_use]
    pub fn stream(mut self, number: usize, descriptor: BorrowedFd<'a>) -> Self {
        if let Some(stream) = self.streams.get_mut(number) {
            *stream = Some(descriptor);
        }
        self
    }

    /// Starts the program. Signals that have a handler here have their default there; the signal
    /// mask is the caller's.
    ///
    /// # Errors
    /// ENOMEM and EAGAIN: no child. Otherwise what dup3(2) or execve(2) answered in the child,
    /// which is gone then.
    pub fn spawn(&self) -> Result<Child, Errno> {
        const FLAGS: u32 = CLONE_VM | CLONE_VFORK | CLONE_SETTLS | SIGCHLD;
        let parent = ThreadBlock::current();
        let memory = mapping::obtain(STACK_BYTES, 0, 16, parent.canary())?;
        let pointer = memory.block.as_ptr().expose_provenance();
        let before = signal::block_all();
        let errand = Errand {
            command: self,
            signal_mask: before,
            errno: AtomicI32::new(0),
        };
        // SAFETY: stack and block are fresh; CLONE_VFORK suspends this thread until the child is
        // gone from this memory, so the errand outlives its use, and the memory is free again.
        let result = unsafe {
            clone(
                u64::from(FLAGS),
                memory.packet,
                core::ptr::null_mut(),
                core::ptr::null_mut(),
                pointer,
                child_entry,
                (&raw const errand).expose_provenance(),
            )
        };
        signal::restore(before);
        // SAFETY: the child left. Its tid was never set, so the memory counts as free.
        unsafe { mapping::give_back(memory.block) };
        let child = Child { process: result? };
        match errand.errno.load(Ordering::Relaxed) {
            0 => Ok(child),
            errno => {
                let _the_child_is_gone = child.wait();
                Err(Errno::from_raw_os_error(errno))
            }
        }
    }
}

/// What parent and child share while the parent waits.
struct Errand<'a> {
    command: &'a Command<'a>,
    signal_mask: SignalSet,
    errno: AtomicI32,
}

/// The child, with all signals blocked, on its own stack and block.
unsafe extern "C" fn child_entry(errand: usize) -> ! {
    // SAFETY: the parent passes its errand and waits.
    let errand = unsafe { &*core::ptr::with_exposed_provenance::<Errand<'_>>(errand) };
    // SAFETY: this is the child.
    let errno = unsafe { become_program(errand) };
    errand.errno.store(errno.raw_os_error(), Ordering::Relaxed);
    exit_group(127)
}

/// Returns only when something was refused.
///
/// # Safety
/// Called in the child.
unsafe fn become_program(errand: &Errand<'_>) -> Errno {
    // A handler of the parent's would run in the parent's memory.
    signal::reset_handlers();
    let command = errand.command;
    if let Err(errno) = arrange_streams(&command.streams) {
        return errno;
    }
    signal::restore(errand.signal_mask);
    let path = command.path.as_ptr().expose_provenance();
    let arguments = command.arguments.expose_provenance();
    let environment = command.environment.expose_provenance();
    // SAFETY: terminated vectors of strings, by `new`; a success does not return.
    match unsafe { syscall(__NR_execve, [path, arguments, environment, 0]) } {
        Ok(_) => Errno::NOEXEC,
        Err(errno) => errno,
    }
}

/// Makes the descriptors the standard ones.
fn arrange_streams(streams: &[Option<BorrowedFd<'_>>; 3]) -> Result<(), Errno> {
    // First what lies below 3 elsewhere than it shall goes out of the way: it would be replaced
    // before it is copied.
    let mut sources = [None; 3];
    for (number, (source, stream)) in sources.iter_mut().zip(streams).enumerate() {
        let Some(stream) = stream else { continue };
        let from = stream.as_raw_fd() as usize;
        let moved = from < 3 && from != number;
        *source = Some(if moved {
            // SAFETY: the child's own table of descriptors.
            unsafe { syscall(__NR_fcntl, [from, F_DUPFD_CLOEXEC as usize, 3, 0])? }
        } else {
            from
        });
    }
    for (number, source) in sources.iter().enumerate() {
        let Some(from) = *source else { continue };
        // dup3 refuses equal numbers; then only FD_CLOEXEC is in the way.
        // SAFETY: as above.
        unsafe {
            if from == number {
                syscall(__NR_fcntl, [from, F_SETFD as usize, 0, 0])?;
            } else {
                syscall(__NR_dup3, [from, number, 0, 0])?;
            }
        }
    }
    Ok(())
}

/// A started program.
#[derive(Debug)]
pub struct Child {
    process: u32,
}

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitStatus {
    /// It exited with this status.
    Exited(u8),
    /// This signal killed it.
    Signaled(u8),
}

impl Child {
    /// The process id.
    pub fn id(&self) -> u32 {
        self.process
    }

    /// Waits for its end (wait4(2)).
    ///
    /// # Errors
    /// ECHILD: SIGCHLD is ignored, or somebody else waited for it.
    pub fn wait(self) -> Result<ExitStatus, Errno> {
        let mut status = 0_i32;
        loop {
            let place = (&raw mut status).expose_provenance();
            // SAFETY: the kernel writes 4 bytes to `status`.
            match unsafe { syscall(__NR_wait4, [self.process as usize, place, 0, 0]) } {
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno),
                // wait(2): the low 7 bits are the signal, the next byte the exit status.
                Ok(_) if status & 0x7f == 0 => return Ok(ExitStatus::Exited((status >> 8) as u8)),
                Ok(_) => return Ok(ExitStatus::Signaled((status & 0x7f) as u8)),
            }
        }
    }
}
