// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a critical section of a program's own needs: where the copies of an object are, and what to do
//! when it does not commit. `docs/critical-sections.md` has two worked examples.

use core::ptr::NonNull;

use crate::access::{ATTEMPTS, Way, own_way, shared_area_offset};
use crate::object::Local;
use crate::process;
use crate::section::{Refused, lock_of};

/// Where the copies of an object are. That of this thread is at `first + mm_cid * stride`, for the
/// mm_cid that a section reads, if it is below `bound`; if not, this thread has none, and the
/// section leaves without an effect.
#[derive(Debug)]
pub struct Parts<T> {
    /// vCPU 0's copy.
    pub first: NonNull<T>,
    /// The distance in bytes from one vCPU's copy to the next one's, where `bound` is not 0.
    pub stride: u64,
    /// What an mm_cid must be below. 0 in the modes that do not go by it.
    pub bound: u32,
}

impl<T> Clone for Parts<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Parts<T> {}

impl<T> Local<T> {
    /// What a section needs to find this thread's copy.
    #[inline(always)]
    #[must_use]
    pub fn parts(&self) -> Parts<T> {
        let access = self.access();
        Parts {
            first: self.first(),
            stride: access.stride(),
            bound: access.exact_bound(),
        }
    }

    /// Runs a critical section of one's own until it commits, 65 times at most. Where it does not, and
    /// at once where this thread has no vCPU's copy, `shared` acts on the copy of a shared area, alone:
    /// under the lock that all such calls for objects at that place share.
    ///
    /// `section` tries once, and says `None` where it changed nothing. `shared` is not for the words of
    /// any vCPU: they are never the same ones. It may be left half done in a child of fork, whose next
    /// call takes the lock over, so it writes last what makes the rest valid. It calls nothing that
    /// takes such a lock.
    ///
    /// # Errors
    /// [`Refused::Busy`]: another thread, or what this signal handler interrupted, is in `shared`.
    #[inline(always)]
    pub fn in_section<O>(
        &self,
        section: impl Fn(Parts<T>) -> Option<O>,
        shared: impl FnOnce(NonNull<T>) -> O,
    ) -> Result<O, Refused> {
        match section(self.parts()) {
            Some(output) => Ok(output),
            None => self.in_section_again(section, shared),
        }
    }

    /// After an abort, or without a valid mm_cid.
    #[cold]
    #[inline(never)]
    fn in_section_again<O>(
        &self,
        section: impl Fn(Parts<T>) -> Option<O>,
        shared: impl FnOnce(NonNull<T>) -> O,
    ) -> Result<O, Refused> {
        if let Some((Way::MmCid, _)) = own_way() {
            for _ in 0..ATTEMPTS {
                if let Some(output) = section(self.parts()) {
                    return Ok(output);
                }
            }
        }
        let offset = shared_area_offset(process::found());
        // SAFETY: the area exists, by `shared_area_offset`.
        let copy = unsafe { self.first().byte_add(offset) };
        let done = lock_of(copy.cast()).attempt(|| shared(copy));
        done.ok_or(Refused::Busy)
    }
}
