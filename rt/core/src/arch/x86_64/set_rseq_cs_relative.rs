// SPDX-License-Identifier: MIT OR Apache-2.0
//! In code that may lie anywhere: the address from %rip, then the store.

/// The instructions that store the address of the descriptor `$label` in rseq_cs of this thread.
#[doc(hidden)]
#[macro_export]
macro_rules! set_rseq_cs {
    ($scratch:literal, $rseq_cs:literal, $label:literal) => {
        concat!(
            "lea ",
            $scratch,
            ", [rip + ",
            $label,
            "]\n",
            "mov fs:[",
            $rseq_cs,
            "], ",
            $scratch,
        )
    };
}
