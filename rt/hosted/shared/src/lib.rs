// SPDX-License-Identifier: MIT OR Apache-2.0
//! What `libvcpu_rt.so` is linked from, and `libvcpu_rt.a` for musl: the table, `__rseq_*`, and the
//! functions of the C library in front of which it stands. `cargo xtask dist` links.
#![no_std]

mod interposed;
mod program;
mod resolver;
mod rseq_symbols;
mod starts;
mod their_symbols;

vcpu_rt_hosted::library!();
