// SPDX-License-Identifier: MIT OR Apache-2.0
//! A critical section that does nothing for a while, with a descriptor that is made at run time, so
//! that it can be wrong.

use core::arch::global_asm;
use core::sync::atomic::AtomicU64;

use linux_raw_sys::general::__NR_nanosleep;
use vcpu_abi::{RSEQ_OFFSET, RSEQ_SIG, Rseq, RseqCs};
use vcpu_test_programs::syscall::thread_pointer;

/// How a section ended.
#[repr(u64)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// At its end.
    Committed = 0,
    /// At the abort handler with the signature.
    Aborted = 1,
}

// Stores the first argument in rseq_cs. Then comes the section: it stores the fifth argument where the
// fourth one points to, counts the second one down, and commits by a 1 where the third one points
// to. Two abort handlers: one has the signature before it, the other has not. The second function's
// section sleeps.
global_asm!(
    ".pushsection .text.rules, \"ax\"",
    "rules_spin:",
    "mov fs:[{rseq_cs}], rdi",
    "rules_start:",
    "mov [rcx], r8",
    "2:",
    "dec rsi",
    "jnz 2b",
    "mov qword ptr [rdx], 1",
    "rules_end:",
    "xor eax, eax",
    "ret",
    ".byte 0x0f, 0xb9, 0x3d",
    ".long {signature}",
    "rules_abort:",
    "mov eax, 1",
    "ret",
    "ud2",
    "ud2",
    "rules_unsigned:",
    "ud2",
    "rules_sleep:",
    "mov fs:[{rseq_cs}], rdi",
    "rules_sleep_start:",
    "mov rdi, rsi",
    "xor esi, esi",
    "mov eax, {nanosleep}",
    "syscall",
    // Where the system call returns to, and still in the section.
    "nop",
    "rules_sleep_end:",
    "xor eax, eax",
    "ret",
    ".popsection",
    nanosleep = const __NR_nanosleep,
    rseq_cs = const RSEQ_OFFSET + Rseq::RSEQ_CS_OFFSET,
    signature = const RSEQ_SIG,
);

unsafe extern "C" {
    fn rules_spin(
        rseq_cs: u64,
        turns: u64,
        committed: *const AtomicU64,
        begun: *const AtomicU64,
        number: u64,
    ) -> End;
    fn rules_sleep(rseq_cs: u64, time: *const i64) -> End;
    safe static rules_sleep_start: u8;
    safe static rules_sleep_end: u8;
    safe static rules_start: u8;
    safe static rules_end: u8;
    safe static rules_abort: u8;
    safe static rules_unsigned: u8;
}

/// Where the abort handler is that has no signature.
pub fn unsigned_abort_ip() -> u64 {
    (&raw const rules_unsigned).addr() as u64
}

/// The section's descriptor as it must be.
pub fn right() -> RseqCs {
    let start_ip = (&raw const rules_start).addr() as u64;
    RseqCs {
        version: 0,
        flags: 0,
        start_ip,
        post_commit_offset: (&raw const rules_end).addr() as u64 - start_ip,
        abort_ip: (&raw const rules_abort).addr() as u64,
    }
}

/// Runs the section with this descriptor.
pub fn spin(descriptor: &RseqCs, turns: u64) -> End {
    let committed = AtomicU64::new(0);
    let place = (&raw const *descriptor).expose_provenance() as u64;
    let end = spin_at(place, turns, &committed, (&AtomicU64::new(0), 0));
    assert_eq!(committed.into_inner(), u64::from(end == End::Committed));
    end
}

/// Sleeps for a millisecond in a section.
pub fn sleep_in_section() -> End {
    let start_ip = (&raw const rules_sleep_start).addr() as u64;
    let descriptor = RseqCs {
        start_ip,
        post_commit_offset: (&raw const rules_sleep_end).addr() as u64 - start_ip,
        ..right()
    };
    let time = [0_i64, 1_000_000];
    // SAFETY: as `rules_spin`, but for the system call, which reads a time, and clobbers what a
    // function may.
    let end = unsafe {
        rules_sleep(
            (&raw const descriptor).expose_provenance() as u64,
            time.as_ptr(),
        )
    };
    // The descriptor ends here.
    set_rseq_cs(0);
    end
}

/// Runs the section with the descriptor at an address, where there may be none. It writes `number` to
/// `begun` at its beginning, and 1 to `committed` at its end.
pub fn spin_at(
    rseq_cs: u64,
    turns: u64,
    committed: &AtomicU64,
    (begun, number): (&AtomicU64, u64),
) -> End {
    // SAFETY: it changes registers that the C ABI lets it change, rseq_cs and the two words. What the
    // kernel makes of rseq_cs is what the callers are about.
    unsafe { rules_spin(rseq_cs, turns, committed, begun, number) }
}

/// The calling thread's area.
pub fn area() -> *mut Rseq {
    core::ptr::with_exposed_provenance_mut(thread_pointer() + RSEQ_OFFSET)
}

/// What is in rseq_cs.
pub fn rseq_cs() -> u64 {
    // SAFETY: the calling thread's own area.
    unsafe { (&raw const (*area()).rseq_cs).read_volatile() }
}

/// Writes rseq_cs.
pub fn set_rseq_cs(value: u64) {
    // SAFETY: as above. What the kernel makes of it is what the callers are about.
    unsafe { (&raw mut (*area()).rseq_cs).write_volatile(value) };
}
