// SPDX-License-Identifier: MIT OR Apache-2.0
//! The end of the process, and other processes.

use core::cell::UnsafeCell;
use core::ptr;
use core::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

use linux_raw_sys::general::{__NR_exit_group, __NR_fork, __NR_tgkill, SIGABRT};
use rustix::io::Errno;
use vcpu_core::arch::syscall;

use crate::block::ThreadBlock;
use crate::env;
use crate::signal::{self, Action, SignalSet};
use crate::start::InitFunction;
use crate::thread::mapping::cache;

mod command;

pub use command::{Child, Command, ExitStatus};

/// What `main` may return.
pub trait Termination {
    /// The exit status: its lowest 8 bits reach the parent.
    fn report(self) -> i32;
}

impl Termination for () {
    fn report(self) -> i32 {
        0
    }
}

impl Termination for i32 {
    fn report(self) -> i32 {
        self
    }
}

/// Functions that [`at_exit`] keeps.
pub const AT_EXIT_CAPACITY: usize = 32;

/// [`at_exit`] has no room left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AtExitFull;

impl core::fmt::Display for AtExitFull {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(
            f,
            "at_exit keeps {AT_EXIT_CAPACITY} functions, and there are as many already"
        )
    }
}

impl core::error::Error for AtExitFull {}

static AT_EXIT: [AtomicPtr<()>; AT_EXIT_CAPACITY] =
    [const { AtomicPtr::new(ptr::null_mut()) }; AT_EXIT_CAPACITY];
static AT_EXIT_COUNT: AtomicUsize = AtomicUsize::new(0);

/// Has `function` called by [`exit`], the last one first, as atexit(3).
///
/// # Errors
/// [`AtExitFull`] when there are [`AT_EXIT_CAPACITY`] already.
pub fn at_exit(function: fn()) -> Result<(), AtExitFull> {
    let add = |count: usize| (count < AT_EXIT_CAPACITY).then_some(count + 1);
    let index = AT_EXIT_COUNT
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, add)
        .map_err(|_| AtExitFull)?;
    let slot = AT_EXIT.get(index).ok_or(AtExitFull)?;
    slot.store(function as *mut (), Ordering::Release);
    Ok(())
}

fn run_at_exit() {
    let remove = |count: usize| count.checked_sub(1);
    // One by one: a function may add another, or call `exit` again.
    while let Ok(count) = AT_EXIT_COUNT.fetch_update(Ordering::Relaxed, Ordering::Relaxed, remove) {
        let Some(slot) = AT_EXIT.get(count - 1) else {
            continue;
        };
        let function = slot.swap(ptr::null_mut(), Ordering::Acquire);
        // A slot can be taken and still empty while another thread is inside `at_exit`.
        if !function.is_null() {
            // SAFETY: `at_exit` stored a `fn()`, and only such.
            let function: fn() = unsafe { core::mem::transmute(function) };
            function();
        }
    }
}

struct ArraysCell(UnsafeCell<[*const InitFunction; 6]>);

// SAFETY: written once, at start, while the process has one thread.
unsafe impl Sync for ArraysCell {}

static ARRAYS: ArraysCell = ArraysCell(UnsafeCell::new([ptr::null(); 6]));

pub(crate) fn start(arrays: [*const InitFunction; 6]) {
    // SAFETY: called once, by the start, with one thread.
    unsafe { *ARRAYS.0.get() = arrays };
}

fn arrays() -> [*const InitFunction; 6] {
    // SAFETY: after the start it is only read.
    unsafe { *ARRAYS.0.get() }
}

/// The functions from `start` to `end`, as addresses.
fn count(start: *const InitFunction, end: *const InitFunction) -> usize {
    end.addr().saturating_sub(start.addr()) / size_of::<InitFunction>()
}

/// Runs the preinit array and the init array, in order, each function with argc, argv and envp.
///
/// # Safety
/// Once, after everything else of the start.
#[inline(always)]
pub(crate) unsafe fn run_init_arrays() {
    let [preinit, preinit_end, init, init_end, ..] = arrays();
    for (start, end) in [(preinit, preinit_end), (init, init_end)] {
        for index in 0..count(start, end) {
            // SAFETY: the linker's array between its own bounds.
            unsafe { (*start.add(index))(env::args_len() as i32, env::argv(), env::environ()) };
        }
    }
}

