// SPDX-License-Identifier: MIT OR Apache-2.0
//! strlen.

/// `size_t strlen(const char *string)`. It reads whole aligned blocks of 64 or 128 bytes that hold
/// a byte of the string or its end, so never a page that does not.
///
/// rdi string; r8 keeps it.
#[doc(hidden)]
#[macro_export]
macro_rules! __vcpu_rt_strlen {
    ($prefix:literal) => {
        $crate::__vcpu_rt_memory_function! { $prefix, "strlen";
            "pxor xmm0, xmm0"
            "mov r8, rdi"
            // The block that holds [rdi]: one bit in rdx for each zero byte, from [rdi] on.
            "20:"
            "mov rax, rdi"
            "and rax, -64"
            "movdqa xmm1, [rax]"
            "movdqa xmm2, [rax + 16]"
            "movdqa xmm3, [rax + 32]"
            "movdqa xmm4, [rax + 48]"
            "pcmpeqb xmm1, xmm0"
            "pcmpeqb xmm2, xmm0"
            "pcmpeqb xmm3, xmm0"
            "pcmpeqb xmm4, xmm0"
            "pmovmskb edx, xmm1"
            "pmovmskb ecx, xmm2"
            "pmovmskb esi, xmm3"
            "pmovmskb r9d, xmm4"
            "shl ecx, 16"
            "shl r9d, 16"
            "or edx, ecx"
            "or esi, r9d"
            "shl rsi, 32"
            "or rdx, rsi"
            "mov ecx, edi"
            "shr rdx, cl"
            "test rdx, rdx"
            "jz 30f"
            "rep bsf rdx, rdx"
            "lea rax, [rdi + rdx]"
            "sub rax, r8"
            "ret"
            // None: on to the next block of 128, in which the loop looks for a zero byte; its first
            // half, and if there is none its second half, then is a block for the search above.
            "30:"
            "add rax, 64"
            "test al, 64"
            "jnz 32f"
            ".p2align 4"
            "31:"
            "movdqa xmm1, [rax]"
            "movdqa xmm2, [rax + 64]"
            "pminub xmm1, [rax + 16]"
            "pminub xmm2, [rax + 80]"
            "pminub xmm1, [rax + 32]"
            "pminub xmm2, [rax + 96]"
            "pminub xmm1, [rax + 48]"
            "pminub xmm2, [rax + 112]"
            "pminub xmm1, xmm2"
            "pcmpeqb xmm1, xmm0"
            "pmovmskb edx, xmm1"
            "sub rax, -128"
            "test edx, edx"
            "jz 31b"
            "add rax, -128"
            "32:"
            "mov rdi, rax"
            "jmp 20b"
        }
    };
}
