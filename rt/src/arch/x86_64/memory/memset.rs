// SPDX-License-Identifier: MIT OR Apache-2.0
//! memset.

/// `void *memset(void *destination, int value, size_t size)`.
///
/// rdi destination, sil value, rdx size; rax keeps the destination, which is returned.
#[doc(hidden)]
#[macro_export]
macro_rules! __vcpu_rt_memset {
    ($prefix:literal) => {
        $crate::__vcpu_rt_memory_function! { $prefix, "memset";
            "mov rax, rdi"
            "movzx ecx, sil"
            "movabs rsi, 0x0101010101010101"
            "imul rcx, rsi"
            "cmp rdx, 16"
            "jb 40f"
            "movq xmm0, rcx"
            "punpcklqdq xmm0, xmm0"
            "movups [rdi], xmm0"
            "movups [rdi + rdx - 16], xmm0"
            "cmp rdx, 32"
            "jbe 44f"
            "cmp rdx, 128"
            "ja 20f"
            "movups [rdi + 16], xmm0"
            "movups [rdi + rdx - 32], xmm0"
            "cmp rdx, 64"
            "jbe 44f"
            "movups [rdi + 32], xmm0"
            "movups [rdi + 48], xmm0"
            "movups [rdi + rdx - 64], xmm0"
            "movups [rdi + rdx - 48], xmm0"
            "ret"

            // Above 128: aligned stores from the first 16 bytes to r8, the last 64.
            "20:"
            "lea r8, [rdi + rdx - 64]"
            "and rdi, -16"
            "add rdi, 16"
            "cmp rdx, 2048"
            "jae 30f"
            ".p2align 4"
            "21:"
            "movaps [rdi], xmm0"
            "movaps [rdi + 16], xmm0"
            "movaps [rdi + 32], xmm0"
            "movaps [rdi + 48], xmm0"
            "add rdi, 64"
            "cmp rdi, r8"
            "jb 21b"
            "22:"
            "movups [r8], xmm0"
            "movups [r8 + 16], xmm0"
            "movups [r8 + 32], xmm0"
            "ret"
            // The string instruction takes the value from rax.
            "30:"
            "mov r9, rax"
            "mov rax, rcx"
            "lea rcx, [r8 + 7]"
            "sub rcx, rdi"
            "shr rcx, 3"
            "rep stosq"
            "mov rax, r9"
            "jmp 22b"

            // Below 16 bytes.
            "40:"
            "cmp edx, 8"
            "jb 41f"
            "mov [rdi], rcx"
            "mov [rdi + rdx - 8], rcx"
            "ret"
            "41:"
            "cmp edx, 4"
            "jb 42f"
            "mov [rdi], ecx"
            "mov [rdi + rdx - 4], ecx"
            "ret"
            // Below 4: the first byte, and for 2 and 3 the last two.
            "42:"
            "cmp edx, 1"
            "jb 44f"
            "je 43f"
            "mov [rdi + rdx - 2], cx"
            "43:"
            "mov [rdi], cl"
            "44:"
            "ret"
        }
    };
}
