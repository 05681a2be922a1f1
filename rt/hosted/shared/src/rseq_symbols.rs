// SPDX-License-Identifier: MIT OR Apache-2.0
//! glibc's three symbols, by which others find each thread's struct rseq.

use core::arch::global_asm;

// In the order of `vcpu_rt_hosted::symbols::RseqSymbols`, whose fill finds them by the hidden names.
global_asm!(
    ".pushsection .data.rel.ro.vcpu_rseq, \"aw\", @progbits",
    ".balign 8",
    ".globl __rseq_offset, __rseq_size, __rseq_flags, __vcpu_rt_rseq, __vcpu_rt_rseq_end",
    ".hidden __vcpu_rt_rseq, __vcpu_rt_rseq_end",
    ".type __rseq_offset, @object",
    ".size __rseq_offset, 8",
    ".type __rseq_size, @object",
    ".size __rseq_size, 4",
    ".type __rseq_flags, @object",
    ".size __rseq_flags, 4",
    "__vcpu_rt_rseq:",
    "__rseq_offset: .quad 0",
    "__rseq_size: .long 0",
    "__rseq_flags: .long 0",
    "__vcpu_rt_rseq_end:",
    ".popsection",
);
