// SPDX-License-Identifier: MIT OR Apache-2.0
//! All assembly of `vcpu-core`: system calls, reads through `%fs` and `%gs`, the critical section.
//!
//! A second architecture would define the same names.

use core::arch::asm;

use rustix::io::Errno;
use vcpu_abi::RSEQ_SIG;

// How a descriptor's address is stored: by one instruction where addresses are fixed.
#[cfg(vcpu_rt_fixed_addresses)]
#[path = "x86_64/set_rseq_cs_fixed.rs"]
mod set_rseq_cs;
#[cfg(not(vcpu_rt_fixed_addresses))]
#[path = "x86_64/set_rseq_cs_relative.rs"]
mod set_rseq_cs;

// Where struct rseq is, and how a thread tells whether it is registered.
#[cfg(not(vcpu_rt_hosted))]
#[path = "x86_64/area_constant.rs"]
mod area;
#[cfg(vcpu_rt_hosted)]
#[path = "x86_64/area_of_process.rs"]
mod area;

#[path = "x86_64/cache.rs"]
mod cache;
#[path = "x86_64/critical_section.rs"]
mod critical_section;
#[path = "x86_64/pair.rs"]
mod pair;
#[path = "x86_64/section_on_copies.rs"]
mod section_on_copies;
#[path = "x86_64/stack.rs"]
mod stack;
#[path = "x86_64/update.rs"]
mod update;
#[path = "x86_64/words.rs"]
mod words;

pub(crate) use area::compare_with_bound;
pub use area::*;
pub use cache::*;
#[doc(hidden)]
pub use critical_section::check_section;
pub use pair::{compare_exchange_pair, has_cmpxchg16b};
pub use stack::*;
pub use update::{Raw, load_by};
pub use words::*;

/// What precedes every abort handler.
pub const SIGNATURE: u32 = RSEQ_SIG;

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

/// As [`thread_pointer`], for code to which any thread's would do as well: the compiler may ask once and
/// keep it, across a switch of stacks too.
#[inline(always)]
pub fn constant_thread_pointer() -> usize {
    let pointer;
    // SAFETY: as above. Memory that nobody writes, so `pure` and `nomem` tell no lie that shows.
    unsafe {
        asm!(
            "mov {pointer}, fs:[0]",
            pointer = out(reg) pointer,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    pointer
}

/// The bits of `Access::current`, by a load that the compiler takes for a constant.
#[inline(always)]
pub fn access_bits() -> u64 {
    let bits;
    // SAFETY: one load. `pure` and `nomem` would be wrong of memory that changes; this word is written
    // before there is any object, and only who has an object asks. No stack, no flags.
    unsafe {
        asm!(
            "mov {bits}, qword ptr [rip + {word}]",
            bits = out(reg) bits,
            word = sym crate::access::CURRENT,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    bits
}

/// Start and end of a section of the program; equal where there is none.
///
/// The linker defines both symbols where it kept a part of that section. They are weak, so that a
/// program without one links: then both are 0. Hidden: not looked for in other objects of the process.
/// By the GOT, since GNU ld refuses an undefined one relative to %rip in a PIE; linkers make it a
/// `lea` where the symbol is defined.
macro_rules! section_bounds {
    ($name:literal) => {{
        let (start, end);
        // SAFETY: two addresses from the GOT, which never change; no stack or flags.
        unsafe {
            asm!(
                concat!(".weak __start_", $name),
                concat!(".hidden __start_", $name),
                concat!(".weak __stop_", $name),
                concat!(".hidden __stop_", $name),
                concat!("mov {start}, [rip + __start_", $name, "@GOTPCREL]"),
                concat!("mov {end}, [rip + __stop_", $name, "@GOTPCREL]"),
                start = out(reg) start,
                end = out(reg) end,
                options(pure, nomem, nostack, preserves_flags),
            );
        }
        (start, end)
    }};
}

/// The bounds of the stages of the start, see [`crate::hook`].
#[inline(always)]
pub fn hook_bounds() -> (usize, usize) {
    section_bounds!("vcpu_rt_start")
}

/// The bounds of the cells of declared variables, see [`crate::declared`].
#[inline(always)]
pub fn declared_bounds() -> (usize, usize) {
    section_bounds!("vcpu_rt_declared")
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
