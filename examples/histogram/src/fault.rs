// SPDX-License-Identifier: MIT OR Apache-2.0
//! Reading mapped files that somebody may truncate: the access then gets SIGBUS, and the copy
//! ends early instead of the process.

use core::arch::naked_asm;
use core::ffi::{c_int, c_void};

use vcpu_rt::Errno;
use vcpu_rt::signal::{self, Action, SIGBUS, SignalSet};

/// Copies `length` bytes and returns how many were copied before a page was missing.
///
/// # Safety
/// `from` is a mapping of `length` bytes, whose pages may be gone; `to` is writable.
pub unsafe fn copy(from: *const u8, to: *mut u8, length: usize) -> usize {
    // SAFETY: by the caller's word.
    length - unsafe { copy_or_fault(to, from, length) }
}

/// Returns how many bytes were not copied.
///
/// `rep movsb` counts rcx down with each byte, and a fault leaves it at what is left. Only this
/// instruction reads the mapping, so the handler can tell its fault by the address and continue
/// behind it. No stack, no callee-saved register.
#[unsafe(naked)]
unsafe extern "C" fn copy_or_fault(to: *mut u8, from: *const u8, length: usize) -> usize {
    naked_asm!("mov rcx, rdx", "rep movsb", "mov rax, rcx", "ret")
}

/// Where `rep movsb` is in `copy_or_fault`: behind the 3 bytes of the first instruction. It has 2.
const COPY_OFFSET: usize = 3;
const COPY_BYTES: usize = 2;

/// Installs the handler.
pub fn survive_truncation() -> Result<(), Errno> {
    // SAFETY: the handler only reads and writes what the kernel passes.
    unsafe { signal::set_action(SIGBUS, Action::Call(on_fault), 0, SignalSet::default()) }
}

unsafe extern "C" fn on_fault(_: c_int, _: *mut c_void, context: *mut c_void) {
    /// uc_mcontext.gregs[REG_RIP] (`arch/x86/include/uapi/asm/sigcontext.h`).
    const INSTRUCTION_POINTER: usize = 40 + 16 * 8;
    // SAFETY: the kernel passes a ucontext_t, which it restores when the handler returns.
    let instruction = unsafe { &mut *context.byte_add(INSTRUCTION_POINTER).cast::<usize>() };
    if *instruction == copy_or_fault as *const () as usize + COPY_OFFSET {
        *instruction += COPY_BYTES;
        return;
    }
    // Somebody else's fault: it repeats, and then ends the process.
    // SAFETY: the default action runs no code of the program.
    let _cannot_fail =
        unsafe { signal::set_action(SIGBUS, Action::Default, 0, SignalSet::default()) };
}
