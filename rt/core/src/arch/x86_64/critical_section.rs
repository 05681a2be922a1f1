// SPDX-License-Identifier: MIT OR Apache-2.0
//! The frame of every rseq critical section: [`critical_section!`](crate::critical_section!).

/// Assembly with one rseq critical section: [`core::arch::asm!`] with the descriptor, the
/// signature, the abort handler and the store to rseq_cs around what the caller writes.
///
/// ```text
/// critical_section!(
///     before: ["instruction", ...],     // optional: outside, first
///     after: ["instruction", ...],      // optional: outside, behind the commit
///     code: ["instruction", ...],       // may be restarted at any point
///     commit: "instruction",            // the one store that makes it true
///     abort: ["instruction", ...],      // continues after an abort; leaves by a jump
///     operands as of asm!
/// )
/// ```
///
/// The section is `code` and `commit`. When the thread is preempted, migrated, or gets a signal
/// inside, the kernel does not resume it there but at `abort`: so until the commit nothing may be
/// changed that a restart cannot repeat, and nothing that others see. After the commit it is
/// done. `code` may leave by a jump before the commit: to a label operand, or into `abort` behind the
/// handler's own jump.
///
/// `abort` is out of the way, in `.text.rseq_abort`, and ends with a jump: to a label operand
/// (`"jmp {aborted}"`), or to behind the commit (`"jmp 772b"`). Labels 771 to 774 are the frame's;
/// the caller's own are other numbers. Stable Rust does not have label operands beside outputs. (`place` is for the
/// runtime's own sections.)
///
/// `{rseq}` is where struct rseq is: [`MM_CID`](crate::arch::MM_CID) and the like are distances from
/// there, so that `"mov {t:e}, fs:[{rseq} + {mm_cid}]"` is right in the no_std form, where it is the constant 0, and
/// in the hosted form, where it is a register. A thread's ids are compared with `Parts::bound`.
///
/// What is checked when it is compiled: `commit` is one instruction with a memory operand; no
/// instruction of the section calls, returns, traps or enters the kernel; nothing touches the
/// stack (`nostack` is set). The complete rules, with two worked examples:
/// `docs/critical-sections.md`.
///
/// # Safety
/// It is `asm!`, and must be in an `unsafe` block. `%fs` points to a thread block of vcpu-rt. The
/// section has an effect by its commit only. Registers that `code` changes are outputs or clobbers,
/// and what it reads after an abort it finds unchanged.
#[macro_export]
macro_rules! critical_section {
    (
        $(place: $place:expr,)?
        $(before: [$($before:expr),+ $(,)?],)?
        $(after: [$($after:expr),+ $(,)?],)?
        code: [$($code:expr),* $(,)?],
        commit: $commit:expr,
        abort: [$($abort:expr),+ $(,)?],
        $($operands:tt)*
    ) => {{
        const { $crate::arch::check_section(&[$($code),*], $commit) };
        $crate::section_asm!($(place: $place,)? [
            $($($before,)+)?
            $crate::set_rseq_cs!("774f"),
            "771:",
            $($code,)*
            $commit,
            "772:",
            $($($after,)+)?
            // The descriptor (struct rseq_cs), where debuggers look for it, and the pointer array
            // beside it (the convention of the kernel's selftests and of librseq). Nothing refers
            // to the array: link order ("o") keeps it as long as the descriptors.
            ".pushsection __rseq_cs, \"aw\"",
            ".balign 32",
            "774:",
            ".long 0, 0",
            ".quad 771b, 772b - 771b, 773f",
            ".popsection",
            ".pushsection __rseq_cs_ptr_array, \"awo\", @progbits, __rseq_cs",
            ".balign 8",
            ".quad 774b",
            ".popsection",
            // The signature is the operand of an instruction that is never executed (ud1), so that
            // a disassembler stays in step.
            ".pushsection .text.rseq_abort, \"ax\"",
            ".byte 0x0f, 0xb9, 0x3d",
            ".long {rseq_signature}",
            "773:",
            $($abort,)+
            ".popsection",]
            rseq_cs_scratch = out(reg) _,
            rseq_cs = const $crate::arch::RSEQ_CS,
            rseq_signature = const $crate::arch::SIGNATURE,
            $($operands)*
            options(nostack),
        )
    }};
}

/// Fails the build where `commit` is not one instruction with a memory operand, or where the
/// section has an instruction that must not be in one.
#[doc(hidden)]
pub const fn check_section(code: &[&str], commit: &str) {
    let text = commit.as_bytes();
    let mut index = 0;
    let mut memory = false;
    while index < text.len() {
        assert!(
            text[index] != b'\n' && text[index] != b';',
            "the commit of a critical section is one instruction"
        );
        memory |= text[index] == b'[';
        index += 1;
    }
    assert!(
        memory,
        "the commit of a critical section has a memory operand"
    );
    check_instructions(commit);
    let mut line = 0;
    while line < code.len() {
        check_instructions(code[line]);
        line += 1;
    }
}

/// Mnemonics that a critical section must not have: the kernel kills a process that enters it
/// from within one (with CONFIG_DEBUG_RSEQ, and on a trap), and a call or return leaves the range.
const FORBIDDEN: [&str; 16] = [
    "call", "ret", "syscall", "sysenter", "sysret", "int", "int3", "iret", "iretq", "ud2", "hlt",
    "push", "pop", "enter", "leave", "vmcall",
];

const fn check_instructions(text: &str) {
    let text = text.as_bytes();
    let mut start = 0;
    while start < text.len() {
        let mut end = start;
        while end < text.len() && (text[end].is_ascii_alphanumeric() || text[end] == b'_') {
            end += 1;
        }
        let mut word = 0;
        while word < FORBIDDEN.len() {
            assert!(
                !is_word(text, start, end, FORBIDDEN[word].as_bytes()),
                "a critical section must not call, return, trap, enter the kernel or use the stack"
            );
            word += 1;
        }
        start = end + 1;
    }
}

/// Whether `text[start..end]` is `word`.
const fn is_word(text: &[u8], start: usize, end: usize, word: &[u8]) -> bool {
    if end - start != word.len() {
        return false;
    }
    let mut index = 0;
    while index < word.len() {
        if !text[start + index].eq_ignore_ascii_case(&word[index]) {
            return false;
        }
        index += 1;
    }
    true
}
