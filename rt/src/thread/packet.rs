// SPDX-License-Identifier: MIT OR Apache-2.0
//! A thread's closure and then its result, in the thread's own mapping.

use core::mem::ManuallyDrop;
use core::sync::atomic::Ordering;

use super::scope::Running;
use super::state;
use crate::block::ThreadBlock;

/// First the closure, then the result: never both.
#[repr(C)]
pub union Slot<F, T> {
    closure: ManuallyDrop<F>,
    result: ManuallyDrop<T>,
}

/// What the maker of a thread leaves for it. The result is at its beginning.
#[repr(C)]
pub struct Packet<F, T> {
    slot: Slot<F, T>,
    /// The scope that waits for the thread, if any.
    scope: Option<*const Running>,
}

impl<F: FnOnce() -> T, T> Packet<F, T> {
    pub fn new(closure: F, scope: Option<*const Running>) -> Self {
        Self {
            slot: Slot {
                closure: ManuallyDrop::new(closure),
            },
            scope,
        }
    }

    /// The closure again, of a thread that could not be made.
    pub fn into_closure(self) -> F {
        // SAFETY: `new` put it there, and no thread ran.
        unsafe { ManuallyDrop::into_inner(self.slot.closure) }
    }

    /// Runs the closure, in the new thread, and settles who drops the result.
    ///
    /// # Safety
    /// The block's packet is of this type and holds the closure. Called once.
    pub unsafe fn run(block: &ThreadBlock) {
        let packet = block.packet.get().cast::<Self>();
        // SAFETY: the packet is this thread's until the state says that it has finished.
        let scope = unsafe {
            let closure = ManuallyDrop::take(&mut (*packet).slot.closure);
            (*packet).slot.result = ManuallyDrop::new(closure());
            (*packet).scope
        };
        let (success, failure) = (Ordering::AcqRel, Ordering::Acquire);
        let finished =
            block
                .state
                .compare_exchange(state::JOINABLE, state::FINISHED, success, failure);
        if finished.is_err() {
            // SAFETY: detached, so nobody else takes it.
            unsafe { ManuallyDrop::drop(&mut (*packet).slot.result) };
        }
        if let Some(scope) = scope {
            // SAFETY: the scope does not end before this call.
            unsafe { Running::finish_one(scope) };
        }
    }
}
