// SPDX-License-Identifier: MIT OR Apache-2.0
//! How per-vCPU words are reached, and what every operation does when its section does not commit.

use core::cell::UnsafeCell;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU64, Ordering};

use static_assertions::const_assert;
use vcpu_abi::{Mode, STRIDE_MAXIMUM, STRIDE_MINIMUM};

use crate::arch::{self, Place};
use crate::first_use;
use crate::process::{self, Found};
use crate::topology::MAX_CPUS;

/// How often an aborted section is tried again. Then a locked operation on the last area ends it: a
/// thread that is aborted without end (a debugger's single steps, a timer faster than the section)
/// must not wait without end.
pub(crate) const ATTEMPTS: u32 = 64;

/// How per-vCPU words are reached in this process. What it says is settled before the first object exists and
/// never changes.
#[derive(Clone, Copy, Debug)]
pub struct Access {
    /// What an mm_cid must be below: `nr_vcpus` in the modes that go by it, else 0, so that every
    /// one is out of range, also where a kernel fills it although the mode goes by cpu_id: two
    /// indices for one word would lose updates. In the GS mode [`Self::GS`] besides.
    bound: u32,
    /// The stride, at most 2^30, whose lowest twelve bits are zero; or [`Self::SHARED`] with what goes with
    /// it.
    area: u32,
    /// Where sections find what they need of a thread.
    place: Place,
}

/// The bound in its lower half, the area in its upper one. Written by [`Access::settle`] alone, then read by
/// [`Access::current`]. In .data although it is zero, beside what else the start writes.
#[unsafe(link_section = ".data.vcpu_rt")]
pub(crate) static CURRENT: CurrentCell = CurrentCell(UnsafeCell::new(0));

/// See [`CURRENT`].
#[repr(transparent)]
pub(crate) struct CurrentCell(UnsafeCell<u64>);

// SAFETY: written while the process has one thread, then only read.
unsafe impl Sync for CurrentCell {}

/// One way to reach a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// By `%gs:`, whose base the kernel loads.
    Gs,
    /// In a critical section, by `mm_cid`.
    MmCid,
    /// In a critical section, by `cpu_id`.
    CpuId,
    /// By locked instructions, on an area that is chosen before.
    Locked,
}

impl Access {
    /// The kernel loads the GS base. A flag in the bound: "not registered" and "not valid now", which are at
    /// least 2^31, are above it all the same, and in this mode the kernel gives no id for which there is no area
    /// (docs/decisions/0006).
    const GS: u32 = 1 << 30;
    /// Updates are locked, on an area that is chosen by the thread among so many as the bits from
    /// [`Self::AREAS`] on say. The lowest six bits are the binary logarithm of the stride.
    const SHARED: u32 = 1 << 7;
    const AREAS: u32 = 8;

    /// In this process, once it has areas.
    #[inline(always)]
    pub(crate) fn of(found: &Found) -> Self {
        Self::from_bits(Self::bits_of(found))
    }

    /// See [`CURRENT`].
    fn bits_of(found: &Found) -> u64 {
        let (bound, area) = match found.mode {
            Mode::Gs => (found.nr_vcpus | Self::GS, found.stride()),
            Mode::RseqMmCid => (found.nr_vcpus, found.stride()),
            Mode::RseqCpuId => (0, found.stride()),
            Mode::Shared => {
                let areas = found.affinity.allowed << Self::AREAS;
                (0, Self::SHARED | areas | found.stride().trailing_zeros())
            }
        };
        u64::from(bound) | u64::from(area) << 32
    }

    #[inline(always)]
    fn from_bits(bits: u64) -> Self {
        Self {
            bound: bits as u32,
            area: (bits >> 32) as u32,
            place: Place::current(),
        }
    }

    /// Makes [`of`](Self::of) what [`current`](Self::current) gives.
    ///
    /// # Safety
    /// Called by the start, before there is any object, while the process has one thread.
    pub(crate) unsafe fn settle(found: &Found) {
        // SAFETY: nobody else writes or reads it now.
        unsafe { *CURRENT.0.get() = Self::bits_of(found) };
    }

    /// How words are reached, in code that has an object. A compiler takes it for a constant: it is
    /// asked for once in a function or a loop, whatever operations that has, of however many objects.
    #[inline(always)]
    pub(crate) fn current() -> Self {
        Self::from_bits(arch::access_bits())
    }

