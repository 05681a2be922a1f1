// SPDX-License-Identifier: MIT OR Apache-2.0
//! All assembly of `vcpu-core`: system calls, reads through `%fs` and `%gs`, the critical section.
//!
//! A second architecture would define the same names.

use core::arch::asm;
use core::ptr::NonNull;

use rustix::io::Errno;
use vcpu_abi::{RSEQ_OFFSET, RSEQ_SIG, Rseq};

// How a descriptor's address is stored: by one instruction where addresses are fixed.
#[cfg(vcpu_rt_fixed_addresses)]
#[macro_use]
#[path = "x86_64/set_rseq_cs_fixed.rs"]
mod set_rseq_cs;
#[cfg(not(vcpu_rt_fixed_addresses))]
#[macro_use]
#[path = "x86_64/set_rseq_cs_relative.rs"]
mod set_rseq_cs;

/// Makes a system call of up to four arguments; unused ones are passed as 0.
///
/// Always inlined: arguments in an array and a result by pointer take more bytes than the call.
///
/// # Safety
/// As for the call itself: the kernel reads and writes what the arguments point to.
#[inline(always)]
pub unsafe fn syscall(number: u32, arguments: [usize; 4]) -> Result<usize, Errno> {
    let result: isize;
    // SAFETY: the caller vouches for the call. The kernel clobbers rcx and r11 and returns in
    // rax; it may read and write any memory, so `nomem` is not set. It does not touch the user's
    // stack. Flags come back from r11, but `preserves_flags` gains nothing here and is left out.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number as usize => result,
            in("rdi") arguments[0],
            in("rsi") arguments[1],
            in("rdx") arguments[2],
            in("r10") arguments[3],
            // prctl(2) demands zero in its fifth argument.
            in("r8") 0_usize,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    // The kernel's errors are -4095..=-1 (include/linux/err.h, MAX_ERRNO).
    if result.cast_unsigned() >= (-4095_isize).cast_unsigned() {
        Err(Errno::from_raw_os_error(result.unsigned_abs() as i32))
    } else {
        Ok(result.cast_unsigned())
    }
}

/// The calling thread's thread pointer, read from its self pointer at `%fs:0` (psABI, variant II).
#[inline]
pub fn thread_pointer() -> usize {
    let pointer;
    // SAFETY: %fs:0 holds the self pointer in every thread of a process with a TCB. It never
    // changes during a thread's life; one load, no stack, no flags.
    unsafe {
        asm!(
            "mov {pointer}, fs:[0]",
            pointer = out(reg) pointer,
            options(nostack, readonly, preserves_flags),
        );
    }
    pointer
}

