// SPDX-License-Identifier: MIT OR Apache-2.0
//! With fixed addresses below 2 GiB (non-PIE, small code model): one store of an immediate. A PIE
//! that is built with it does not link (R_X86_64_32S).

/// The instruction `movq $label, %fs:rseq_cs`, which stores the address of the descriptor `$label`
/// in rseq_cs of this thread. In bytes, since LLVM takes no local label as an immediate in Intel
/// syntax: fs, REX.W, C7 /0 with an absolute 32-bit address (ModRM 04, SIB 25), immediate. The
/// processor extends the sign, which is what R_X86_64_32S makes the linker check. It needs no
/// scratch register, and names the one that there is in a comment.
#[doc(hidden)]
#[macro_export]
macro_rules! set_rseq_cs {
    ($scratch:literal, $rseq_cs:literal, $label:literal) => {
        concat!(
            "# ",
            $scratch,
            "\n.byte 0x64, 0x48, 0xc7, 0x04, 0x25\n",
            ".long ",
            $rseq_cs,
            "\n.reloc ., R_X86_64_32S, ",
            $label,
            "\n.long 0"
        )
    };
}
