// SPDX-License-Identifier: MIT OR Apache-2.0
//! Updates of one word of 1, 2, 4 or 8 bytes: each as one `%gs:` instruction, as a critical section
//! whose commit is that instruction, and as a locked one.

use core::ptr::NonNull;
use core::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering};

use super::section_on_copies::section_on_copies;
use super::{CPU_ID, MM_CID};
use crate::access::{Access, Way};

/// An unsigned integer as wide as a word.
///
/// Each function tries one update of this thread's copy of the word whose vCPU 0's copy is at
/// `word`: [`Way::Locked`] acts on `word` itself. `None`: nothing was changed.
///
/// # Safety
/// Of each function: `word` is inside a live object, aligned. [`Way::Gs`]: the GS mode is on.
/// [`Way::MmCid`] and [`Way::CpuId`]: `%fs` points to a thread block of vcpu-rt, and for every id
/// below the bound of `access` the copy is only written by such sections.
pub trait Raw: Copy + Eq {
    /// The copy's value.
    ///
    /// # Safety
    /// See [`Raw`].
    unsafe fn load(way: Way, word: NonNull<Self>, access: Access) -> Option<Self>;
    /// Writes `value`.
    ///
    /// # Safety
    /// See [`Raw`].
    unsafe fn store(way: Way, word: NonNull<Self>, value: Self, access: Access) -> Option<()>;
    /// Adds `value`, wrapping.
    ///
    /// # Safety
    /// See [`Raw`].
    unsafe fn add(way: Way, word: NonNull<Self>, value: Self, access: Access) -> Option<()>;
    /// Ands with `value`.
    ///
    /// # Safety
    /// See [`Raw`].
    unsafe fn and(way: Way, word: NonNull<Self>, value: Self, access: Access) -> Option<()>;
    /// Ors with `value`.
    ///
    /// # Safety
    /// See [`Raw`].
    unsafe fn or(way: Way, word: NonNull<Self>, value: Self, access: Access) -> Option<()>;
    /// Exclusive-ors with `value`.
    ///
    /// # Safety
    /// See [`Raw`].
    unsafe fn xor(way: Way, word: NonNull<Self>, value: Self, access: Access) -> Option<()>;
    /// Adds `value`, wrapping, and gives what was there before.
    ///
    /// # Safety
    /// See [`Raw`].
    unsafe fn fetch_add(way: Way, word: NonNull<Self>, value: Self, access: Access)
    -> Option<Self>;
    /// Writes `value` and gives what was there before.
    ///
    /// # Safety
    /// See [`Raw`].
    unsafe fn exchange(way: Way, word: NonNull<Self>, value: Self, access: Access) -> Option<Self>;
    /// Writes `new` where the copy is `old`, and gives what was there before.
    ///
    /// # Safety
    /// See [`Raw`].
    unsafe fn compare_exchange(
        way: Way,
        word: NonNull<Self>,
        old: Self,
        new: Self,
        access: Access,
    ) -> Option<Self>;
    /// The same in a section by the id that is so many bytes from struct rseq: [`MM_CID`] or [`CPU_ID`], in
    /// code that is small rather than fast.
    ///
    /// # Safety
    /// See [`Raw`].
    unsafe fn compare_exchange_by(
        id: usize,
        word: NonNull<Self>,
        old: Self,
        new: Self,
        access: Access,
    ) -> Option<Self>;
}

/// One update by `$way`: `$gs` by one `%gs:` instruction; `$section` by a section, in which `ID` is the id's
/// distance; `$locked` by a locked instruction. The parameters stand as the section takes them.
macro_rules! by_way {
    (
        $way:ident, ($($parameter:ident: $type:ty),*) -> $output:ty,
        gs: $gs:expr, section: $section:expr, locked: $locked:expr
    ) => {{
        /// # Safety
        /// See [`Raw`].
        #[inline(always)]
        unsafe fn in_section<const ID: usize>($($parameter: $type),*) -> Option<$output> {
            $section
        }
        match $way {
            Way::Gs => Some($gs),
            // SAFETY: by the caller's word.
            Way::MmCid => unsafe { in_section::<MM_CID>($($parameter),*) },
            // SAFETY: by the caller's word.
            Way::CpuId => unsafe { in_section::<CPU_ID>($($parameter),*) },
            Way::Locked => Some($locked),
        }
    }};
}