    /// Where sections find what they need of a thread.
    #[inline(always)]
    pub fn place(self) -> Place {
        self.place
    }

    /// Whether the kernel loads the GS base.
    #[inline(always)]
    pub fn is_gs(self) -> bool {
        self.bound & Self::GS != 0
    }

    /// Whether every update is locked.
    #[inline(always)]
    fn is_shared(self) -> bool {
        self.area & Self::SHARED != 0
    }

    /// The distance in bytes of this thread's area from the first one, where updates are locked.
    /// Threads are spread by their thread pointers, over as many areas as the process may use CPUs:
    /// ids below that count are areas that sums visit.
    #[inline(always)]
    fn shared_offset(self) -> usize {
        let areas = self.area >> Self::AREAS;
        // Fibonacci hashing of the page number, scaled to the number of areas.
        let page = (arch::constant_thread_pointer() >> 12) as u32;
        let hash = u64::from(page.wrapping_mul(0x9e37_79b9));
        let area = (hash * u64::from(areas)) >> 32;
        (area as usize) << (self.area & 63)
    }

    /// The stride, where updates are not locked.
    #[inline(always)]
    pub fn stride(self) -> u64 {
        u64::from(self.area)
    }

    /// What an id must be below in this thread, at this time; in the GS mode any bound that tells ids from what
    /// is none.
    #[inline(always)]
    pub fn bound(self) -> u32 {
        arch::bound_here(self.bound)
    }

    /// What an id must be below in this thread, at this time.
    #[inline(always)]
    pub fn exact_bound(self) -> u32 {
        self.bound() & !Self::GS
    }

    /// What mm_cid and cpu_id must be below in sections of a thread that is registered.
    #[cfg(vcpu_rt_hosted)]
    pub(crate) fn bounds_of_ids(found: &Found) -> [u32; 2] {
        [Self::bits_of(found) as u32, found.nr_vcpus]
    }

    /// For sections by cpu_id.
    fn by_cpu_id(found: &Found) -> Self {
        Self {
            bound: found.nr_vcpus,
            area: found.stride(),
            place: Place::current(),
        }
    }
}

// No flag is taken for a part of what it lies beside: a bound is at most the CPUs that there can be, a stride
// a power of two in its range; and as many areas as CPUs fit behind SHARED.
const_assert!(MAX_CPUS < Access::GS);
const_assert!(STRIDE_MAXIMUM <= u32::MAX as u64 && (Access::SHARED as u64) < STRIDE_MINIMUM);
const_assert!(MAX_CPUS < 1 << (u32::BITS - Access::AREAS));

/// Runs an operation of single words once, by the fastest way that there is. `operation` tries one
/// way and says `None` where it changed nothing.
///
/// # Safety
/// `word` is inside a live object of [`crate::areas`]; its type keeps all writers away that are not
/// of its kind. The calling thread runs on a thread block of vcpu-rt. `operation` with
/// [`Way::Locked`] is not refused.
#[inline(always)]
pub unsafe fn run_single<T, O>(
    word: NonNull<T>,
    access: Access,
    operation: impl Fn(Way, NonNull<T>, Access) -> Option<O>,
) -> O {
    // One call of `operation` with a constant in each arm: the other ways then vanish from it.
    let done = if access.is_gs() {
        operation(Way::Gs, word, access)
    } else if access.is_shared() {
        // SAFETY: that area exists.
        operation(
            Way::Locked,
            unsafe { word.byte_add(access.shared_offset()) },
            access,
        )
    } else {
        operation(Way::MmCid, word, access)
    };
    match done {
        Some(output) => output,
        // SAFETY: by the caller's word.
        None => unsafe { run_otherwise(word, operation) },
    }
}

/// As [`run_single`] for words that are changed by sections in every mode.
///
/// # Safety
/// As for [`run_single`]; `operation` is not called with [`Way::Gs`].
#[inline(always)]
pub unsafe fn run_section<T, O>(
    word: NonNull<T>,
    access: Access,
    operation: impl Fn(Way, NonNull<T>, Access) -> Option<O>,
) -> O {
    match operation(Way::MmCid, word, access) {
        Some(output) => output,
        // SAFETY: by the caller's word.
        None => unsafe { run_otherwise(word, operation) },
    }
}