/// Runs the fini array, in reverse, once.
fn run_fini_array() {
    let [.., fini, fini_end] = arrays();
    static LEFT: AtomicUsize = AtomicUsize::new(usize::MAX);
    let _set_by_the_first_call = LEFT.compare_exchange(
        usize::MAX,
        count(fini, fini_end),
        Ordering::Relaxed,
        Ordering::Relaxed,
    );
    let remove = |left: usize| left.checked_sub(1);
    while let Ok(left) = LEFT.fetch_update(Ordering::Relaxed, Ordering::Relaxed, remove) {
        // SAFETY: the linker's array between its own bounds. Its functions take no arguments;
        // on x86-64 they do not see those that are passed.
        unsafe { (*fini.add(left - 1))(0, ptr::null(), ptr::null()) };
    }
}

/// The block of the thread that called [`exit`] first; 0 before.
static EXITING: AtomicUsize = AtomicUsize::new(0);

/// Ends the process: the functions of [`at_exit`] in reverse, the fini array in reverse, then
/// exit_group(2). Other threads run until then. A second thread that calls it waits for the end.
pub fn exit(status: i32) -> ! {
    let own = core::ptr::from_ref(ThreadBlock::current()).addr();
    let (success, failure) = (Ordering::Acquire, Ordering::Relaxed);
    if let Err(other) = EXITING.compare_exchange(0, own, success, failure)
        && other != own
    {
        loop {
            crate::thread::sleep(core::time::Duration::from_secs(3600));
        }
    }
    run_at_exit();
    run_fini_array();
    exit_group(status)
}

/// Ends the process at once: nothing more of the program runs.
pub fn exit_group(status: i32) -> ! {
    loop {
        // SAFETY: does not return.
        let _never = unsafe { syscall(__NR_exit_group, [status as usize, 0, 0, 0]) };
    }
}

/// Ends the process by SIGABRT, whatever the program did to that signal.
pub fn abort() -> ! {
    signal::block_all();
    // SAFETY: the default action runs no code of the program.
    let _cannot_fail =
        unsafe { signal::set_action(SIGABRT, Action::Default, 0, SignalSet::default()) };
    let process = rustix::process::getpid().as_raw_nonzero().get() as usize;
    let thread = rustix::thread::gettid().as_raw_nonzero().get() as usize;
    // SAFETY: a signal to this thread, pending until the mask lets it through.
    let _pending = unsafe { syscall(__NR_tgkill, [process, thread, SIGABRT as usize, 0]) };
    signal::restore(SignalSet::default());
    // Only a debugger that swallowed the signal gets here.
    exit_group(127)
}

/// What fork(2) returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fork {
    /// In the parent: the child's process id.
    Parent(u32),
    /// In the child.
    Child,
}

/// fork(2). The child has the calling thread only; its rseq registration and its per-vCPU areas,
/// with the parent's values, go on.
///
/// # Errors
/// As fork(2): EAGAIN, ENOMEM.
///
/// # Safety
/// What other threads of the parent held at that moment (a lock, half a structure) stays so in
/// the child for ever: the child uses only what may be used in a signal handler, or execs.
pub unsafe fn fork() -> Result<Fork, Errno> {
    let before = signal::block_all();
    // SAFETY: the child goes on from here with a copy of everything.
    let result = unsafe { syscall(__NR_fork, [0; 4]) };
    if result == Ok(0) {
        let tid = rustix::thread::gettid()
            .as_raw_nonzero()
            .get()
            .cast_unsigned();
        ThreadBlock::current().tid.store(tid, Ordering::Relaxed);
        cache::forget_unfinished();
        // Another thread's exit did not come along: the child may have its own.
        let own = core::ptr::from_ref(ThreadBlock::current()).addr();
        if EXITING.load(Ordering::Relaxed) != own {
            EXITING.store(0, Ordering::Relaxed);
        }
    }
    signal::restore(before);
    result.map(|process| {
        if process == 0 {
            Fork::Child
        } else {
            Fork::Parent(process as u32)
        }
    })
}
