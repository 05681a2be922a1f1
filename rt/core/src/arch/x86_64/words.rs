// SPDX-License-Identifier: MIT OR Apache-2.0
//! Critical sections over more than one word: what librseq has, for words of 8 bytes.
//!
//! `ID` is the distance from `%fs` of the id that indexes areas. Each function acts on the copies
//! that belong to this thread's id, of words whose vCPU 0's copies it is given.

use core::ptr::NonNull;

use super::section_on_copies::section_on_copies;
use crate::access::Access;

/// How one try of a section ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The store committed.
    Committed,
    /// A word is not what was expected. Nothing was committed.
    Different,
    /// It was aborted, or this thread has no valid id. Nothing was committed.
    Refused,
}

/// The section that the functions below share: the index, then `$code`, then `$commit`.
macro_rules! section {
    (
        $access:ident, [$($code:literal),* $(,)?], $commit:literal, $($operands:tt)*
    ) => {{
        // SAFETY: memory is touched at the copies, by the caller's word, and at rseq_cs of this
        // thread's block. What `$code` stores besides the commit is allowed to be seen without it.
        unsafe {
            section_on_copies!(
                (const ID), $access, refused: "{refused}",
                code: [$($code),*],
                commit: $commit,
                abort: ["jmp {refused}"],
                index = out(reg) _,
                refused = label { return Outcome::Refused },
                different = label { return Outcome::Different },
                $($operands)*
            )
        }
        Outcome::Committed
    }};
}

/// Stores `new` where the word is `expected`.
///
/// # Safety
/// The word is inside a live object, aligned, and of the section kind. `%fs` points to a thread
/// block of vcpu-rt.
#[inline(always)]
pub unsafe fn compare_equal_store<const ID: usize>(
    word: NonNull<u64>,
    expected: u64,
    new: u64,
    access: Access,
) -> Outcome {
    section!(
        access,
        ["cmp [{word} + {index}], {expected}", "jne {different}"],
        "mov [{word} + {index}], {new}",
        word = in(reg) word.as_ptr(),
        expected = in(reg) expected,
        new = in(reg) new,
    )
}

/// Stores `value` to `other`, then `new`, where the word is `expected`. `other` may be written
/// although nothing is committed.
///
/// # Safety
/// As for [`compare_equal_store`], both words.
#[inline(always)]
pub unsafe fn compare_equal_store_store<const ID: usize>(
    word: NonNull<u64>,
    expected: u64,
    (other, value): (NonNull<u64>, u64),
    new: u64,
    access: Access,
) -> Outcome {
    section!(
        access,
        [
            "cmp [{word} + {index}], {expected}",
            "jne {different}",
            "mov [{other} + {index}], {value}",
        ],
        "mov [{word} + {index}], {new}",
        word = in(reg) word.as_ptr(),
        expected = in(reg) expected,
        other = in(reg) other.as_ptr(),
        value = in(reg) value,
        new = in(reg) new,
    )
}

/// Stores `new` where the word is `expected` and `other` is `value`.
///
/// # Safety
/// As for [`compare_equal_store`], both words.
#[inline(always)]
pub unsafe fn compare_equal_compare_equal_store<const ID: usize>(
    word: NonNull<u64>,
    expected: u64,
    (other, value): (NonNull<u64>, u64),
    new: u64,
    access: Access,
) -> Outcome {
    section!(
        access,
        [
            "cmp [{word} + {index}], {expected}",
            "jne {different}",
            "cmp [{other} + {index}], {value}",
            "jne {different}",
        ],
        "mov [{word} + {index}], {new}",
        word = in(reg) word.as_ptr(),
        expected = in(reg) expected,
        other = in(reg) other.as_ptr(),
        value = in(reg) value,
        new = in(reg) new,
    )
}

/// Copies `length` bytes to `destination`, a per-vCPU object too, then stores `new`, where the word is
/// `expected`. The bytes may be written although nothing is committed.
///
/// # Safety
/// As for [`compare_equal_store`]; `length` bytes are readable at `source` and inside the object at
/// `destination`.
#[inline(always)]
pub unsafe fn compare_equal_copy_store<const ID: usize>(
    word: NonNull<u64>,
    expected: u64,
    (destination, source, length): (NonNull<u8>, *const u8, usize),
    new: u64,
    access: Access,
) -> Outcome {
    section!(
        access,
        [
            "cmp [{word} + {index}], {expected}",
            "jne {different}",
            // An interrupt in the middle leaves %rip at this instruction: it aborts, and a restart
            // copies from the beginning.
            "lea rdi, [{destination} + {index}]",
            "mov rcx, {length}",
            "rep movsb",
        ],
        "mov [{word} + {index}], {new}",
        word = in(reg) word.as_ptr(),
        expected = in(reg) expected,
        destination = in(reg) destination.as_ptr(),
        length = in(reg) length,
        new = in(reg) new,
        inout("rsi") source => _,
        out("rdi") _,
        out("rcx") _,
    )
}

/// Adds `value` to the word that the pointer in this word points to.
///
/// # Safety
/// As for [`compare_equal_store`]. The copies hold pointers to aligned words that only such
/// sections of the same vCPU change.
#[inline(always)]
pub unsafe fn add_to_pointee<const ID: usize>(
    word: NonNull<u64>,
    value: u64,
    access: Access,
) -> Outcome {
    section!(
        access,
        [
            "mov {index}, [{word} + {index}]",
            "test {index}, {index}",
            "jz {different}",
        ],
        "add qword ptr [{index}], {value}",
        word = in(reg) word.as_ptr(),
        value = in(reg) value,
    )
}

/// Where the word is not `excluded`: stores what is at the address `word + offset` into it, and gives
/// what it was before. `Err` tells why nothing was stored.
///
/// # Safety
/// As for [`compare_equal_store`]. Every value but `excluded` that the copies hold is an address with
/// a readable word at `offset`.
#[inline(always)]
pub unsafe fn compare_not_equal_load_store<const ID: usize>(
    word: NonNull<u64>,
    excluded: u64,
    offset: isize,
    access: Access,
) -> Result<u64, Outcome> {
    let (before, end): (u64, u32);
    // SAFETY: as for `section`. Stable Rust has no labels beside outputs, so `end` tells.
    unsafe {
        section_on_copies!(
            (const ID), access, refused: "775f",
            code: [
                "mov {before}, [{word} + {index}]",
                "cmp {before}, {excluded}",
                "je 776f",
                "mov {next}, [{before} + {offset}]",
            ],
            commit: "mov [{word} + {index}], {next}",
            abort: ["775:", "mov {end:e}, 1", "jmp 772b", "776:", "mov {end:e}, 2", "jmp 772b"],
            index = out(reg) _,
            next = out(reg) _,
            word = in(reg) word.as_ptr(),
            excluded = in(reg) excluded,
            offset = in(reg) offset,
            before = out(reg) before,
            end = inout(reg) 0_u32 => end,
        )
    };
    match end {
        0 => Ok(before),
        1 => Err(Outcome::Refused),
        _ => Err(Outcome::Different),
    }
}
