// SPDX-License-Identifier: MIT OR Apache-2.0
//! Strides that change while threads look at their bases. One setter; any number of observers.

use core::sync::atomic::{AtomicU64, Ordering, compiler_fence};

use crate::base::{LARGEST_STRIDE, observe};
use crate::check_eq;
use crate::gs::{PAGE, mm_vcpu, set};

/// The stride by its generation. In generation 0 the mode is off, and every base is 0.
fn stride(generation: u64) -> u64 {
    const STRIDES: u64 = (LARGEST_STRIDE / PAGE) as u64;
    match generation {
        0 => 0,
        // Neighbours differ much; each number of pages up to the largest is used.
        _ => (1 + generation * 7 % STRIDES) * PAGE as u64,
    }
}

/// How far the setter is.
pub struct Generations {
    /// Stored before each SET.
    begun: AtomicU64,
    /// Stored when it has returned.
    settled: AtomicU64,
}

impl Default for Generations {
    fn default() -> Self {
        Self::new()
    }
}

impl Generations {
    /// The mode is off.
    pub const fn new() -> Self {
        Self {
            begun: AtomicU64::new(0),
            settled: AtomicU64::new(0),
        }
    }

    /// Sets the next generation's stride, and returns the generation. One thread at a time.
    pub fn advance(&self) -> u64 {
        let next = self.begun.load(Ordering::Relaxed) + 1;
        self.begun.store(next, Ordering::SeqCst);
        let found = set(mm_vcpu(stride(next)));
        check_eq!(found, Ok(()), "SET with stride {:#x}", stride(next));
        self.settled.store(next, Ordering::SeqCst);
        next
    }

    /// The stride now. For the setter.
    pub fn stride(&self) -> u64 {
        stride(self.settled.load(Ordering::Relaxed))
    }

    /// Looks at the base once, and returns the generation whose base it surely is: no SET had begun
    /// since that one returned. While one goes on, the base may be either's.
    ///
    /// # Panics
    /// When the base is neither's.
    pub fn observe(&self) -> Option<u64> {
        let settled = self.settled.load(Ordering::Acquire);
        let observation = observe();
        // The load of `begun` comes last; the processor keeps loads in order.
        compiler_fence(Ordering::SeqCst);
        let begun = self.begun.load(Ordering::Acquire);
        if !observation.is_whole() || begun > settled + 1 {
            return None;
        }
        let fits = observation.fits(stride(settled)) || observation.fits(stride(begun));
        assert!(
            fits,
            "mm_cid {:#x}: expected a base for stride {:#x} (settled) or {:#x} (begun), found {:#x}",
            observation.before,
            stride(settled),
            stride(begun),
            observation.base
        );
        (begun == settled).then_some(settled)
    }
}
