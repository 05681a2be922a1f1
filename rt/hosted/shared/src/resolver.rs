// SPDX-License-Identifier: MIT OR Apache-2.0
//! The start on glibc: the resolver of one word with an IFUNC-typed relocation, which ld.so calls when
//! it has relocated this library, and before it copies anything of it into the executable.
//!
//! Nothing of the C library is called, and no thread-local touched: ld.so initializes those later.

use core::arch::global_asm;
use core::ptr;

use vcpu_rt_hosted::address_if_there;
use vcpu_rt_hosted::choice::Situation;
use vcpu_rt_hosted::environment::Environment;
use vcpu_rt_hosted::start;
use vcpu_rt_hosted::symbols;

use crate::program::{self, Program};
use crate::their_symbols::TheirSymbols;

// The resolver as a function of that type, local to the library, and the word that it is for. The linker makes
// R_X86_64_IRELATIVE of it. `cargo xtask dist` asks for the word by name; on musl, whose ld.so does not
// know the relocation, nobody does, and it is not linked.
global_asm!(
    ".pushsection .text.__vcpu_rt_resolver, \"ax\", @progbits",
    ".globl __vcpu_rt_resolver",
    ".hidden __vcpu_rt_resolver",
    ".type __vcpu_rt_resolver, @gnu_indirect_function",
    ".set __vcpu_rt_resolver, {resolve}",
    ".popsection",
    ".pushsection .data.rel.ro.vcpu_resolved, \"aw\", @progbits",
    ".balign 8",
    ".globl __vcpu_rt_resolved",
    ".hidden __vcpu_rt_resolved",
    ".type __vcpu_rt_resolved, @object",
    ".size __vcpu_rt_resolved, 8",
    "__vcpu_rt_resolved: .quad __vcpu_rt_resolver",
    ".popsection",
    resolve = sym resolve,
);

/// Its result is stored in the word, which nobody reads.
extern "C" fn resolve() -> usize {
    let stack = address_if_there!("__libc_stack_end");
    if stack == 0 || start::is_started() {
        return 0;
    }
    let program = Program::current();
    let comes_first = program.as_ref().is_some_and(Program::shows_ours);
    // What is loaded later comes behind ld.so. Libc's memory is not touched where that tells.
    let is_starting = comes_first || program::is_starting();
    let their_symbols = program.and_then(|program| TheirSymbols::of(program.loader()));
    let situation = Situation {
        is_active: false,
        is_announced: comes_first || their_symbols.is_some(),
        comes_first,
        can_be_unloaded: false,
    };
    let theirs = their_symbols.as_ref().and_then(TheirSymbols::read);
    // SAFETY: ld.so's variable points to the initial stack. It relocates each object once, under its lock.
    unsafe {
        let stack = *ptr::with_exposed_provenance::<*const usize>(stack);
        let environment = Environment::of_initial_stack(stack);
        let rseq = start::start(&environment, theirs, situation);
        if let Some(symbols) = their_symbols
            && start::is_owner()
        {
            symbols.write(&rseq, is_starting);
        }
        symbols::fill_own(rseq);
    }
    1
}
