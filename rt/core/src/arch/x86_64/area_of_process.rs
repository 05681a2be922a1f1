// SPDX-License-Identifier: MIT OR Apache-2.0
//! Struct rseq where the process has it, at a distance from `%fs` that is found at load; and what the
//! runtime keeps in each thread of a process of a C library. See `docs/hosted.md`.

use core::arch::{asm, global_asm};
use core::cell::UnsafeCell;
use core::mem::offset_of;
use core::ptr;

use static_assertions::const_assert_eq;
use vcpu_abi::{RSEQ_V2_ALIGN, Rseq};

use crate::access::Access;

/// `rseq_cs` of the calling thread's struct rseq, as a distance from `{rseq}`.
pub const RSEQ_CS: usize = Rseq::RSEQ_CS_OFFSET;
/// `mm_cid`, likewise.
pub const MM_CID: usize = Rseq::MM_CID_OFFSET;
/// `cpu_id`, likewise.
pub const CPU_ID: usize = Rseq::CPU_ID_OFFSET;
/// Bytes of [`ThreadWords::rseq`].
pub const AREA_BYTES: usize = size_of::<Rseq>();
/// Their alignment.
pub const AREA_ALIGN: usize = RSEQ_V2_ALIGN;
/// What the table's features say of the distance: nothing.
pub const OFFSET_FEATURE: u64 = 0;

/// What the runtime has in each thread. Its image is below.
#[repr(C, align(64))]
pub struct ThreadWords {
    /// The area of a process whose threads the runtime registers.
    pub rseq: Rseq,
    /// [`UNKNOWN`], or [`KNOWN`] once the thread is known to be registered.
    pub registered: i32,
    /// One of `crate::thread`'s states.
    pub state: u32,
    /// What its mm_cid and its cpu_id must be below in sections: 0 while it is not known to be registered.
    pub bounds: [u32; 2],
}

/// `registered` in the image: no id is below any bound.
pub const UNKNOWN: i32 = i32::MIN;
/// `registered` of a thread that is registered: bounds are as they are.
pub const KNOWN: i32 = i32::MAX;

const_assert_eq!(align_of::<ThreadWords>(), AREA_ALIGN);
const_assert_eq!(offset_of!(ThreadWords, rseq), 0);

// Initial-exec thread-local storage, which stable Rust cannot declare. Global for the crates into
// which the accesses are inlined, hidden for all others.
global_asm!(
    ".pushsection .tdata.vcpu_rt, \"awT\", @progbits",
    ".balign {align}",
    ".globl __vcpu_rt_thread",
    ".hidden __vcpu_rt_thread",
    ".type __vcpu_rt_thread, @object",
    ".size __vcpu_rt_thread, {size}",
    "__vcpu_rt_thread:",
    ".zero {cpu_id}",
    ".long -1",
    ".zero {mm_cid} - {cpu_id} - 4",
    ".long -1",
    ".zero {registered} - {mm_cid} - 4",
    ".long {unknown}",
    ".zero {bounds} - {registered} - 4",
    // Of its own, so that a section's operand is what the linker knows, without an addition.
    ".globl __vcpu_rt_bounds",
    ".hidden __vcpu_rt_bounds",
    ".type __vcpu_rt_bounds, @object",
    ".size __vcpu_rt_bounds, {size} - {bounds}",
    "__vcpu_rt_bounds:",
    ".zero {size} - {bounds}",
    ".popsection",
    align = const AREA_ALIGN,
    size = const size_of::<ThreadWords>(),
    cpu_id = const Rseq::CPU_ID_OFFSET,
    mm_cid = const Rseq::MM_CID_OFFSET,
    registered = const offset_of!(ThreadWords, registered),
    bounds = const offset_of!(ThreadWords, bounds),
    unknown = const UNKNOWN,
);

/// The distance of struct rseq from `%fs` in this process, 0 before the start. Written by the start alone.
#[doc(hidden)]
#[repr(transparent)]
pub struct OffsetCell(UnsafeCell<isize>);

// SAFETY: written while nobody else uses the runtime, then only read.
unsafe impl Sync for OffsetCell {}

/// For assembly in other crates. In .data although it is zero, beside what else the start writes.
#[doc(hidden)]
#[unsafe(link_section = ".data.vcpu_rt")]
pub static OFFSET: OffsetCell = OffsetCell(UnsafeCell::new(0));

/// Makes it what [`rseq_offset`] gives.
///
/// # Safety
/// Called by the start, before there is any object, while nobody else uses the runtime.
pub(crate) unsafe fn set_rseq_offset(offset: isize) {
    // SAFETY: by the caller's word.
    unsafe { *OFFSET.0.get() = offset };
}

