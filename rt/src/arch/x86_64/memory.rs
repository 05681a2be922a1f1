// SPDX-License-Identifier: MIT OR Apache-2.0
//! The memory functions that compilers call by name: memcpy, memmove, memset, memcmp, bcmp, strlen.
//!
//! This library defines none of them: a test build of the same program links std, whose C library
//! has its own. [`__vcpu_rt_memory_functions`](crate::__vcpu_rt_memory_functions) emits them in the
//! crate that expands it, each name behind a prefix: none in a program (`entry!` does it), another
//! one where they are tested and measured beside the C library's.
//!
//! What holds for all of them:
//! - SSE2 and string instructions only, which every x86-64 CPU has. Nothing asks CPUID, which traps
//!   under a hypervisor, and nothing is chosen at start, so they work from the first instruction.
//! - No stack, no `%fs`, no callee-saved register. The direction flag is clear, as the psABI says.
//!   Clobbered: rax, rcx, rdx, rsi, rdi, r8 to r11, xmm0 to xmm8, flags.
//! - Short sizes take two accesses that may overlap, one at each end, instead of a loop over what
//!   is left. Where operands may overlap, all loads come before the first store.
//! - Labels have digits above 1: LLVM reads `10b` as a binary number in Intel syntax.
//! - Weak, so that a program may bring its own. Hidden: a static link finds them all the same, and
//!   a static-pie does not list them as dynamic symbols, which would keep unused ones alive.
//! - A section each, so that `--gc-sections` drops what is not called.
//! - No `endbr64`: the runtime claims no IBT property.
//!
//! How they compare with glibc's, and where the thresholds come from: `docs/memory.md`.

mod memcmp;
mod memmove;
mod memset;
mod strlen;

/// Emits memcpy, memmove, memset, memcmp, bcmp and strlen under names that start with `$prefix`.
#[doc(hidden)]
#[macro_export]
macro_rules! __vcpu_rt_memory_functions {
    ($prefix:literal) => {
        $crate::__vcpu_rt_memmove!($prefix);
        $crate::__vcpu_rt_memset!($prefix);
        $crate::__vcpu_rt_memcmp!($prefix);
        $crate::__vcpu_rt_strlen!($prefix);
    };
}

/// Emits one function: its section, its names (one address), its unwind information, its body.
#[doc(hidden)]
#[macro_export]
macro_rules! __vcpu_rt_memory_function {
    ($prefix:literal, $name:literal $(, also $alias:literal)?; $($line:literal)*) => {
        ::core::arch::global_asm!(
            concat!(".pushsection .text.", $prefix, $name, ",\"ax\",@progbits"),
            concat!(".weak ", $prefix, $name),
            concat!(".hidden ", $prefix, $name),
            concat!(".type ", $prefix, $name, ",@function"),
            $(
                concat!(".weak ", $prefix, $alias),
                concat!(".hidden ", $prefix, $alias),
                concat!(".type ", $prefix, $alias, ",@function"),
            )?
            ".p2align 6",
            concat!($prefix, $name, ":"),
            $(concat!($prefix, $alias, ":"),)?
            ".cfi_startproc",
            $($line,)*
            ".cfi_endproc",
            concat!(".size ", $prefix, $name, ", . - ", $prefix, $name),
            $(concat!(".size ", $prefix, $alias, ", . - ", $prefix, $alias),)?
            ".popsection",
        );
    };
}
