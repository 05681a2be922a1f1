// SPDX-License-Identifier: MIT OR Apache-2.0
//! Updates of one word of 1, 2, 4 or 8 bytes: each as one `%gs:` instruction, as a critical section
//! whose commit is that instruction, and as a locked one.

use core::ptr::NonNull;
use core::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering};

use super::{CPU_ID, MM_CID};
use crate::access::{Access, Way};
use crate::critical_section;

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
}

/// A section with no output: `$commit` with the copy's address and the operand `value`.
macro_rules! change_in_section {
    ($id:expr, $commit:expr, $class:ident, $word:ident, $value:ident, $access:ident) => {{
        // SAFETY: memory is touched at the copy, by the caller's word, and at rseq_cs of this thread's
        // block. Only the commit changes anything. One comparison tests registration and range: an
        // unregistered block holds all ones in both ids, and after a failed execve Linux 7.3 shows
        // mm_cid = 0x80000000 until the next switch.
        unsafe {
            critical_section!(
                code: [
                    "mov {index:e}, fs:[{rseq} + {id}]",
                    "cmp {index:e}, {bound:e}",
                    "jae {refused}",
                    "shl {index}, cl",
                ],
                commit: $commit,
                abort: ["jmp {refused}"],
                index = out(reg) _,
                id = const $id,
                word = in(reg) $word.as_ptr(),
                value = in($class) $value,
                bound = in(reg) $access.bound(),
                in("cl") $access.shift() as u8,
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
        $id:expr, [$($code:expr),*], $commit:expr, $word:ident, $access:ident, $result:ident,
        $($operands:tt)*
    ) => {{
        let refused: u32;
        // SAFETY: as for a section without output.
        unsafe {
            critical_section!(
                code: [
                    "mov {index:e}, fs:[{rseq} + {id}]",
                    "cmp {index:e}, {bound:e}",
                    "jae 775f",
                    "shl {index}, cl",
                    $($code),*
                ],
                commit: $commit,
                abort: ["775:", "mov {refused:e}, 1", "jmp 772b"],
                index = out(reg) _,
                id = const $id,
                word = in(reg) $word.as_ptr(),
                bound = in(reg) $access.bound(),
                in("cl") $access.shift() as u8,
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

macro_rules! change {
    (
        $name:ident, $instruction:literal, $atomic:ty, |$cell:ident, $operand:ident| $locked:expr,
        $size:literal, $class:ident, $modifier:literal
    ) => {
        #[inline(always)]
        unsafe fn $name(
            way: Way,
            word: NonNull<Self>,
            value: Self,
            access: Access,
        ) -> Option<()> {
            match way {
                Way::Gs => {
                    by_gs!(
                        concat!($instruction, " ", $size, " ptr gs:[{word}], {value", $modifier, "}");
                        word, value = in($class) value,
                    );
                    Some(())
                }
                Way::MmCid => {
                    change_in_section!(
                        MM_CID,
                        concat!(
                            $instruction, " ", $size, " ptr [{word} + {index}], {value", $modifier, "}"
                        ),
                        $class, word, value, access
                    )
                }
                Way::CpuId => {
                    change_in_section!(
                        CPU_ID,
                        concat!(
                            $instruction, " ", $size, " ptr [{word} + {index}], {value", $modifier, "}"
                        ),
                        $class, word, value, access
                    )
                }
                Way::Locked => {
                    // SAFETY: the caller's word, which is written by locked instructions only.
                    let $cell = unsafe { <$atomic>::from_ptr(word.as_ptr()) };
                    let $operand = value;
                    $locked;
                    Some(())
                }
            }
        }
    };
}

macro_rules! raw {
    ($raw:ty, $atomic:ty, $size:literal, $class:ident, $modifier:literal, $rax:tt) => {
        impl Raw for $raw {
            change!(store, "mov", $atomic, |cell, value| cell.store(value, Ordering::Release), $size, $class, $modifier);
            change!(add, "add", $atomic, |cell, value| cell.fetch_add(value, Ordering::AcqRel), $size, $class, $modifier);
            change!(and, "and", $atomic, |cell, value| cell.fetch_and(value, Ordering::AcqRel), $size, $class, $modifier);
            change!(or, "or", $atomic, |cell, value| cell.fetch_or(value, Ordering::AcqRel), $size, $class, $modifier);
            change!(xor, "xor", $atomic, |cell, value| cell.fetch_xor(value, Ordering::AcqRel), $size, $class, $modifier);

            #[inline(always)]
            unsafe fn load(way: Way, word: NonNull<Self>, access: Access) -> Option<Self> {
                let value: Self;
                match way {
                    Way::Gs => {
                        by_gs!(
                            concat!("mov {value", $modifier, "}, ", $size, " ptr gs:[{word}]");
                            word, value = out($class) value,
                        );
                        Some(value)
                    }
                    Way::MmCid => fetch_in_section!(
                        MM_CID, [],
                        concat!("mov {value", $modifier, "}, ", $size, " ptr [{word} + {index}]"),
                        word, access, value, value = out($class) value,
                    ),
                    Way::CpuId => fetch_in_section!(
                        CPU_ID, [],
                        concat!("mov {value", $modifier, "}, ", $size, " ptr [{word} + {index}]"),
                        word, access, value, value = out($class) value,
                    ),
                    Way::Locked => {
                        // SAFETY: the caller's word.
                        Some(unsafe { <$atomic>::from_ptr(word.as_ptr()) }.load(Ordering::Acquire))
                    }
                }
            }

            #[inline(always)]
            unsafe fn fetch_add(
                way: Way, word: NonNull<Self>, value: Self, access: Access,
            ) -> Option<Self> {
                let before: Self;
                match way {
                    Way::Gs => {
                        by_gs!(
                            concat!("xadd ", $size, " ptr gs:[{word}], {value", $modifier, "}");
                            word, value = inout($class) value => before,
                        );
                        Some(before)
                    }
                    Way::MmCid => fetch_in_section!(
                        MM_CID, [],
                        concat!("xadd ", $size, " ptr [{word} + {index}], {value", $modifier, "}"),
                        word, access, before, value = inout($class) value => before,
                    ),
                    Way::CpuId => fetch_in_section!(
                        CPU_ID, [],
                        concat!("xadd ", $size, " ptr [{word} + {index}], {value", $modifier, "}"),
                        word, access, before, value = inout($class) value => before,
                    ),
                    Way::Locked => {
                        // SAFETY: the caller's word.
                        let cell = unsafe { <$atomic>::from_ptr(word.as_ptr()) };
                        Some(cell.fetch_add(value, Ordering::AcqRel))
                    }
                }
            }

            #[inline(always)]
            unsafe fn exchange(
                way: Way, word: NonNull<Self>, value: Self, access: Access,
            ) -> Option<Self> {
                let before: Self;
                match way {
                    // Not xchg, which locks whether told or not.
                    Way::Gs => {
                        by_gs!(
                            concat!("mov ", $rax, ", ", $size, " ptr gs:[{word}]"),
                            "20:",
                            concat!("cmpxchg ", $size, " ptr gs:[{word}], {value", $modifier, "}"),
                            "jne 20b";
                            word, value = in($class) value, out($rax) before,
                        );
                        Some(before)
                    }
                    Way::MmCid => fetch_in_section!(
                        MM_CID,
                        [concat!("mov {before", $modifier, "}, ", $size, " ptr [{word} + {index}]")],
                        concat!("mov ", $size, " ptr [{word} + {index}], {value", $modifier, "}"),
                        word, access, before,
                        value = in($class) value, before = out($class) before,
                    ),
                    Way::CpuId => fetch_in_section!(
                        CPU_ID,
                        [concat!("mov {before", $modifier, "}, ", $size, " ptr [{word} + {index}]")],
                        concat!("mov ", $size, " ptr [{word} + {index}], {value", $modifier, "}"),
                        word, access, before,
                        value = in($class) value, before = out($class) before,
                    ),
                    Way::Locked => {
                        // SAFETY: the caller's word.
                        let cell = unsafe { <$atomic>::from_ptr(word.as_ptr()) };
                        Some(cell.swap(value, Ordering::AcqRel))
                    }
                }
            }

            #[inline(always)]
            unsafe fn compare_exchange(
                way: Way, word: NonNull<Self>, old: Self, new: Self, access: Access,
            ) -> Option<Self> {
                let before: Self;
                match way {
                    Way::Gs => {
                        by_gs!(
                            concat!("cmpxchg ", $size, " ptr gs:[{word}], {new", $modifier, "}");
                            word, new = in($class) new, inout($rax) old => before,
                        );
                        Some(before)
                    }
                    Way::MmCid => fetch_in_section!(
                        MM_CID, [],
                        concat!("cmpxchg ", $size, " ptr [{word} + {index}], {new", $modifier, "}"),
                        word, access, before,
                        new = in($class) new, inout($rax) old => before,
                    ),
                    Way::CpuId => fetch_in_section!(
                        CPU_ID, [],
                        concat!("cmpxchg ", $size, " ptr [{word} + {index}], {new", $modifier, "}"),
                        word, access, before,
                        new = in($class) new, inout($rax) old => before,
                    ),
                    Way::Locked => {
                        // SAFETY: the caller's word.
                        let cell = unsafe { <$atomic>::from_ptr(word.as_ptr()) };
                        let (success, failure) = (Ordering::AcqRel, Ordering::Acquire);
                        Some(match cell.compare_exchange(old, new, success, failure) {
                            Ok(before) | Err(before) => before,
                        })
                    }
                }
            }
        }
    };
}

raw!(u8, AtomicU8, "byte", reg_byte, "", "al");
raw!(u16, AtomicU16, "word", reg, ":x", "ax");
raw!(u32, AtomicU32, "dword", reg, ":e", "eax");
raw!(u64, AtomicU64, "qword", reg, ":r", "rax");
