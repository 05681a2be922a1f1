// SPDX-License-Identifier: MIT OR Apache-2.0
//! A readable line when a stack overflows, on request.

use core::ffi::{c_int, c_void};
use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use linux_raw_sys::general::__NR_sigaltstack;
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};
use vcpu_core::arch::syscall;
use vcpu_core::report::Line;

use crate::block::ThreadBlock;
use crate::signal::{self, Action, SA_ONSTACK, SIGSEGV, SignalSet};
use crate::thread::mapping::Mapping;

static REPORTING: AtomicBool = AtomicBool::new(false);
/// AT_MINSIGSTKSZ: what the kernel's own frame takes, bytes.
static MINIMUM_SIGNAL_STACK: AtomicUsize = AtomicUsize::new(0);

#[inline(always)]
pub(crate) fn start(minimum_signal_stack: usize) {
    MINIMUM_SIGNAL_STACK.store(minimum_signal_stack, Ordering::Relaxed);
}

/// From here on, an overflow of this thread's stack, or of one of a thread started later, prints
/// one line on standard error before SIGSEGV ends the process. Call it first in `main`.
///
/// It takes the action of SIGSEGV, and gives each such thread an alternate signal stack. A
/// handler for SIGSEGV that is set later takes its place.
///
/// # Errors
/// ENOMEM: no memory for the signal stack.
pub fn report() -> Result<(), Errno> {
    let block = ThreadBlock::current();
    if block.signal_stack.load(Ordering::Relaxed) == 0 {
        set_signal_stack(block)?;
    }
    // SAFETY: the handler reads this thread's block and its own arguments, and makes system calls.
    unsafe { signal::set_action(SIGSEGV, Action::Call(on_fault), SA_ONSTACK, SignalSet::ALL)? };
    REPORTING.store(true, Ordering::Relaxed);
    Ok(())
}

/// In a new thread, with signals blocked.
pub(crate) fn enter_thread(block: &ThreadBlock) {
    if REPORTING.load(Ordering::Relaxed) {
        // Without the memory for it the thread runs, and an overflow prints nothing.
        let _no_report = set_signal_stack(block);
    }
}

/// At a thread's end, with signals blocked.
pub(crate) fn leave_thread(block: &ThreadBlock) {
    let stack = block.signal_stack.swap(0, Ordering::Relaxed);
    if stack != 0 {
        /// `SS_DISABLE`.
        const DISABLE: i32 = 2;
        let none = SignalStack {
            start: 0,
            flags: DISABLE,
            bytes: 0,
        };
        let argument = (&raw const none).expose_provenance();
        // SAFETY: no handler runs on it, and none will.
        unsafe {
            let _cannot_fail = syscall(__NR_sigaltstack, [argument, 0, 0, 0]);
            let _lost_if_refused = munmap(ptr::with_exposed_provenance_mut(stack), bytes());
        }
    }
}

/// `stack_t`.
#[repr(C)]
struct SignalStack {
    start: usize,
    flags: i32,
    bytes: usize,
}

/// The kernel's frame, and what the handler itself needs.
fn bytes() -> usize {
    let bytes = MINIMUM_SIGNAL_STACK.load(Ordering::Relaxed).max(2048) + 8192;
    bytes.next_multiple_of(4096)
}

fn set_signal_stack(block: &ThreadBlock) -> Result<(), Errno> {
    let protection = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: a new mapping: it replaces nothing.
    let start = unsafe { mmap_anonymous(ptr::null_mut(), bytes(), protection, MapFlags::PRIVATE)? };
    let stack = SignalStack {
        start: start.expose_provenance(),
        flags: 0,
        bytes: bytes(),
    };
    let argument = (&raw const stack).expose_provenance();
    // SAFETY: memory of its own, which the thread unmaps after it disabled it.
    if let Err(errno) = unsafe { syscall(__NR_sigaltstack, [argument, 0, 0, 0]) } {
        // SAFETY: nobody uses it.
        let _lost_if_refused = unsafe { munmap(start, bytes()) };
        return Err(errno);
    }
    block.signal_stack.store(stack.start, Ordering::Relaxed);
    Ok(())
}

/// The handler. It never returns to a fault without the default action set: the instruction
/// faults again and SIGSEGV ends the process, with the core dump at the right place.
unsafe extern "C" fn on_fault(_: c_int, info: *mut c_void, context: *mut c_void) {
    /// `siginfo_t`: si_code and si_addr (`include/uapi/asm-generic/siginfo.h`).
    const CODE: usize = 8;
    const ADDRESS: usize = 16;
    /// `ucontext_t`: uc_mcontext.gregs[REG_RSP] (`arch/x86/include/uapi/asm/sigcontext.h`).
    const STACK_POINTER: usize = 40 + 15 * 8;
    // SAFETY: the kernel passes both structures to a handler with SA_SIGINFO.
    let (code, address, stack_pointer) = unsafe {
        (
            info.byte_add(CODE).cast::<i32>().read(),
            info.byte_add(ADDRESS).cast::<usize>().read(),
            context.byte_add(STACK_POINTER).cast::<usize>().read(),
        )
    };
    let block = ThreadBlock::current();
    // si_code above 0 means that the kernel saw a fault; else somebody sent the signal.
    let is_fault = code > 0;
    if is_fault && is_overflow(block, address, stack_pointer) {
        crate::thread::current().with_name(|name| {
            Line::new()
                .text("thread '")
                .value(name.as_bytes())
                .text("' (id ")
                .number(u64::from(block.thread_id()))
                .text(") has overflowed its stack")
                .print();
        });
    }
    // SAFETY: the default action runs no code of the program.
    let _cannot_fail =
        unsafe { signal::set_action(SIGSEGV, Action::Default, 0, SignalSet::default()) };
    if !is_fault {
        // Pending until the handler returns.
        signal::raise(SIGSEGV);
    }
}

/// A thread of the runtime: the fault is in its guard. The main thread, whose lowest address
/// depends on RLIMIT_STACK: the fault is close to the stack pointer, at most a probed page and
/// the red zone away.
fn is_overflow(block: &ThreadBlock, address: usize, stack_pointer: usize) -> bool {
    let mapping = block.mapping.get();
    if mapping == Mapping::EMPTY {
        address.abs_diff(stack_pointer) < 2 * 4096
    } else {
        mapping.guard().contains(&address)
    }
}
