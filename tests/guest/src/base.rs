// SPDX-License-Identifier: MIT OR Apache-2.0
//! Observations of the GS base, together with the thread's mm_cid.

use core::arch::asm;
use core::mem::offset_of;
use core::sync::atomic::{AtomicUsize, Ordering};

use vcpu_abi::{RSEQ_OFFSET, Rseq};

use crate::file;
use crate::gs::PAGE;
use crate::machine::nr_cpu_ids;
use crate::memory;

/// `struct rseq`'s mm_cid, from `%fs`.
const MM_CID: usize = RSEQ_OFFSET + offset_of!(Rseq, mm_cid);

/// The largest stride of an observed mode, bytes, where [`prepare`] was not told another.
pub const LARGEST_STRIDE: usize = 16 * PAGE;

/// Address of the ruler, a mapping whose page n begins with the number n: where the processor has
/// no rdgsbase, a `%gs:` load from it tells the base. 1: rdgsbase is used.
static RULER: AtomicUsize = AtomicUsize::new(0);
const BY_INSTRUCTION: usize = 1;

/// Whether the kernel lets programs use rdgsbase (AT_HWCAP2, `arch/x86/include/uapi/asm/hwcap2.h`).
pub fn fsgsbase() -> bool {
    const AT_HWCAP2: usize = 26;
    let mut auxv = [0_u8; 1024];
    let auxv = file::read_into("/proc/self/auxv", &mut auxv).expect("/proc is mounted");
    let (pairs, _) = auxv.as_chunks::<16>();
    pairs.iter().any(|pair| {
        let [key, value] =
            [&pair[..8], &pair[8..]].map(|half| half.try_into().map_or(0, usize::from_ne_bytes));
        key == AT_HWCAP2 && value & 2 != 0
    })
}

/// Makes observations possible, up to strides of [`LARGEST_STRIDE`]. Once, before any.
pub fn prepare() {
    let place = if fsgsbase() {
        BY_INSTRUCTION
    } else {
        let pages = nr_cpu_ids() * LARGEST_STRIDE / PAGE;
        let ruler = memory::map(pages * PAGE);
        for page in 0..pages {
            let place = core::ptr::with_exposed_provenance_mut::<u64>(ruler + page * PAGE);
            // SAFETY: inside the mapping, which is this function's alone.
            unsafe { place.write(page as u64) };
        }
        ruler
    };
    RULER.store(place, Ordering::Release);
}

/// One look at the base, between two looks at mm_cid.
#[derive(Clone, Copy, Debug)]
pub struct Observation {
    /// mm_cid before.
    pub before: u32,
    /// The base.
    pub base: u64,
    /// mm_cid after.
    pub after: u32,
}

impl Observation {
    /// Whether the three belong together: the thread did not get another mm_cid meanwhile. (For it
    /// to get another one and the first again it would have to be switched out twice within three
    /// instructions, and run one between.)
    pub fn is_whole(&self) -> bool {
        self.before == self.after
    }

    /// Whether the base is right for a stride, where [`is_whole`](Self::is_whole).
    pub fn fits(&self, stride: u64) -> bool {
        self.base == stride * u64::from(self.before)
    }
}

/// Looks once. The base must lie below `LARGEST_STRIDE * nr_cpu_ids`, and [`prepare`] was called.
#[inline]
pub fn observe() -> Observation {
    let (before, after): (u32, u32);
    let mut base: u64;
    match RULER.load(Ordering::Relaxed) {
        // SAFETY: loads of the thread's own rseq area, and an instruction that AT_HWCAP2 offers.
        BY_INSTRUCTION => unsafe {
            asm!(
                "mov {before:e}, fs:[{cid}]",
                "rdgsbase {base}",
                "mov {after:e}, fs:[{cid}]",
                before = out(reg) before,
                base = out(reg) base,
                after = out(reg) after,
                cid = const MM_CID,
                options(nostack, readonly, preserves_flags),
            );
        },
        ruler => {
            assert!(ruler != 0, "nobody called prepare");
            // SAFETY: as above, and a load from the ruler: the base is below its end, or this is
            // the test's failure.
            unsafe {
                asm!(
                    "mov {before:e}, fs:[{cid}]",
                    "mov {base}, gs:[{ruler}]",
                    "mov {after:e}, fs:[{cid}]",
                    ruler = in(reg) ruler,
                    before = out(reg) before,
                    base = lateout(reg) base,
                    after = lateout(reg) after,
                    cid = const MM_CID,
                    options(nostack, readonly, preserves_flags),
                );
            }
            base *= PAGE as u64;
        }
    }
    Observation {
        before,
        base,
        after,
    }
}

/// Looks until an observation is whole.
pub fn observe_whole() -> Observation {
    loop {
        let observation = observe();
        if observation.is_whole() {
            return observation;
        }
    }
}

/// Checks one observation of the calling thread: base == stride * mm_cid. `what` tells where.
#[track_caller]
pub fn verify(stride: u64, what: &str) -> Observation {
    let observation = observe_whole();
    if !observation.fits(stride) {
        wrong(observation, stride, what);
    }
    observation
}

/// Checks `count` observations.
pub fn verify_many(stride: u64, count: u64, what: &str) {
    for _ in 0..count {
        let observation = observe();
        if observation.is_whole() && !observation.fits(stride) {
            wrong(observation, stride, what);
        }
    }
}

/// Out of the way of the loop that checks.
#[cold]
#[track_caller]
fn wrong(Observation { before, base, .. }: Observation, stride: u64, what: &str) -> ! {
    panic!(
        "{what}: mm_cid {before:#x}, stride {stride:#x}: expected base {:#x}, found {base:#x}",
        stride.wrapping_mul(before.into())
    );
}

/// The GS selector.
pub fn selector() -> u16 {
    let selector: u16;
    // SAFETY: reads a register.
    unsafe {
        asm!("mov {:x}, gs", out(reg) selector, options(nomem, nostack, preserves_flags));
    }
    selector
}

/// Loads the GS selector, and with it the descriptor's base.
///
/// # Safety
/// The selector is null, or of a data segment; others end the program.
pub unsafe fn load_selector(selector: u16) {
    // SAFETY: by the caller's word. Only these programs' own assembly uses the base. No `nomem`:
    // what `%gs:` reaches changes.
    unsafe { asm!("mov gs, {:x}", in(reg) selector, options(nostack, preserves_flags)) };
}
