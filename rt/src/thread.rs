// SPDX-License-Identifier: MIT OR Apache-2.0
//! Threads: each is registered with rseq before its code runs, and unregistered before its stack
//! goes. No allocator is used: closure and result live in the thread's own mapping.
//!
//! A panic ends the process, so `join` has no error. Threads that run when `main` returns end
//! with the process.

use core::ffi::CStr;
use core::sync::atomic::Ordering;
use core::time::Duration;

use linux_raw_sys::general::{__NR_prctl, __NR_set_robust_list, __NR_set_tid_address};
use linux_raw_sys::prctl::PR_SET_NAME;
use rustix::io::Errno;
use rustix::thread::futex;
use vcpu_core::arch::syscall;
use vcpu_core::process::{RseqState, found};

use crate::arch::thread::{exit_thread, unmap_and_exit_thread};
use crate::block::{RobustList, ThreadBlock};
use crate::signal::{self, SignalSet};
use crate::stack_overflow;

mod builder;
mod handle;
pub(crate) mod image;
pub(crate) mod mapping;
mod packet;
mod scope;

pub use builder::{Builder, DEFAULT_STACK_BYTES, MINIMUM_STACK_BYTES, SpawnError, spawn};
pub use handle::JoinHandle;
pub use scope::{Scope, ScopedJoinHandle, scope};

/// Who frees a thread's memory: the values of `ThreadBlock::state`.
pub(crate) mod state {
    /// Runs; somebody holds the handle.
    pub const JOINABLE: u32 = 0;
    /// Runs; it frees itself.
    pub const DETACHED: u32 = 1;
    /// Its closure is done; whoever holds the handle frees it.
    pub const FINISHED: u32 = 2;
}

