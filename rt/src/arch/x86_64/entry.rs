// SPDX-License-Identifier: MIT OR Apache-2.0
//! The first instructions of the process: entry and self-relocation.
//!
//! The relocation is assembly because compiled code may not run before it: without optimization
//! rustc calls functions of other crates, memcpy among them, through entries of the GOT that are
//! not relocated yet and that linkers do not always relax to direct calls.

/// Emits `_start` and `__libc_start_main`, which relocate the program and call `$boot(stack,
/// load_base, unsupported, room)`.
///
/// `stack` is the kernel's initial stack pointer (argc, argv, NULL, envp, NULL, auxv). `load_base`
/// is by how much the program was moved, 0 when it is not PIE. `unsupported` is 0, or the type of a
/// relocation that only a loader could apply (psABI x86-64, "Relocation Types"; 37 is an IFUNC), or
/// `NEEDS_LOADER`.
///
/// Who calls:
/// - The linker's crt1.o has a `_start` of its own, which calls `__libc_start_main(main, argc,
///   argv, ..)`: argc lies just below argv, on the initial stack. With `-nostartfiles` there is no
///   crt1.o and the weak `_start` here takes its place. `main` is what crt1.o passes on and nobody
///   calls: it is defined so that the link succeeds.
/// - Nobody is returned to, so every register is free. %rbp is zeroed so that frame-pointer walks
///   end here (psABI, "Process Initialization"). `room` is memory on the stack, aligned to 256, for
///   the main thread's block: `$boot` never returns, so it lasts as long as the process.
///
/// The relocation, in registers alone:
/// - `_DYNAMIC` is weak: an executable without a dynamic section is not PIE, and needs none. One
///   with PT_INTERP is a loader's business; `$boot` refuses to run it.
/// - GNU ld's static-pie has no PT_PHDR, so the load base is what `_DYNAMIC` was moved by from
///   PT_DYNAMIC's p_vaddr. The program headers are found from the ELF header, `__ehdr_start`.
/// - RELATIVE entries of DT_RELA and DT_JMPREL (GNU ld keeps IRELATIVE there), then DT_RELR (gABI):
///   an even word is the address of a place; an odd word is a bitmap of the 63 places after it.
/// - In a non-PIE executable IRELATIVE relocations lie between `__rela_iplt_start` and `_end`. The
///   bounds come through the GOT: GNU ld refuses a direct reference to a weak symbol that a PIE
///   does not define.
///
/// Labels have digits from 2 up: LLVM reads `1b` as a binary number in this syntax.
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
            //
            ".globl __libc_start_main",
            ".type __libc_start_main, @function",
            "__libc_start_main:",
            ".cfi_startproc",
            ".cfi_undefined rip",
            "lea rdi, [rdx - 8]",
            "2:",
            "xor ebp, ebp",
            "sub rsp, {room}",
            "and rsp, -256",
            // rdi = stack, rsi = load base, edx = unsupported type: arguments of boot, and last
            // rcx = room.
            "xor esi, esi",
            "xor edx, edx",
            ".weak _DYNAMIC",
            ".hidden _DYNAMIC",
            "lea rbx, [rip + _DYNAMIC]",
            "test rbx, rbx",
            "jz 8f",
            // Program headers: PT_INTERP (3) ends this, PT_DYNAMIC (2) gives the base.
            ".weak __ehdr_start",
            ".hidden __ehdr_start",
            "lea r8, [rip + __ehdr_start]",
            "movzx ecx, word ptr [r8 + 56]", // e_phnum
            "add r8, [r8 + 32]",             // e_phoff
            "3:",
            "cmp dword ptr [r8], 3",
            "je 7f",
            "cmp dword ptr [r8], 2",
            "jne 4f",
            "mov rsi, rbx",
            "sub rsi, [r8 + 16]", // p_vaddr
            "4:",
            "add r8, 56",
            "dec ecx",
            "jnz 3b",
            // The dynamic section: r8, r9 = DT_RELA, DT_RELASZ; r10, r11 = DT_JMPREL,
            // DT_PLTRELSZ; r12, r13 = DT_RELR, DT_RELRSZ. Those that are missing are 0.
            "xor r8d, r8d",
            "xor r9d, r9d",
            "xor r10d, r10d",
            "xor r11d, r11d",
            "xor r12d, r12d",
            "xor r13d, r13d",
            "5:",
            "mov rcx, [rbx]",
            "mov rax, [rbx + 8]",
            "add rbx, 16",
            "cmp rcx, 7",
            "cmove r8, rax",
            "cmp rcx, 8",
            "cmove r9, rax",
            "cmp rcx, 23",
            "cmove r10, rax",
            "cmp rcx, 2",
            "cmove r11, rax",
            "cmp rcx, 36",
            "cmove r12, rax",
            "cmp rcx, 35",
            "cmove r13, rax",
            "test rcx, rcx",
            "jnz 5b",
            // Elf64_Rela from r8 to r9: r_offset, r_info (the type is its lower half), r_addend.
            "20:",
            "add r8, rsi",
            "add r9, r8",
            "21:",
            "cmp r8, r9",
            "jae 24f",
            "mov ecx, [r8 + 8]",
            "cmp ecx, 8", // R_X86_64_RELATIVE
            "jne 22f",
            "mov rcx, [r8]",
            "mov rax, [r8 + 16]",
            "add rax, rsi",
            "mov [rsi + rcx], rax",
            "jmp 23f",
            "22:",
            "test ecx, ecx", // R_X86_64_NONE
            "cmovnz edx, ecx",
            "23:",
            "add r8, 24",
            "jmp 21b",
            // The second table, once.
            "24:",
            "mov r8, r10",
            "mov r9, r11",
            "xor r10d, r10d",
            "xor r11d, r11d",
            "test r9, r9",
            "jnz 20b",
            // RELR from r12 to r13; rcx = the place after the last one.
            "add r12, rsi",
            "add r13, r12",
            "25:",
            "cmp r12, r13",
            "jae 9f",
            "mov rax, [r12]",
            "add r12, 8",
            "test al, 1",
            "jnz 26f",
            "lea rcx, [rsi + rax]",
            "add [rcx], rsi",
            "add rcx, 8",
            "jmp 25b",
            "26:",
            "mov r8, rcx",
            "27:",
            "shr rax, 1",
            "jz 29f",
            "test al, 1",
            "jz 28f",
            "add [r8], rsi",
            "28:",
            "add r8, 8",
            "jmp 27b",
            "29:",
            "add rcx, 63 * 8",
            "jmp 25b",
            "7:",
            "mov edx, {loader}",
            "jmp 9f",
            // Not PIE: IRELATIVE (37) is all there can be.
            "8:",
            ".weak __rela_iplt_start",
            ".weak __rela_iplt_end",
            "mov rax, [rip + __rela_iplt_start@GOTPCREL]",
            "cmp rax, [rip + __rela_iplt_end@GOTPCREL]",
            "je 9f",
            "mov edx, 37",
            "9:",
            "mov rcx, rsp",
            "call {boot}",
            "ud2",
            ".cfi_endproc",
            ".size __libc_start_main, . - __libc_start_main",
            //
            ".globl main",
            ".type main, @function",
            "main:",
            "ud2",
            ".size main, . - main",
            ".popsection",
            boot = sym $boot,
            room = const $crate::start::ROOM_BYTES,
            loader = const $crate::start::NEEDS_LOADER,
        );
    };
}
