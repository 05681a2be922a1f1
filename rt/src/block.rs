// SPDX-License-Identifier: MIT OR Apache-2.0
//! The thread block: what `%fs` points to in every thread of the runtime.

use core::cell::{Cell, UnsafeCell};
use core::mem::offset_of;
use core::ptr;
use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use static_assertions::const_assert_eq;
use vcpu_abi::{RSEQ_AREA_BYTES, RSEQ_OFFSET, Rseq};

use crate::arch;
use crate::thread::mapping::Mapping;

/// `struct robust_list_head` (`include/uapi/linux/futex.h`).
#[repr(C)]
pub struct RobustList {
    /// First lock; the head itself when the list is empty.
    pub next: *const RobustList,
    /// Offset from a list entry to its futex word, bytes.
    pub futex_offset: isize,
    /// The lock that is being taken or released.
    pub pending: *const RobustList,
}

/// Marks blocks of the runtime: "vcpu-rt" and a version.
const MAGIC: u64 = u64::from_le_bytes(*b"vcpu-rt\x01");

/// A thread's block. The first 0x30 bytes and the rseq area are ABI, the rest is private.
#[repr(C, align(256))]
pub struct ThreadBlock {
    // psABI: %fs:0 holds its own address.
    self_pointer: Cell<*const ThreadBlock>,
    // Other runtimes keep a dtv here; nothing reads that in a static program.
    magic: Cell<u64>,
    unused: [usize; 3],
    // Compilers read it at %fs:0x28 (-fstack-protector).
    canary: Cell<usize>,

    // Private from here on.
    /// The thread's id; the kernel clears it, and wakes it as a futex, when the thread is gone.
    /// 0 in the main thread until somebody asks.
    pub(crate) tid: AtomicU32,
    /// Who frees the thread: see `thread::state`.
    pub(crate) state: AtomicU32,
    /// The mapping that holds stack and block; empty for the main thread.
    pub(crate) mapping: Cell<Mapping>,
    /// The signal mask with which the thread's code starts.
    pub(crate) signal_mask: Cell<u64>,
    /// Runs the thread's closure, given the block.
    pub(crate) run: Cell<Option<unsafe fn(&ThreadBlock)>>,
    /// The closure and its result, inside the mapping.
    pub(crate) packet: Cell<*mut ()>,
    /// The alternate signal stack, 0 when there is none: see `stack_overflow`.
    pub(crate) signal_stack: AtomicUsize,
    /// The name, cut to 15 bytes as the kernel does, zero-terminated.
    pub(crate) name: Cell<[u8; 16]>,
    /// Whether the thread registers its robust list.
    pub(crate) wants_robust_list: Cell<bool>,
    /// The list head, for set_robust_list(2).
    robust_list: UnsafeCell<RobustList>,

    // ABI: struct rseq at a constant offset from %fs, which the alignment of the area gives.
    rseq: RseqArea,
}

/// struct rseq with room for what later kernels append.
#[repr(C, align(256))]
struct RseqArea(UnsafeCell<Rseq>);

const_assert_eq!(offset_of!(ThreadBlock, self_pointer), 0);
const_assert_eq!(offset_of!(ThreadBlock, canary), 0x28);
const_assert_eq!(offset_of!(ThreadBlock, rseq), RSEQ_OFFSET);
const_assert_eq!(size_of::<ThreadBlock>(), RSEQ_OFFSET + RSEQ_AREA_BYTES);
const_assert_eq!(size_of::<RobustList>(), 24);

impl ThreadBlock {
    /// Writes a fresh block, unregistered, to `place`.
    ///
    /// # Safety
    /// `place` is valid for writes, aligned, and nobody uses it.
    #[inline]
    pub(crate) unsafe fn create(place: *mut Self, canary: usize, mapping: Mapping) {
        // SAFETY: by the caller's word. All-zero bytes are valid for every field; then those that
        // are not zero are written.
        unsafe {
            arch::string::zero(place.cast(), size_of::<Self>());
            let block = &*place;
            block.self_pointer.set(place);
            block.canary.set(canary);
            block.mapping.set(mapping);
            block.magic.set(MAGIC);
            (*block.robust_list()).next = block.robust_list();
            (*block.rseq()).cpu_id = Rseq::UNREGISTERED.cpu_id;
            (*block.rseq()).mm_cid = Rseq::UNREGISTERED.mm_cid;
        }
    }

    /// The calling thread's block.
    #[inline]
    pub fn current() -> &'static Self {
        let pointer = ptr::with_exposed_provenance(vcpu_core::arch::thread_pointer());
        // SAFETY: every thread of the runtime runs on a block, which lives as long as the thread.
        // Its fields are cells and atomics; only this thread uses the cells.
        unsafe { &*pointer }
    }

    /// The calling thread's block, or `None` in a thread that somebody else gave a block of its
    /// own: C code may clone threads by itself.
    pub(crate) fn if_ours() -> Option<&'static Self> {
        let pointer = ptr::with_exposed_provenance::<u64>(vcpu_core::arch::thread_pointer());
        // SAFETY: every TCB has at least two words (psABI: self pointer and dtv).
        let magic = unsafe { pointer.byte_add(offset_of!(Self, magic)).read_volatile() };
        (magic == MAGIC).then(Self::current)
    }

    /// The head of its robust list.
    #[inline]
    pub(crate) fn robust_list(&self) -> *mut RobustList {
        self.robust_list.get()
    }

    /// The calling thread's stack canary, which its new threads share.
    #[inline]
    pub(crate) fn canary(&self) -> usize {
        self.canary.get()
    }

    /// Its struct rseq.
    #[inline]
    pub(crate) fn rseq(&self) -> *mut Rseq {
        self.rseq.0.get()
    }

    /// Whether this thread is registered, as the kernel and the runtime write it.
    #[inline]
    pub(crate) fn is_registered(&self) -> bool {
        // SAFETY: inside the block. The kernel may change it at any time: volatile.
        let cpu_id = unsafe { ptr::read_volatile(&raw const (*self.rseq()).cpu_id) };
        cpu_id.cast_signed() >= 0
    }

    /// The thread's id, asked of the kernel when it is not known yet (main thread).
    pub(crate) fn thread_id(&self) -> u32 {
        match self.tid.load(Ordering::Relaxed) {
            0 => rustix::thread::gettid()
                .as_raw_nonzero()
                .get()
                .cast_unsigned(),
            known => known,
        }
    }
}