/// A section with no output: `$commit` with the copy's address and the operand `value`.
macro_rules! change_in_section {
    ($commit:expr, $class:ident, $word:ident, $value:ident, $access:ident) => {{
        // SAFETY: memory is touched at the copy, by the caller's word, and at rseq_cs of this thread's
        // block. Only the commit changes anything.
        unsafe {
            section_on_copies!(
                (const ID), $access, refused: "{refused}",
                code: [],
                commit: $commit,
                abort: ["jmp {refused}"],
                index = out(reg) _,
                word = in(reg) $word.as_ptr(),
                value = in($class) $value,
                refused = label { return None },
            )
        }
        Some(())
    }};
}

/// A section with an output, which stable Rust does not allow beside labels: so `refused` tells.
/// `$code` and `$commit` have the copy's address and the caller's operands.
macro_rules! fetch_in_section {
    (
        $id:tt, [$($code:expr),*], $commit:expr, $word:ident, $access:ident, $result:ident,
        $($operands:tt)*
    ) => {{
        let refused: u32;
        // SAFETY: as for a section without output.
        unsafe {
            section_on_copies!(
                $id, $access, refused: "775f",
                code: [$($code),*],
                commit: $commit,
                abort: ["775:", "mov {refused:e}, 1", "jmp 772b"],
                index = out(reg) _,
                word = in(reg) $word.as_ptr(),
                refused = inout(reg) 0_u32 => refused,
                $($operands)*
            )
        };
        if refused == 0 { Some($result) } else { None }
    }};
}

/// One `%gs:` instruction. Preemption, migration and signals come before it or after it.
macro_rules! by_gs {
    ($($template:expr),+; $word:ident, $($operands:tt)*) => {
        // SAFETY: touches memory at the copy alone, by the caller's word. No lock: no other CPU has
        // this mm_cid meanwhile. No stack; flags are clobbered by default; memory is a side effect.
        unsafe {
            core::arch::asm!(
                $($template,)+
                word = in(reg) $word.as_ptr(),
                $($operands)*
                options(nostack),
            )
        }
    };
}

/// The word of an area whose words are changed by locked instructions only.
macro_rules! shared {
    ($atomic:ty, $word:ident) => {
        // SAFETY: the caller's word.
        unsafe { <$atomic>::from_ptr($word.as_ptr()) }
    };
}

macro_rules! change {
    (
        $name:ident, $instruction:literal, $raw:ty, $atomic:ty, |$cell:ident, $operand:ident| $locked:expr,
        $size:literal, $class:ident, $modifier:literal
    ) => {
        #[inline(always)]
        unsafe fn $name(way: Way, word: NonNull<$raw>, value: $raw, access: Access) -> Option<()> {
            by_way!(
                way, (word: NonNull<$raw>, value: $raw, access: Access) -> (),
                gs: by_gs!(
                    concat!($instruction, " ", $size, " ptr gs:[{word}], {value", $modifier, "}");
                    word, value = in($class) value,
                ),
                section: change_in_section!(
                    concat!($instruction, " ", $size, " ptr [{word} + {index}], {value", $modifier, "}"),
                    $class, word, value, access
                ),
                locked: {
                    let ($cell, $operand) = (shared!($atomic, word), value);
                    $locked;
                }
            )
        }
    };
}

