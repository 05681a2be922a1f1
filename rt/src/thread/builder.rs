// SPDX-License-Identifier: MIT OR Apache-2.0
//! Making a thread.

use core::fmt;
use core::ptr::NonNull;
use core::sync::atomic::Ordering;

use linux_raw_sys::general::{
    CLONE_CHILD_CLEARTID, CLONE_FILES, CLONE_FS, CLONE_PARENT_SETTID, CLONE_SETTLS, CLONE_SIGHAND,
    CLONE_SYSVSEM, CLONE_THREAD, CLONE_VM,
};
use rustix::io::Errno;

use super::handle::JoinHandle;
use super::mapping;
use super::packet::Packet;
use super::scope::Running;
use crate::arch::thread::clone;
use crate::block::ThreadBlock;
use crate::signal;

/// Bytes of stack when nothing else is asked for. Address space: a page costs memory once it is
/// touched.
pub const DEFAULT_STACK_BYTES: usize = 2 << 20;
/// The least stack, bytes: a signal frame with AVX-512 state takes about 3.5 KiB of it.
pub const MINIMUM_STACK_BYTES: usize = 16 << 10;

/// What a new thread is to be like.
#[derive(Clone, Copy, Debug)]
pub struct Builder {
    stack_bytes: usize,
    name: [u8; 16],
    robust_list: bool,
}

/// Why there is no new thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpawnError {
    /// mmap(2) or mprotect(2) refused the memory for stack, thread-local storage and closure.
    Memory {
        /// The stack that was asked for, bytes.
        stack_bytes: usize,
        /// ENOMEM: RLIMIT_AS, overcommit, or the limit of mappings.
        errno: Errno,
    },
    /// clone(2) refused the thread. EAGAIN: RLIMIT_NPROC, the pids cgroup or threads-max.
    Clone(Errno),
    /// The process was not started by the runtime: a test build is started by std.
    NotStarted,
}

impl SpawnError {
    /// The kernel's error.
    pub fn errno(&self) -> Errno {
        match *self {
            Self::Memory { errno, .. } | Self::Clone(errno) => errno,
            Self::NotStarted => Errno::NOSYS,
        }
    }
}

impl fmt::Display for SpawnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory { stack_bytes, errno } => write!(
                f,
                "cannot start a thread: no memory for a stack of {stack_bytes} bytes ({})",
                ErrnoText(*errno)
            ),
            Self::Clone(errno) => {
                write!(
                    f,
                    "cannot start a thread: clone was refused ({})",
                    ErrnoText(*errno)
                )
            }
            Self::NotStarted => {
                f.write_str("cannot start a thread: this process was not started by vcpu-rt")
            }
        }
    }
}

impl core::error::Error for SpawnError {}

/// The errors that people meet here, with what to look at.
struct ErrnoText(Errno);

impl fmt::Display for ErrnoText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Errno::AGAIN => f.write_str("EAGAIN: see ulimit -u, the pids cgroup, threads-max"),
            Errno::NOMEM => f.write_str("ENOMEM: see ulimit -v, overcommit, max_map_count"),
            Errno::PERM => f.write_str("EPERM: a seccomp filter"),
            errno => write!(f, "errno {}", errno.raw_os_error()),
        }
    }
}

impl Default for Builder {
    fn default() -> Self {
        Self::new()
    }
}

impl Builder {
    /// A thread with the default stack, no name and no robust list.
    pub const fn new() -> Self {
        Self {
            stack_bytes: DEFAULT_STACK_BYTES,
            name: [0; 16],
            robust_list: false,
        }
    }

    /// Names the thread, as `/proc/PID/task/TID/comm` shows it: the characters that fit 15 bytes, up to a
    /// zero.
    #[must_use]
    pub fn name(mut self, name: &str) -> Self {
        self.name = [0; 16];
        let mut length = 0;
        for character in name.chars().take_while(|character| *character != '\0') {
            let end = length + character.len_utf8();
            match self.name.get_mut(length..end) {
                // The last byte stays zero.
                Some(place) if end < 16 => character.encode_utf8(place),
                _ => break,
            };
            length = end;
        }
        self
    }

