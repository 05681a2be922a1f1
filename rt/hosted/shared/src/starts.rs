// SPDX-License-Identifier: MIT OR Apache-2.0
//! What threads that were just made will run, from their maker to them: registration comes first.
//!
//! In slots of our own: malloc may be somebody's who waits for this very thread, and would give each new
//! thread an arena. There are as many as there ever were threads between their makers and their code. Where
//! there is no memory for more, a thread starts without, and registers at its first operation.

use core::arch::global_asm;
use core::cell::UnsafeCell;
use core::ffi::c_void;
use core::iter::successors;
use core::ptr;
use core::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};
use vcpu_core::report::Line;
use vcpu_core::{generation, thread};

/// A thread's code, whichever of its two types it has: both results are in %rax.
pub type Start = unsafe extern "C" fn(*mut c_void) -> *mut c_void;

/// How many there are in a block: so few that the library's .bss ends on the page on which its data does, which spares ld.so
/// a mapping for the first one.
const SLOTS: usize = 64;

/// No generation has this number.
const FREE: u32 = 0;

/// What one thread will run.
#[repr(C)]
#[derive(Clone, Copy)]
struct Code {
    start: Option<Start>,
    argument: *mut c_void,
}

/// A place for it.
pub struct Slot {
    /// [`FREE`], or the generation of the process in which it was taken: in a fork child a slot of another
    /// generation is free, since neither its maker nor its thread came along.
    taken: AtomicU32,
    code: UnsafeCell<Code>,
}

// SAFETY: `code` belongs to who made `taken` its generation, and then to the thread that gets the slot.
unsafe impl Sync for Slot {}

/// Slots, and those that were there before. All bytes zero but for the link: every slot is free.
struct Block {
    before: AtomicPtr<Block>,
    slots: [Slot; SLOTS],
}

static FIRST: Block = Block {
    before: AtomicPtr::new(ptr::null_mut()),
    slots: [const {
        Slot {
            taken: AtomicU32::new(FREE),
            code: UnsafeCell::new(Code {
                start: None,
                argument: ptr::null_mut(),
            }),
        }
    }; SLOTS],
};

/// The newest block, with all others behind it. None is ever given back.
static NEWEST: AtomicPtr<Block> = AtomicPtr::new((&raw const FIRST).cast_mut());

/// Where the last search ended.
static NEXT: AtomicU32 = AtomicU32::new(0);

/// A slot with this code, for [`entry`].
pub fn put(start: Start, argument: *mut c_void) -> Option<&'static Slot> {
    let generation = generation::current();
    let first = NEXT.fetch_add(1, Ordering::Relaxed) as usize;
    let slot = loop {
        if let Some(slot) = blocks().find_map(|block| block.take(first, generation)) {
            break slot;
        }
        add_block()?;
    };
    let start = Some(start);
    // SAFETY: taken just now.
    unsafe { *slot.code.get() = Code { start, argument } };
    Some(slot)
}

/// From the newest to [`FIRST`].
fn blocks() -> impl Iterator<Item = &'static Block> {
    // SAFETY: null, or a block, all of which stay for ever.
    let get = |link: &AtomicPtr<Block>| unsafe { link.load(Ordering::Acquire).as_ref() };
    successors(get(&NEWEST), move |block| get(&block.before))
}

/// One more, if there is memory.
#[cold]
fn add_block() -> Option<()> {
    let protection = ProtFlags::READ | ProtFlags::WRITE;
    let (bytes, flags) = (size_of::<Block>(), MapFlags::PRIVATE);
    // SAFETY: a new mapping: it replaces nothing.
    let Ok(pages) = (unsafe { mmap_anonymous(ptr::null_mut(), bytes, protection, flags) }) else {
        Line::new()
            .text("no memory for the start of a thread: it registers at its first operation")
            .print();
        return None;
    };
    let new: *mut Block = pages.cast();
    let mut before = NEWEST.load(Ordering::Relaxed);
    loop {
        // SAFETY: all bytes are zero, which is a block, and it stays mapped.
        unsafe { &*new }.before.store(before, Ordering::Relaxed);
        let (success, failure) = (Ordering::AcqRel, Ordering::Relaxed);
        match NEWEST.compare_exchange(before, new, success, failure) {
            Ok(_) => return Some(()),
            Err(another) => before = another,
        }
    }
}

impl Block {
    /// A slot that is free in this process, which is taken now.
    fn take(&self, first: usize, generation: u32) -> Option<&Slot> {
        let mut slots = (0..SLOTS).map(|index| &self.slots[(first + index) % SLOTS]);
        slots.find(|slot| {
            let seen = slot.taken.load(Ordering::Relaxed);
            let (success, failure) = (Ordering::Acquire, Ordering::Relaxed);
            let exchange = || {
                slot.taken
                    .compare_exchange(seen, generation, success, failure)
            };
            seen != generation && exchange().is_ok()
        })
    }
}

impl Slot {
    /// The thread was not made.
    pub fn give_back(&self) {
        self.taken.store(FREE, Ordering::Release);
    }
}

/// In the new thread: what comes before its code, and what that is.
extern "C" fn enter(slot: &'static Slot) -> Code {
    // SAFETY: the slot is this thread's.
    let code = unsafe { *slot.code.get() };
    slot.taken.store(FREE, Ordering::Release);
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