/// The calling thread.
pub struct Thread(&'static ThreadBlock);

/// The calling thread.
///
/// # Panics
/// In a process that the runtime did not start.
pub fn current() -> Thread {
    assert!(started(), "this process was not started by vcpu-rt");
    Thread(ThreadBlock::current())
}

/// Whether the runtime started this process, so that its threads have blocks. A test build of a
/// program is started by std.
fn started() -> bool {
    found().registration.length > 0
}

impl Thread {
    /// The kernel's thread id (gettid(2)).
    pub fn id(&self) -> u32 {
        self.0.thread_id()
    }

    /// The name that the builder gave; `main` for the main thread, else empty.
    pub fn with_name<T>(&self, use_it: impl FnOnce(&str) -> T) -> T {
        let name = self.0.name.get();
        let name = CStr::from_bytes_until_nul(&name).map_or(&[][..], CStr::to_bytes);
        match core::str::from_utf8(name) {
            Ok("") if self.0.mapping.get() == mapping::Mapping::EMPTY => use_it("main"),
            Ok(name) => use_it(name),
            Err(_) => use_it(""),
        }
    }

    /// The head of the thread's robust list (get_robust_list(2)), empty at first. The kernel walks
    /// it when the thread ends, where [`Builder::robust_list`] asked for that, and writes to the
    /// futex words that it finds: whoever links a lock into it vouches for the lock's memory.
    pub fn robust_list(&self) -> *mut RobustList {
        self.0.robust_list()
    }
}

/// Lets another thread run (sched_yield(2)).
pub fn yield_now() {
    rustix::thread::sched_yield();
}

/// Sleeps at least that long, signals or not.
pub fn sleep(duration: Duration) {
    let mut left = rustix::thread::Timespec {
        tv_sec: duration.as_secs().try_into().unwrap_or(i64::MAX),
        tv_nsec: duration.subsec_nanos().into(),
    };
    while let rustix::thread::NanosleepRelativeResult::Interrupted(rest) =
        rustix::thread::nanosleep(&left)
    {
        left = rest;
    }
}

/// Registers the calling thread's rseq area again, after [`unregister`].
///
/// # Errors
/// ENOSYS: rseq is off or was refused at start. EBUSY: it is registered. EPERM: the thread has no
/// block of the runtime, or another thread's; a CLONE_VM child on its parent's block must not
/// register it.
pub fn register() -> Result<(), Errno> {
    if found().rseq != RseqState::Registered {
        return Err(Errno::NOSYS);
    }
    let block = ThreadBlock::if_ours().ok_or(Errno::PERM)?;
    if block.is_registered() {
        return Err(Errno::BUSY);
    }
    if rustix::thread::gettid()
        .as_raw_nonzero()
        .get()
        .cast_unsigned()
        != block.thread_id()
    {
        return Err(Errno::PERM);
    }
    // SAFETY: this thread's own area, mapped until it ends.
    unsafe { found().registration.register(block.rseq()) }
}

/// Unregisters the calling thread's rseq area. Its operations then use the last area.
///
/// # Errors
/// ENOSYS: rseq is off or was refused at start. EINVAL: it is not registered. EPERM: the thread
/// has no block of the runtime, or another thread's.
pub fn unregister() -> Result<(), Errno> {
    if found().rseq != RseqState::Registered {
        return Err(Errno::NOSYS);
    }
    let block = ThreadBlock::if_ours().ok_or(Errno::PERM)?;
    if !block.is_registered() {
        return Err(Errno::INVAL);
    }
    let own = rustix::thread::gettid()
        .as_raw_nonzero()
        .get()
        .cast_unsigned();
    let known = block.tid.load(Ordering::Relaxed);
    if known != 0 && known != own {
        return Err(Errno::PERM);
    }
    let before = signal::block_all();
    // SAFETY: registered by this thread, or the kernel refuses; signals are blocked.
    let result = unsafe { found().registration.unregister(block.rseq()) };
    if result.is_ok() {
        // The kernel's word that the block is this thread's: the main thread's tid was unknown.
        block.tid.store(own, Ordering::Relaxed);
    }
    signal::restore(before);
    result
}

/// Waits until the kernel cleared the thread's tid: it runs no instruction any more.
pub(crate) fn wait_until_gone(block: &ThreadBlock) {
    loop {
        let tid = block.tid.load(Ordering::Acquire);
        if tid == 0 {
            return;
        }
        // Not FUTEX_PRIVATE: the kernel's wake on CLONE_CHILD_CLEARTID is a shared one. EAGAIN
        // and EINTR only mean to look again.
        let _look_again = futex::wait(&block.tid, futex::Flags::empty(), tid, None);
    }
}

/// The first code of every new thread, with all signals blocked.
pub(crate) unsafe extern "C" fn thread_entry(block: usize) -> ! {
    // SAFETY: the builder passes the new block, which %fs points to by now.
    let block = unsafe { &*core::ptr::with_exposed_provenance::<ThreadBlock>(block) };
    if found().rseq == RseqState::Registered {
        // A refusal leaves the thread unregistered: it then uses the last area, locked.
        // SAFETY: the block's own area; it is unregistered before the memory goes.
        let _uses_the_last_area = unsafe { found().registration.register(block.rseq()) };
    }
    if block.wants_robust_list.get() {
        let head = block.robust_list().expose_provenance();
        // SAFETY: the list lives as long as the thread.
        let _no_robust_list =
            unsafe { syscall(__NR_set_robust_list, [head, size_of::<RobustList>(), 0, 0]) };
    }
    let name = block.name.get();
    if name[0] != 0 {
        let arguments = [
            PR_SET_NAME as usize,
            name.as_ptr().expose_provenance(),
            0,
            0,
        ];
        // SAFETY: 16 readable bytes.
        let _no_name = unsafe { syscall(__NR_prctl, arguments) };
    }
    stack_overflow::enter_thread(block);
    signal::restore(SignalSet::from_bits(block.signal_mask.get()));
    if let Some(run) = block.run.get() {
        // SAFETY: the builder set it for this block's packet.
        unsafe { run(block) };
    }
    leave_thread(block)
}

/// The end of every thread that the runtime made.
fn leave_thread(block: &ThreadBlock) -> ! {
    // No handler may run between the kernel's unregistration and the writes that follow it, nor
    // on a stack that is gone.
    signal::block_all();
    stack_overflow::leave_thread(block);
    let unregistered = !block.is_registered()
        // SAFETY: registered by this thread; signals are blocked. Only a seccomp filter that came
        // later refuses it: then the kernel still writes to the area until the thread is gone.
        || unsafe { found().registration.unregister(block.rseq()) }.is_ok();
    if block.state.load(Ordering::Acquire) != state::DETACHED {
        // SAFETY: the holder of the handle waits for the tid before it touches the memory.
        unsafe { exit_thread() }
    }
    // Nobody will wait for this thread: its memory goes to the cache, guarded by the tid until
    // the kernel clears it, or it unmaps itself.
    // SAFETY: detached and finished, so the block is this thread's alone.
    if unsafe { mapping::cache::put(block.into()) }.is_ok() {
        // SAFETY: as above.
        unsafe { exit_thread() }
    }
    // SAFETY: the kernel forgets two addresses inside the mapping.
    let forgotten = unregistered
        && unsafe { syscall(__NR_set_tid_address, [0; 4]) }.is_ok()
        && (!block.wants_robust_list.get()
            || unsafe { syscall(__NR_set_robust_list, [0, size_of::<RobustList>(), 0, 0]) }
                .is_ok());
    if !forgotten {
        // A filter refused: the kernel will write to the mapping, which is lost, not wrong.
        // SAFETY: as above.
        unsafe { exit_thread() }
    }
    let (base, bytes) = block.mapping.get().parts();
    // SAFETY: signals are blocked, rseq is unregistered, tid and robust list are forgotten.
    unsafe { unmap_and_exit_thread(base, bytes) }
}
