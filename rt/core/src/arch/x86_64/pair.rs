// SPDX-License-Identifier: MIT OR Apache-2.0
//! Compare and exchange of 16 bytes.

use core::arch::asm;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU8, Ordering};

use super::{CPU_ID, MM_CID};
use crate::access::{Access, Way};
use crate::critical_section;

/// Whether the processor has cmpxchg16b (CPUID 1, ECX bit 13; AT_HWCAP does not show it). Asked once:
/// CPUID traps under a hypervisor.
pub fn has_cmpxchg16b() -> bool {
    const UNKNOWN: u8 = 0;
    const NO: u8 = 1;
    const YES: u8 = 2;
    static ANSWER: AtomicU8 = AtomicU8::new(UNKNOWN);
    let answer = ANSWER.load(Ordering::Relaxed);
    if answer != UNKNOWN {
        return answer == YES;
    }
    let has = core::arch::x86_64::__cpuid(1).ecx & 1 << 13 != 0;
    ANSWER.store(if has { YES } else { NO }, Ordering::Relaxed);
    has
}

/// One instruction on memory. rbx, which LLVM keeps for itself, has its value back behind it. No stack; flags are
/// clobbered by default.
macro_rules! by_instruction {
    ($instruction:literal, $words:ident, $old:ident, $new:ident) => {{
        let (low, high): (u64, u64);
        asm!(
            "xchg rsi, rbx",
            $instruction,
            "mov rbx, rsi",
            in("rdi") $words.as_ptr(),
            inout("rsi") $new[0] => _,
            in("rcx") $new[1],
            inout("rax") $old[0] => low,
            inout("rdx") $old[1] => high,
            options(nostack),
        );
        [low, high]
    }};
}

/// Writes `new` where this thread's copy of the words is `old`, and gives what was there before.
/// `None`: nothing was changed.
///
/// # Safety
/// As for [`super::Raw`], of two words aligned to 16; the processor has the instruction.
#[inline(always)]
pub unsafe fn compare_exchange_pair(
    way: Way,
    words: NonNull<[u64; 2]>,
    old: [u64; 2],
    new: [u64; 2],
    access: Access,
) -> Option<[u64; 2]> {
    // SAFETY: by the caller's word.
    unsafe {
        match way {
            Way::Gs => Some(by_instruction!("cmpxchg16b gs:[rdi]", words, old, new)),
            Way::Locked => Some(by_instruction!("lock cmpxchg16b [rdi]", words, old, new)),
            Way::MmCid => in_section::<MM_CID>(words, old, new, access),
            Way::CpuId => in_section::<CPU_ID>(words, old, new, access),
        }
    }
}

/// # Safety
/// As for [`compare_exchange_pair`].
#[inline(always)]
unsafe fn in_section<const ID: usize>(
    words: NonNull<[u64; 2]>,
    old: [u64; 2],
    new: [u64; 2],
    access: Access,
) -> Option<[u64; 2]> {
    let (low, high): (u64, u64);
    let refused: u32;
    // SAFETY: memory is touched at the copy, by the caller's word, and at rseq_cs. rbx, which no operand
    // may name but any `reg` may be (the scratch register is one, `rseq` of the hosted form another), is changed
    // behind the last use of those, and restored behind the section, where every way out comes along. rcx is the stride at
    // first, and then the upper new word.
    unsafe {
        critical_section!(
            place: access.place(),
            before: ["mov r10, rbx"],
            after: ["mov rbx, r10"],
            code: [
                "mov r8d, fs:[{rseq} + {id}]",
                "cmp r8d, r9d",
                "jae 775f",
                "imul r8, rcx",
                "mov rcx, r11",
                "mov rbx, rsi",
            ],
            commit: "cmpxchg16b [rdi + r8]",
            abort: ["775:", "mov r12d, 1", "jmp 772b"],
            id = const ID,
            in("rdi") words.as_ptr(),
            in("rsi") new[0],
            in("r9") access.bound(),
            in("r11") new[1],
            out("r8") _,
            out("r10") _,
            inout("rcx") access.stride() => _,
            inout("rax") old[0] => low,
            inout("rdx") old[1] => high,
            inout("r12") 0_u32 => refused,
        )
    };
    (refused == 0).then_some([low, high])
}
