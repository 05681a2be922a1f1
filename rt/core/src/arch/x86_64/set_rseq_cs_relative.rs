// SPDX-License-Identifier: MIT OR Apache-2.0
//! In code that may lie anywhere: the address from %rip, then the store.

/// The instructions that store the address of the descriptor `$label` in rseq_cs of this thread.
#[doc(hidden)]
#[macro_export]
macro_rules! set_rseq_cs {
    ($label:literal) => {
        concat!(
            "lea {rseq_cs_scratch}, [rip + ",
            $label,
            "]\nmov fs:[{rseq} + {rseq_cs}], {rseq_cs_scratch}",
        )
    };
}