macro_rules! raw {
    ($raw:ty, $atomic:ty, $size:literal, $class:ident, $modifier:literal, $rax:tt) => {
        impl Raw for $raw {
            change!(store, "mov", $raw, $atomic, |cell, value| cell.store(value, Ordering::Release), $size, $class, $modifier);
            change!(add, "add", $raw, $atomic, |cell, value| cell.fetch_add(value, Ordering::AcqRel), $size, $class, $modifier);
            change!(and, "and", $raw, $atomic, |cell, value| cell.fetch_and(value, Ordering::AcqRel), $size, $class, $modifier);
            change!(or, "or", $raw, $atomic, |cell, value| cell.fetch_or(value, Ordering::AcqRel), $size, $class, $modifier);
            change!(xor, "xor", $raw, $atomic, |cell, value| cell.fetch_xor(value, Ordering::AcqRel), $size, $class, $modifier);

            #[inline(always)]
            unsafe fn load(way: Way, word: NonNull<$raw>, access: Access) -> Option<$raw> {
                by_way!(
                    way, (word: NonNull<$raw>, access: Access) -> $raw,
                    gs: {
                        let value: $raw;
                        by_gs!(
                            concat!("mov {value", $modifier, "}, ", $size, " ptr gs:[{word}]");
                            word, value = out($class) value,
                        );
                        value
                    },
                    section: {
                        let value: $raw;
                        fetch_in_section!(
                            (const ID), [],
                            concat!("mov {value", $modifier, "}, ", $size, " ptr [{word} + {index}]"),
                            word, access, value, value = out($class) value,
                        )
                    },
                    locked: shared!($atomic, word).load(Ordering::Acquire)
                )
            }

            #[inline(always)]
            unsafe fn fetch_add(
                way: Way, word: NonNull<$raw>, value: $raw, access: Access,
            ) -> Option<$raw> {
                by_way!(
                    way, (word: NonNull<$raw>, value: $raw, access: Access) -> $raw,
                    gs: {
                        let before: $raw;
                        by_gs!(
                            concat!("xadd ", $size, " ptr gs:[{word}], {value", $modifier, "}");
                            word, value = inout($class) value => before,
                        );
                        before
                    },
                    section: {
                        let before: $raw;
                        fetch_in_section!(
                            (const ID), [],
                            concat!("xadd ", $size, " ptr [{word} + {index}], {value", $modifier, "}"),
                            word, access, before, value = inout($class) value => before,
                        )
                    },
                    locked: shared!($atomic, word).fetch_add(value, Ordering::AcqRel)
                )
            }

            #[inline(always)]
            unsafe fn exchange(
                way: Way, word: NonNull<$raw>, value: $raw, access: Access,
            ) -> Option<$raw> {
                by_way!(
                    way, (word: NonNull<$raw>, value: $raw, access: Access) -> $raw,
                    // Not xchg, which locks whether told or not.
                    gs: {
                        let before: $raw;
                        by_gs!(
                            concat!("mov ", $rax, ", ", $size, " ptr gs:[{word}]"),
                            "20:",
                            concat!("cmpxchg ", $size, " ptr gs:[{word}], {value", $modifier, "}"),
                            "jne 20b";
                            word, value = in($class) value, out($rax) before,
                        );
                        before
                    },
                    section: {
                        let before: $raw;
                        fetch_in_section!(
                            (const ID), [concat!("mov {before", $modifier, "}, ", $size, " ptr [{word} + {index}]")],
                            concat!("mov ", $size, " ptr [{word} + {index}], {value", $modifier, "}"),
                            word, access, before,
                            value = in($class) value, before = out($class) before,
                        )
                    },
                    locked: shared!($atomic, word).swap(value, Ordering::AcqRel)
                )
            }

            #[inline(always)]
            unsafe fn compare_exchange(
                way: Way, word: NonNull<$raw>, old: $raw, new: $raw, access: Access,
            ) -> Option<$raw> {
                by_way!(
                    way, (word: NonNull<$raw>, old: $raw, new: $raw, access: Access) -> $raw,
                    gs: {
                        let before: $raw;
                        by_gs!(
                            concat!("cmpxchg ", $size, " ptr gs:[{word}], {new", $modifier, "}");
                            word, new = in($class) new, inout($rax) old => before,
                        );
                        before
                    },
                    section: {
                        let before: $raw;
                        fetch_in_section!(
                            (const ID), [],
                            concat!("cmpxchg ", $size, " ptr [{word} + {index}], {new", $modifier, "}"),
                            word, access, before, new = in($class) new, inout($rax) old => before,
                        )
                    },
                    locked: {
                        let (success, failure) = (Ordering::AcqRel, Ordering::Acquire);
                        match shared!($atomic, word).compare_exchange(old, new, success, failure) {
                            Ok(before) | Err(before) => before,
                        }
                    }
                )
            }

            #[inline(always)]
            unsafe fn compare_exchange_by(
                id: usize, word: NonNull<$raw>, old: $raw, new: $raw, access: Access,
            ) -> Option<$raw> {
                let before: $raw;
                fetch_in_section!(
                    (in(reg) id), [],
                    concat!("cmpxchg ", $size, " ptr [{word} + {index}], {new", $modifier, "}"),
                    word, access, before, new = in($class) new, inout($rax) old => before,
                )
            }
        }
    };
}

raw!(u8, AtomicU8, "byte", reg_byte, "", "al");
raw!(u16, AtomicU16, "word", reg, ":x", "ax");
raw!(u32, AtomicU32, "dword", reg, ":e", "eax");
raw!(u64, AtomicU64, "qword", reg, ":r", "rax");

/// The eight bytes at `word`, in a section by the id that is so many bytes from struct rseq: in code that is
/// small rather than fast.
///
/// # Safety
/// See [`Raw`].
#[inline(always)]
pub unsafe fn load_by(id: usize, word: NonNull<u64>, access: Access) -> Option<u64> {
    let value: u64;
    fetch_in_section!(
        (in(reg) id), [], "mov {value}, [{word} + {index}]",
        word, access, value, value = out(reg) value,
    )
}
