// SPDX-License-Identifier: MIT OR Apache-2.0
//! The right to a thread's result.

use core::marker::PhantomData;
use core::mem::ManuallyDrop;
use core::ptr::NonNull;
use core::sync::atomic::Ordering;

use super::{mapping, state, wait_until_gone};
use crate::block::ThreadBlock;

/// A running or finished thread. Dropping the handle detaches the thread: it then frees itself.
#[must_use = "dropping the handle detaches the thread"]
pub struct JoinHandle<T> {
    block: NonNull<ThreadBlock>,
    result: *mut T,
    owns: PhantomData<T>,
}

// SAFETY: the handle is the only way to the result, which may be sent.
unsafe impl<T: Send> Send for JoinHandle<T> {}
// SAFETY: a shared handle only reads atomics.
unsafe impl<T: Send> Sync for JoinHandle<T> {}

impl<T> JoinHandle<T> {
    /// # Safety
    /// `block` is a thread's that is joinable, and nobody else's to join. `result` is where its
    /// closure's result will be.
    pub(super) unsafe fn new(block: NonNull<ThreadBlock>, result: *mut T) -> Self {
        Self {
            block,
            result,
            owns: PhantomData,
        }
    }

    fn block(&self) -> &ThreadBlock {
        // SAFETY: the memory is freed by whoever consumes the handle.
        unsafe { self.block.as_ref() }
    }

    /// Whether the closure is done. `join` then does not wait for it.
    pub fn is_finished(&self) -> bool {
        self.block().state.load(Ordering::Acquire) == state::FINISHED
    }

    /// The kernel's thread id; 0 once the thread is gone.
    pub fn id(&self) -> u32 {
        self.block().tid.load(Ordering::Relaxed)
    }

    /// Waits for the thread's end and returns its result. What the thread wrote is visible.
    pub fn join(self) -> T {
        let this = ManuallyDrop::new(self);
        wait_until_gone(this.block());
        // SAFETY: the thread is gone; it wrote the result before. The memory is this handle's.
        unsafe {
            let result = this.result.read();
            mapping::give_back(this.block);
            result
        }
    }

    /// Lets the thread run on alone. As dropping the handle, but says so.
    pub fn detach(self) {}
}

impl<T> Drop for JoinHandle<T> {
    fn drop(&mut self) {
        let (success, failure) = (Ordering::AcqRel, Ordering::Acquire);
        let state = &self.block().state;
        if state
            .compare_exchange(state::JOINABLE, state::DETACHED, success, failure)
            .is_err()
        {
            // SAFETY: finished before it was detached, so result and memory are this handle's;
            // the thread does not touch them any more but for its way out, which the tid guards.
            unsafe {
                self.result.drop_in_place();
                mapping::give_back(self.block);
            }
        }
    }
}
