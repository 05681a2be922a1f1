// SPDX-License-Identifier: MIT OR Apache-2.0
//! The first instructions of the process.

/// Emits `_start` and `__libc_start_main`, which call `$boot(stack, dynamic, ifuncs, ifuncs_end)`.
///
/// `stack` is the kernel's initial stack pointer (argc, argv, NULL, envp, NULL, auxv). `dynamic`
/// is the address of `_DYNAMIC`, 0 in an executable without one. `ifuncs` and `ifuncs_end` are the
/// linker's bounds of the IRELATIVE relocations of a non-PIE executable, equal where there are none.
/// Nothing is relocated yet: all come from instructions relative to %rip.
///
/// - The linker's crt1.o has a `_start` of its own, which calls `__libc_start_main(main, argc,
///   argv, ..)`: argc lies just below argv, on the initial stack. With `-nostartfiles` there is no
///   crt1.o and the weak `_start` here takes its place.
/// - %rbp is zeroed so that frame-pointer walks end here (psABI, process initialization), and the
///   stack is aligned to 16 before the call.
/// - `_DYNAMIC` and the bounds are weak: a reference to what an executable has not is 0.
/// - `main` is what crt1.o passes on and nobody calls: it is defined so that the link succeeds.
#[doc(hidden)]
#[macro_export]
macro_rules! __start_functions {
    ($boot:ident) => {
        ::core::arch::global_asm!(
            ".pushsection .text._start, \"ax\", @progbits",
            ".weak _start",
            ".type _start, @function",
            "_start:",
            ".cfi_startproc",
            ".cfi_undefined rip",
            "mov rdi, rsp",
            "jmp 2f",
            ".cfi_endproc",
            ".size _start, . - _start",
            ".globl __libc_start_main",
            ".type __libc_start_main, @function",
            "__libc_start_main:",
            ".cfi_startproc",
            ".cfi_undefined rip",
            "lea rdi, [rdx - 8]",
            "2:",
            "xor ebp, ebp",
            ".weak _DYNAMIC",
            ".hidden _DYNAMIC",
            "lea rsi, [rip + _DYNAMIC]",
            ".weak __rela_iplt_start",
            ".hidden __rela_iplt_start",
            "lea rdx, [rip + __rela_iplt_start]",
            ".weak __rela_iplt_end",
            ".hidden __rela_iplt_end",
            "lea rcx, [rip + __rela_iplt_end]",
            "and rsp, -16",
            "call {boot}",
            "ud2",
            ".cfi_endproc",
            ".size __libc_start_main, . - __libc_start_main",
            ".globl main",
            ".type main, @function",
            "main:",
            "ud2",
            ".size main, . - main",
            ".popsection",
            boot = sym $boot,
        );
    };
}