    /// The stack's size in bytes, which must also hold the closure and its result: they pass over
    /// it on their way to and from their place in the thread's mapping. Raised to [`MINIMUM_STACK_BYTES`] and rounded up to pages.
    #[must_use]
    pub const fn stack_size(mut self, bytes: usize) -> Self {
        self.stack_bytes = bytes;
        self
    }

    /// Whether the kernel walks the thread's robust list when it dies (set_robust_list(2)): for
    /// robust futexes only, at the price of a system call.
    #[must_use]
    pub const fn robust_list(mut self, wanted: bool) -> Self {
        self.robust_list = wanted;
        self
    }

    /// Starts a thread that runs `closure`.
    ///
    /// # Errors
    /// See [`SpawnError`]. The closure is dropped then.
    pub fn spawn<F, T>(self, closure: F) -> Result<JoinHandle<T>, SpawnError>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        // SAFETY: what the closure and its result borrow lives for ever.
        unsafe { self.spawn_borrowing(closure, None) }
    }

    /// # Safety
    /// The thread ends, or its result is taken, before anything that closure and result borrow.
    /// The scope, if any, waits for the thread.
    pub(super) unsafe fn spawn_borrowing<F, T>(
        self,
        closure: F,
        scope: Option<*const Running>,
    ) -> Result<JoinHandle<T>, SpawnError>
    where
        F: FnOnce() -> T + Send,
        T: Send,
    {
        if !super::started() {
            return Err(SpawnError::NotStarted);
        }
        // While there is one thread it costs half a microsecond, later milliseconds.
        vcpu_core::fence::prepare();
        let stack_bytes = self.stack_bytes.max(MINIMUM_STACK_BYTES);
        let memory = mapping::obtain(
            stack_bytes,
            size_of::<Packet<F, T>>(),
            align_of::<Packet<F, T>>(),
            ThreadBlock::current().canary(),
        )
        .map_err(|errno| SpawnError::Memory { stack_bytes, errno })?;
        let packet = core::ptr::with_exposed_provenance_mut::<Packet<F, T>>(memory.packet);
        // SAFETY: `obtain` gave room for it, aligned, and nobody else knows the memory yet.
        let block = unsafe {
            packet.write(Packet::new(closure, scope));
            memory.block.as_ref()
        };
        block.packet.set(packet.cast());
        block.run.set(Some(Packet::<F, T>::run));
        block.name.set(self.name);
        block.wants_robust_list.set(self.robust_list);
        match start(memory.block, memory.packet) {
            // SAFETY: the block is a joinable thread's; the packet begins with the result.
            Ok(()) => Ok(unsafe { JoinHandle::new(memory.block, packet.cast()) }),
            Err(errno) => {
                // SAFETY: no thread was made, so block and packet are still this call's alone.
                unsafe {
                    drop(packet.read().into_closure());
                    block.tid.store(0, Ordering::Relaxed);
                    mapping::give_back(memory.block);
                }
                Err(SpawnError::Clone(errno))
            }
        }
    }
}

/// The clone itself, with signals blocked, so that the new thread runs no handler before it is
/// registered.
fn start(block: NonNull<ThreadBlock>, stack: usize) -> Result<(), Errno> {
    const FLAGS: u32 = CLONE_VM
        | CLONE_FS
        | CLONE_FILES
        | CLONE_SIGHAND
        | CLONE_THREAD
        | CLONE_SYSVSEM
        | CLONE_SETTLS
        | CLONE_PARENT_SETTID
        | CLONE_CHILD_CLEARTID;
    let pointer = block.as_ptr().expose_provenance();
    // SAFETY: a fresh block, valid until the thread is joined or frees itself.
    let block = unsafe { block.as_ref() };
    let tid = block.tid.as_ptr();
    let before = signal::block_all();
    block.signal_mask.set(before.bits());
    // SAFETY: the stack ends at the packet, inside the new mapping, which outlives the thread.
    // The kernel writes the tid before the thread runs and clears it after its last instruction.
    let result = unsafe {
        clone(
            u64::from(FLAGS),
            stack,
            tid,
            tid,
            pointer,
            super::thread_entry,
            pointer,
        )
    };
    signal::restore(before);
    result.map(|_| ())
}

/// Starts a thread with the default [`Builder`].
///
/// # Errors
/// See [`SpawnError`].
pub fn spawn<F, T>(closure: F) -> Result<JoinHandle<T>, SpawnError>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    Builder::new().spawn(closure)
}
