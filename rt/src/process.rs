// SPDX-License-Identifier: MIT OR Apache-2.0
//! The end of the process, and other processes.

use core::ffi::{c_char, c_int};
use core::ptr;
use core::slice;
use core::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

use linux_raw_sys::general::{__NR_exit_group, __NR_fork, __NR_pause, SIGABRT};
use rustix::io::Errno;
use vcpu_core::arch::syscall;

use crate::block::ThreadBlock;
use crate::env;
use crate::signal::{self, Action, SignalSet};
use crate::thread::mapping::cache;

mod command;
mod first;

pub use command::{Child, Command, ExitStatus};
pub(crate) use first::{First, Place};

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
// Every exit reads or writes the three statics with a section: see "Pages" in docs/runtime.md.
#[unsafe(link_section = ".data.vcpu_rt")]
static AT_EXIT_COUNT: AtomicUsize = AtomicUsize::new(0);

/// Has `function` called by [`exit`], the last one first, as atexit(3).
///
/// # Errors
/// [`AtExitFull`] when there are [`AT_EXIT_CAPACITY`] already.
pub fn at_exit(function: fn()) -> Result<(), AtExitFull> {
    let mut count = AT_EXIT_COUNT.load(Ordering::Relaxed);
    loop {
        let slot = AT_EXIT.get(count).ok_or(AtExitFull)?;
        let (success, failure) = (Ordering::Relaxed, Ordering::Relaxed);
        match AT_EXIT_COUNT.compare_exchange_weak(count, count + 1, success, failure) {
            Ok(_) => {
                slot.store(function as *mut (), Ordering::Release);
                return Ok(());
            }
            Err(changed) => count = changed,
        }
    }
}

fn run_at_exit() {
    // One by one: a function may add another, or call `exit` again.
    let mut count = AT_EXIT_COUNT.load(Ordering::Relaxed);
    while let Some(index) = count.checked_sub(1)
        && let Some(slot) = AT_EXIT.get(index)
    {
        let (success, failure) = (Ordering::Relaxed, Ordering::Relaxed);
        if let Err(changed) = AT_EXIT_COUNT.compare_exchange(count, index, success, failure) {
            count = changed;
            continue;
        }
        let function = slot.swap(ptr::null_mut(), Ordering::Acquire);
        // A slot can be taken and still empty while another thread is inside `at_exit`.
        if !function.is_null() {
            // SAFETY: `at_exit` stored a `fn()`, and only such.
            let function: fn() = unsafe { core::mem::transmute(function) };
            function();
        }
        count = AT_EXIT_COUNT.load(Ordering::Relaxed);
    }
}

/// A function of an init or fini array (gABI). glibc passes the arguments of main to the former.
type InitFunction = unsafe extern "C" fn(c_int, *const *const c_char, *const *const c_char);

unsafe extern "C" {
    // The linker's bounds of its arrays.
    safe static __preinit_array_start: [InitFunction; 0];
    safe static __preinit_array_end: [InitFunction; 0];
    safe static __init_array_start: [InitFunction; 0];
    safe static __init_array_end: [InitFunction; 0];
    safe static __fini_array_start: [InitFunction; 0];
    safe static __fini_array_end: [InitFunction; 0];
}

/// The functions between the bounds of an array.
///
/// # Safety
/// The linker's bounds.
#[inline(always)]
unsafe fn array(
    start: &'static [InitFunction; 0],
    end: &'static [InitFunction; 0],
) -> &'static [InitFunction] {
    let count = (end.as_ptr().addr() - start.as_ptr().addr()) / size_of::<InitFunction>();
    let start = ptr::with_exposed_provenance(start.as_ptr().expose_provenance());
    // SAFETY: by the caller's word: relocated function pointers, which nobody writes.
    unsafe { slice::from_raw_parts(start, count) }
}

/// Runs the preinit array and the init array, in order, each function with argc, argv and envp.
///
/// # Safety
/// Once, after everything else of the start.
#[inline(always)]
pub(crate) unsafe fn run_init_arrays() {
    // SAFETY: the linker's bounds.
    let (preinit, init) = unsafe {
        (
            array(&__preinit_array_start, &__preinit_array_end),
            array(&__init_array_start, &__init_array_end),
        )
    };
    for functions in &[preinit, init] {
        for function in *functions {
            // SAFETY: by the caller's word, the time to run it.
            unsafe { function(env::args_len() as i32, env::argv(), env::environ()) };
        }
    }
}

/// Runs the fini array, in reverse, once.
fn run_fini_array() {
    #[unsafe(link_section = ".data.vcpu_rt")]
    static STARTED: AtomicUsize = AtomicUsize::new(0);
    // SAFETY: the linker's bounds.
    let functions = unsafe { array(&__fini_array_start, &__fini_array_end) };
    // Counted before each call: a function may call `exit` again.
    while let Some(left) = functions
        .len()
        .checked_sub(STARTED.fetch_add(1, Ordering::Relaxed) + 1)
        && let Some(function) = functions.get(left)
    {
        // SAFETY: its functions take no arguments; on x86-64 they do not see those that are
        // passed.
        unsafe { function(0, ptr::null(), ptr::null()) };
    }
}

/// The thread that called [`exit`] first.
#[unsafe(link_section = ".data.vcpu_rt")]
static EXITING: First = First::nobody();

/// Ends the process: the functions of [`at_exit`] in reverse, the fini array in reverse, then
/// exit_group(2). Other threads run until then. A second thread that calls it waits for the end.
pub fn exit(status: i32) -> ! {
    if EXITING.come() == Place::Late {
        loop {
            // SAFETY: waits for a signal.
            let _interrupted = unsafe { syscall(__NR_pause, [0; 4]) };
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
    // Pending until the mask lets it through.
    signal::raise(SIGABRT);
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
        crate::panic::PANICKING.forget_other_threads();
        // Another thread's exit did not come along: the child may have its own.
        EXITING.forget_other_threads();
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