/// The distance of a symbol above from `%fs`. In an executable the linker makes it a constant.
macro_rules! thread_word_offset {
    ($symbol:literal) => {{
        let offset: isize;
        // SAFETY: one load from the GOT, which never changes. No stack; linkers may make the load an
        // addition, which changes flags.
        unsafe {
            asm!(
                concat!("mov {offset}, qword ptr [rip + ", $symbol, "@GOTTPOFF]"),
                offset = out(reg) offset,
                options(pure, nomem, nostack),
            );
        }
        offset
    }};
}

/// Where the process has what sections need of a thread, as distances from `%fs`. Whoever knows it before the
/// question for the mode finds it once for many operations: behind that question compilers ask again for each.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// Of struct rseq.
    pub rseq: isize,
    /// Of [`ThreadWords::bounds`].
    bounds: isize,
}

impl Place {
    /// In this process.
    #[inline(always)]
    pub(crate) fn current() -> Self {
        Self {
            rseq: constant_rseq_offset(),
            bounds: thread_word_offset!("__vcpu_rt_bounds"),
        }
    }
}

/// The `asm!` of a critical section: its templates, and behind them its operands.
#[doc(hidden)]
#[macro_export]
macro_rules! section_asm {
    (place: $place:expr, [$($templates:tt)*] $($operands:tt)*) => {
        ::core::arch::asm!($($templates)* rseq = in(reg) $place.rseq, $($operands)*)
    };
    ([$($templates:tt)*] $($operands:tt)*) => {
        ::core::arch::asm!($($templates)* rseq = in(reg) $crate::arch::constant_rseq_offset(), $($operands)*)
    };
}

/// Compares `{index}` with what it must be below in this thread, by [`bound_operand`]: in memory, since the
/// slow path changes it.
macro_rules! compare_with_bound {
    () => {
        "cmp {index:e}, dword ptr fs:[{bound}]"
    };
}
pub(crate) use compare_with_bound;

/// The operand `{bound}` of a section by the id that is so many bytes from struct rseq: where the thread has the
/// bound of that id, as a distance from `%fs`.
#[inline(always)]
pub fn bound_operand(access: Access, id: usize) -> isize {
    let index = usize::from(id == CPU_ID);
    access.place().bounds + (index * size_of::<u32>()) as isize
}

/// The distance of struct rseq from `%fs`.
#[inline]
pub fn rseq_offset() -> isize {
    // SAFETY: by `set_rseq_offset` nobody writes it meanwhile.
    unsafe { *OFFSET.0.get() }
}

/// As [`rseq_offset`], for code that has an object. A compiler takes it for a constant.
#[inline(always)]
pub fn constant_rseq_offset() -> isize {
    let offset;
    // SAFETY: one load. The word is written before there is any object, and only who has an object
    // asks, so that `pure` and `nomem` tell no lie that shows. No stack, no flags.
    unsafe {
        asm!(
            "mov {offset}, qword ptr [rip + {word}]",
            offset = out(reg) offset,
            word = sym OFFSET,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    offset
}

/// The distance of [`ThreadWords`] from `%fs`.
#[inline(always)]
pub fn words_offset() -> isize {
    thread_word_offset!("__vcpu_rt_thread")
}

/// The distance from `%fs` of an i32 that is not negative while the thread is registered.
#[inline(always)]
pub fn registered_offset() -> isize {
    words_offset() + offset_of!(ThreadWords, registered) as isize
}

/// What an id must be below in the calling thread: the process's bound, or 0 while nobody knows
/// that the thread is registered.
#[inline(always)]
pub fn bound_here(bound: u32) -> u32 {
    let here;
    // SAFETY: one load from this thread's words. Not `pure`: the slow path changes them. No stack.
    unsafe {
        asm!(
            "and {here:e}, dword ptr fs:[{words} + {registered}]",
            here = inout(reg) bound => here,
            words = in(reg) words_offset(),
            registered = const offset_of!(ThreadWords, registered),
            options(nostack, readonly),
        );
    }
    here
}

/// Reads the 32-bit field at `OFFSET` of the calling thread's struct rseq, in one instruction.
///
/// # Safety
/// The start is over.
#[inline(always)]
pub unsafe fn rseq_field<const OFFSET: usize>() -> u32 {
    let value;
    // SAFETY: inside the thread's static TLS or thread block, in every thread of the process. Not `pure`:
    // the kernel changes the field. One load, no stack, no flags.
    unsafe {
        asm!(
            "mov {value:e}, fs:[{rseq} + {offset}]",
            value = out(reg) value,
            rseq = in(reg) constant_rseq_offset(),
            offset = const OFFSET,
            options(nostack, readonly, preserves_flags),
        );
    }
    value
}

/// The calling thread's words.
#[inline]
pub fn words() -> *mut ThreadWords {
    ptr::with_exposed_provenance_mut(super::thread_pointer().wrapping_add_signed(words_offset()))
}

/// The calling thread's struct rseq, which may be the C library's.
#[inline]
pub fn area() -> *mut Rseq {
    ptr::with_exposed_provenance_mut(super::thread_pointer().wrapping_add_signed(rseq_offset()))
}
