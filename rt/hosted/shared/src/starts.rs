// SPDX-License-Identifier: MIT OR Apache-2.0
//! What threads that were just made will run, from their maker to them: registration comes first.
//!
//! In a fixed array: malloc may be somebody's who waits for this very thread, and would give each new
//! thread an arena. Where it is full, a thread starts without, and registers at its first operation.

use core::arch::global_asm;
use core::cell::UnsafeCell;
use core::ffi::c_void;
use core::sync::atomic::{AtomicU32, Ordering};

use vcpu_core::thread;

/// A thread's code, whichever of its two types it has: both results are in %rax.
pub type Start = unsafe extern "C" fn(*mut c_void) -> *mut c_void;

/// How many threads can be between their makers and their own code at a time.
const SLOTS: usize = 128;

const FREE: u32 = 0;
const TAKEN: u32 = 1;

/// What one thread will run.
#[repr(C)]
#[derive(Clone, Copy)]
struct Code {
    start: Option<Start>,
    argument: *mut c_void,
}

/// A place for it.
pub struct Slot {
    state: AtomicU32,
    code: UnsafeCell<Code>,
}

// SAFETY: `code` belongs to who made `state` TAKEN, and then to the thread that gets the slot.
unsafe impl Sync for Slot {}

static ALL: [Slot; SLOTS] = [const {
    Slot {
        state: AtomicU32::new(FREE),
        code: UnsafeCell::new(Code {
            start: None,
            argument: core::ptr::null_mut(),
        }),
    }
}; SLOTS];

/// Where the last search ended.
static NEXT: AtomicU32 = AtomicU32::new(0);

/// A slot with this code, for [`entry`].
pub fn put(start: Start, argument: *mut c_void) -> Option<&'static Slot> {
    let first = NEXT.fetch_add(1, Ordering::Relaxed) as usize;
    let mut slots = (0..SLOTS).map(|index| &ALL[(first + index) % SLOTS]);
    let slot = slots.find(|slot| {
        let (success, failure) = (Ordering::Acquire, Ordering::Relaxed);
        let state = &slot.state;
        state
            .compare_exchange(FREE, TAKEN, success, failure)
            .is_ok()
    })?;
    let start = Some(start);
    // SAFETY: taken just now.
    unsafe { *slot.code.get() = Code { start, argument } };
    Some(slot)
}

impl Slot {
    /// The thread was not made.
    pub fn give_back(&self) {
        self.state.store(FREE, Ordering::Release);
    }
}

/// In the new thread: what comes before its code, and what that is.
extern "C" fn enter(slot: &'static Slot) -> Code {
    // SAFETY: the slot is this thread's.
    let code = unsafe { *slot.code.get() };
    slot.state.store(FREE, Ordering::Release);
    thread::enter();
    code
}

// A thread's start routine: it gets the slot in %rdi, and leaves no frame behind, so that a thread that
// is cancelled or backtraced looks as without it. Flags and registers are free at a function's entry.
global_asm!(
    ".pushsection .text.__vcpu_rt_thread_entry, \"ax\", @progbits",
    ".globl __vcpu_rt_thread_entry",
    ".hidden __vcpu_rt_thread_entry",
    ".type __vcpu_rt_thread_entry, @function",
    "__vcpu_rt_thread_entry:",
    ".cfi_startproc",
    "sub rsp, 8",
    ".cfi_adjust_cfa_offset 8",
    "call {enter}",
    "add rsp, 8",
    ".cfi_adjust_cfa_offset -8",
    "mov rdi, rdx",
    "jmp rax",
    ".cfi_endproc",
    ".size __vcpu_rt_thread_entry, . - __vcpu_rt_thread_entry",
    ".popsection",
    enter = sym enter,
);

unsafe extern "C" {
    #[link_name = "__vcpu_rt_thread_entry"]
    pub fn entry(slot: *mut c_void) -> *mut c_void;
}