/// After an abort, or without a valid mm_cid. In the mode that goes by cpu_id it comes here each time,
/// single operations of the GS mode never. The inline operations of C come here too.
///
/// # Safety
/// As for [`run_section`].
#[cold]
#[inline(never)]
pub(crate) unsafe fn run_otherwise<T, O>(
    word: NonNull<T>,
    operation: impl Fn(Way, NonNull<T>, Access) -> Option<O>,
) -> O {
    loop {
        if let Some((way, access)) = own_way() {
            // It is one of the two anyway: that spares each operation the code of others.
            let way = if way == Way::CpuId {
                Way::CpuId
            } else {
                Way::MmCid
            };
            for _ in 0..ATTEMPTS {
                if let Some(output) = operation(way, word, access) {
                    return output;
                }
            }
        }
        let found = process::found();
        // SAFETY: the area exists, by `shared_area_offset`.
        let word = unsafe { word.byte_add(shared_area_offset(found)) };
        // Not refused, by the caller's word: the loop is left here.
        if let Some(output) = operation(Way::Locked, word, Access::of(found)) {
            return output;
        }
    }
}

/// How this thread's own copies are reached in sections; `None` where it is not registered, or
/// where the process goes by locked instructions.
pub fn own_way() -> Option<(Way, Access)> {
    let found = process::found();
    let (way, access) = match found.mode {
        Mode::RseqMmCid | Mode::Gs => (Way::MmCid, Access::of(found)),
        Mode::RseqCpuId => (Way::CpuId, Access::by_cpu_id(found)),
        Mode::Shared => return None,
    };
    let has_id = || {
        // SAFETY: threads of the runtime have its blocks; there is no object before its start.
        let id = unsafe {
            match way {
                Way::CpuId => arch::rseq_field::<{ vcpu_abi::Rseq::CPU_ID_OFFSET }>(),
                _ => arch::rseq_field::<{ vcpu_abi::Rseq::MM_CID_OFFSET }>(),
            }
        };
        id < access.bound()
    };
    (has_id() || first_use::register() && has_id()).then_some((way, access))
}

/// The distance in bytes of the area for this thread's locked operations from the first one. In
/// shared mode every area is locked. Otherwise only the last one is: locked and unlocked updates must
/// not share a word.
pub fn shared_area_offset(found: &Found) -> usize {
    if found.mode == Mode::Shared {
        return Access::of(found).shared_offset();
    }
    found.nr_vcpus as usize * found.reservation.stride as usize
}

/// A lock that is only tried, never waited for. A holder that a fork left behind in the parent does
/// not hold it in the child.
#[repr(transparent)]
pub struct TryLock(AtomicU64);

impl TryLock {
    /// Nobody holds it. All bytes zero, as in a fresh object.
    pub const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Runs `action` while nobody else does so under this lock; `None` where somebody does.
    pub fn attempt<O>(&self, action: impl FnOnce() -> O) -> Option<O> {
        if !self.acquire() {
            return None;
        }
        let output = action();
        self.release();
        Some(output)
    }

    /// Takes it where nobody else holds it, and says whether it did.
    pub(crate) fn acquire(&self) -> bool {
        let mine = holder();
        let seen = self.0.load(Ordering::Relaxed);
        // A lock of another process was inherited, and its holder was not, unless it is this
        // very thread, which forked in a signal handler on top of its `action`.
        let is_held = seen >> 32 == mine >> 32 || seen as u32 == mine as u32;
        if seen != 0 && is_held {
            return false;
        }
        let (success, failure) = (Ordering::Acquire, Ordering::Relaxed);
        let exchanged = self.0.compare_exchange(seen, mine, success, failure);
        exchanged.is_ok()
    }

    /// Gives it back: by who acquired it.
    pub(crate) fn release(&self) {
        self.0.store(0, Ordering::Release);
    }
}

/// The process's generation, and of the thread as much of its thread pointer (blocks are aligned to 64 at least)
/// as tells it from the others.
fn holder() -> u64 {
    let thread = (arch::thread_pointer() >> 6) as u32;
    u64::from(crate::generation::current()) << 32 | u64::from(thread)
}

impl Default for TryLock {
    fn default() -> Self {
        Self::new()
    }
}