/// Start and end of the section `vcpu_rt_start`, see [`crate::hook`]; equal where there is none.
///
/// The linker defines both symbols where it kept a part of that section. They are weak, so that a
/// program without one links: then both stand for the same address, whichever the linker takes
/// for an undefined weak symbol. Hidden: not looked for in other objects of the process.
#[inline(always)]
pub fn hook_bounds() -> (usize, usize) {
    let (start, end);
    // SAFETY: two addresses relative to %rip; no memory, stack or flags.
    unsafe {
        asm!(
            ".weak __start_vcpu_rt_start",
            ".hidden __start_vcpu_rt_start",
            ".weak __stop_vcpu_rt_start",
            ".hidden __stop_vcpu_rt_start",
            "lea {start}, [rip + __start_vcpu_rt_start]",
            "lea {end}, [rip + __stop_vcpu_rt_start]",
            start = out(reg) start,
            end = out(reg) end,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    (start, end)
}

/// Reads the 32-bit field at `OFFSET` of the calling thread's struct rseq, in one instruction.
///
/// # Safety
/// `%fs` must point to a thread block of vcpu-rt, which reserves `RSEQ_OFFSET..+256`.
#[inline(always)]
pub unsafe fn rseq_field<const OFFSET: usize>() -> u32 {
    let value;
    // SAFETY: within the block, by the caller's word. Not `pure`: the kernel changes the field at
    // any preemption, so two reads are two values. One load, no stack, no flags.
    unsafe {
        asm!(
            "mov {value:e}, fs:[{offset}]",
            value = out(reg) value,
            offset = const RSEQ_OFFSET + OFFSET,
            options(nostack, readonly, preserves_flags),
        );
    }
    value
}

/// The GS base, by `rdgsbase`.
///
/// # Safety
/// Bit 1 of AT_HWCAP2 must be set: else the instruction faults.
pub unsafe fn gs_base() -> usize {
    let base;
    // SAFETY: the caller checked that the kernel enabled FSGSBASE. Reads a register only.
    unsafe {
        asm!("rdgsbase {base}", base = out(reg) base, options(nostack, nomem, preserves_flags));
    }
    base
}

/// The GS selector.
pub fn gs_selector() -> u16 {
    let selector: u32;
    // SAFETY: reads a register.
    unsafe {
        asm!(
            "mov {selector:e}, gs",
            selector = out(reg) selector,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    selector as u16
}

/// Adds `value` to the copy of the word at `word` that belongs to this thread's mm_cid: one
/// instruction, whose address the processor forms with the base that the kernel loaded. Preemption,
/// migration and signals come before it or after it.
///
/// # Safety
/// The GS base is the stride times the thread's mm_cid (PR_SET_GS_MODE); for every mm_cid
/// that can occur the copy is a mapped, aligned u64 that is only written so.
#[inline(always)]
pub unsafe fn add_by_gs(word: NonNull<u64>, value: u64) {
    // SAFETY: touches memory at the copy alone, by the caller's word. No lock: no other CPU has
    // this mm_cid meanwhile. No stack; flags are clobbered by default; memory is a side effect.
    unsafe {
        asm!(
            "add qword ptr gs:[{word}], {value}",
            word = in(reg) word.as_ptr(),
            value = in(reg) value,
            options(nostack),
        );
    }
}

/// How one try of a critical section ended.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Attempt {
    /// The store committed.
    Committed,
    /// The kernel aborted it before the commit: nothing was stored.
    Aborted,
    /// The index is not below the bound: this thread is not registered, or its id is not valid
    /// now. Nothing was stored.
    OutOfRange,
}

/// Defines a function that adds in one rseq critical section, whose index is the field at `$index`
/// of struct rseq, tested against `bound`.
macro_rules! add_in_section {
    ($(#[$documentation:meta])* $name:ident, $index:expr) => {
        $(#[$documentation])*
        ///
        /// One comparison tests registration and range: an unregistered block holds all ones in
        /// both fields, and after a failed execve Linux 7.3 shows mm_cid = 0x80000000 until the next
        /// switch.
        ///
        /// # Safety
        /// `%fs` points to a thread block of vcpu-rt; for every id below the bound,
        /// `word + (id << stride_shift)` is a mapped, aligned u64 that is only written by such
        /// sections.
        #[inline(always)]
        pub unsafe fn $name(
            word: NonNull<u64>,
            value: u64,
            stride_shift: u32,
            bound: u32,
        ) -> Attempt {
            // SAFETY: memory is touched only at the word, by the caller's word, and at rseq_cs of
            // this thread's block. The section is the instructions 2..3: it reads the index,
            // computes the address and ends with its one store, so that an abort anywhere leaves
            // nothing behind. The kernel resumes an aborted section at 4, which the signature
            // precedes, inside an instruction that is never executed (ud1). Registers are
            // scratch, so a restart needs none of them back. `nostack`: the stack is not used.
            // Flags are clobbered by default. Memory is a side effect: neither `nomem` nor
            // `readonly`.
            unsafe {
                asm!(
                    set_rseq_cs!("{index}", "{rseq_cs}", "5f"),
                    "2:",
                    "mov {index:e}, fs:[{id}]",
                    "cmp {index:e}, {bound:e}",
                    "jae {out_of_range}",
                    "shl {index}, cl",
                    "add qword ptr [{word} + {index}], {value}",
                    "3:",
                    // The descriptor (struct rseq_cs), where debuggers look for it, and the
                    // pointer array beside it (the convention of the kernel's selftests and of
                    // librseq). Nothing refers to the array: link order ("o") keeps it as long as
                    // the descriptors.
                    ".pushsection __rseq_cs, \"aw\"",
                    ".balign 32",
                    "5:",
                    ".long 0, 0",
                    ".quad 2b, 3b - 2b, 4f",
                    ".popsection",
                    ".pushsection __rseq_cs_ptr_array, \"awo\", @progbits, __rseq_cs",
                    ".balign 8",
                    ".quad 5b",
                    ".popsection",
                    ".pushsection .text.rseq_abort, \"ax\"",
                    ".byte 0x0f, 0xb9, 0x3d",
                    ".long {signature}",
                    "4:",
                    "jmp {aborted}",
                    ".popsection",
                    index = out(reg) _,
                    word = in(reg) word.as_ptr(),
                    value = in(reg) value,
                    bound = in(reg) bound,
                    in("cl") stride_shift as u8,
                    rseq_cs = const RSEQ_OFFSET + Rseq::RSEQ_CS_OFFSET,
                    id = const RSEQ_OFFSET + $index,
                    signature = const RSEQ_SIG,
                    out_of_range = label { return Attempt::OutOfRange },
                    aborted = label { return Attempt::Aborted },
                    options(nostack),
                );
            }
            Attempt::Committed
        }
    };
}

add_in_section!(
    /// Adds `value` to the copy of the word at `word` that belongs to this thread's mm_cid.
    add_by_mm_cid,
    Rseq::MM_CID_OFFSET
);
add_in_section!(
    /// Adds `value` to the copy of the word at `word` that belongs to this thread's CPU.
    add_by_cpu_id,
    Rseq::CPU_ID_OFFSET
);
