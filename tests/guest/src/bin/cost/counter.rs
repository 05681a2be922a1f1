// SPDX-License-Identifier: MIT OR Apache-2.0
//! The time-stamp counter as a counter of instructions.

use core::arch::asm;
use core::arch::x86_64::_rdtsc;

/// Instructions so far, of user and kernel.
pub fn now() -> u64 {
    // SAFETY: every x86-64 processor has the instruction, and no program here forbids it.
    unsafe { _rdtsc() }
}

/// Instructions from one `rdtsc` to another behind two moves and `NOPS` nops: the least of a few
/// attempts, as an interrupt may fall into one.
fn count_nops<const NOPS: usize>() -> u32 {
    let attempt = || {
        let count: u32;
        // SAFETY: registers only. The upper half of the counter may differ, but the difference of
        // the lower halves is right.
        unsafe {
            asm!(
                "rdtsc",
                "mov {start:e}, eax",
                ".rept {nops}",
                "nop",
                ".endr",
                "rdtsc",
                "sub eax, {start:e}",
                start = out(reg) _,
                nops = const NOPS,
                out("eax") count,
                out("edx") _,
                options(nomem, nostack),
            );
        }
        count
    };
    (0..5).map(|_| attempt()).min().unwrap_or(0)
}

/// Whether the counter advances by exactly one with each instruction.
pub fn counts_instructions() -> Result<(), &'static str> {
    let none = count_nops::<0>();
    let exact = [
        (count_nops::<1>(), 1),
        (count_nops::<2>(), 2),
        (count_nops::<100>(), 100),
        (count_nops::<1000>(), 1000),
    ];
    if exact.iter().all(|(count, nops)| *count == none + nops) {
        Ok(())
    } else {
        Err("the time-stamp counter does not count instructions: not under -icount shift=0")
    }
}

/// The median of an odd number of lengths.
pub fn median(lengths: &mut [u64]) -> u64 {
    let middle = lengths.len() / 2;
    *lengths.select_nth_unstable(middle).1
}
