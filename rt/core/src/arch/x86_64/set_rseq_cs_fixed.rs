// SPDX-License-Identifier: MIT OR Apache-2.0
//! With fixed addresses below 2 GiB (non-PIE, small code model): one store of an immediate. A PIE
//! that is built with it does not link (R_X86_64_32S).

/// The instruction that stores the address of the descriptor `$label` in rseq_cs of this thread. LLVM takes no local
/// label as an immediate in Intel syntax, so a relocation puts it over the zero, the instruction's last four
/// bytes (C7 /0 with an imm32, there is no shorter form). The processor extends the sign, which is what
/// R_X86_64_32S makes the linker check. It needs no scratch register, and names the one that there is in a comment.
#[doc(hidden)]
#[macro_export]
macro_rules! set_rseq_cs {
    ($label:literal) => {
        concat!(
            "mov qword ptr fs:[{rseq} + {rseq_cs}], 0 # {rseq_cs_scratch}\n",
            ".reloc . - 4, R_X86_64_32S, ",
            $label,
        )
    };
}
