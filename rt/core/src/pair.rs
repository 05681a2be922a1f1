// SPDX-License-Identifier: MIT OR Apache-2.0
//! Two words that are compared and exchanged together: a pointer and a counter beside it.

use core::cell::UnsafeCell;
use core::marker::PhantomData;

use crate::access::run_single;
use crate::arch;
use crate::object::{Local, Object};

/// Two words of 8 bytes, of the single kind, aligned to 16. By cmpxchg16b, which all x86-64
/// processors since 2006 have; where it is missing such an object is refused (EOPNOTSUPP).
#[repr(C, align(16))]
pub struct Pair {
    words: UnsafeCell<[u64; 2]>,
    /// Copies are reached by address alone.
    kind: PhantomData<*mut u64>,
}

// SAFETY: two zero words.
unsafe impl Object for Pair {
    fn is_supported() -> bool {
        arch::has_cmpxchg16b()
    }
}

impl Local<Pair> {
    /// Writes `new` if this vCPU's copy is `old`. In gs mode one unlocked instruction.
    ///
    /// # Errors
    /// What is there instead; nothing was changed.
    #[inline(always)]
    pub fn compare_exchange(&self, old: [u64; 2], new: [u64; 2]) -> Result<[u64; 2], [u64; 2]> {
        // SAFETY: the object is alive while it is borrowed; its type keeps other writers away; it was
        // asked whether the machine has the instruction.
        let before = unsafe {
            run_single(
                self.first().cast(),
                self.access(),
                move |way, words, access| arch::compare_exchange_pair(way, words, old, new, access),
            )
        };
        if before == old {
            Ok(before)
        } else {
            Err(before)
        }
    }

    /// Both words of this vCPU's copy, at one instant.
    #[inline(always)]
    pub fn load(&self) -> [u64; 2] {
        // What is there is written back.
        match self.compare_exchange([0; 2], [0; 2]) {
            Ok(words) | Err(words) => words,
        }
    }

    /// The words of the copy in one area, each by a load of its own: together only while nobody
    /// changes them. `None` above the last area.
    #[must_use]
    pub fn read(&self, area: u32) -> Option<[u64; 2]> {
        let copy = self.copy(area)?.cast::<u64>();
        // SAFETY: the object is alive while it is borrowed; two volatile loads of words.
        Some(unsafe { [copy.read_volatile(), copy.add(1).read_volatile()] })
    }
}
