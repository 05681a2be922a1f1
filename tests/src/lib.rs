// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the conformance tests share: cases that can say SKIP with a reason, and the programs
//! they run.

pub mod auxv;
pub mod case;
pub mod confine;
pub mod disassembly;
pub mod elf;
pub mod gs_kernel;
pub mod header;
pub mod hosted;
pub mod huge_pages;
pub mod initramfs;
pub mod old_glibc;
pub mod old_kernel;
pub mod programs;
pub mod run;
pub mod scratch;
pub mod sections;
pub mod tracer;
