// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which thread came first to something that ends the process.

use core::sync::atomic::{AtomicUsize, Ordering};

use crate::block::ThreadBlock;

/// The block of the thread that came first; 0 while nobody did.
pub(crate) struct First(AtomicUsize);

/// Who asks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// The first thread, for the first time.
    First,
    /// The first thread once more.
    Again,
    /// Another thread than the first.
    Late,
}

impl First {
    pub(crate) const fn nobody() -> Self {
        Self(AtomicUsize::new(0))
    }

    /// Makes the calling thread the first one, unless there is one.
    pub(crate) fn come(&self) -> Place {
        let own = own_block();
        match (self.0).compare_exchange(0, own, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => Place::First,
            Err(first) if first == own => Place::Again,
            Err(_) => Place::Late,
        }
    }

    /// In a fork child: another thread did not come along.
    pub(crate) fn forget_other_threads(&self) {
        if self.0.load(Ordering::Relaxed) != own_block() {
            self.0.store(0, Ordering::Relaxed);
        }
    }
}

fn own_block() -> usize {
    core::ptr::from_ref(ThreadBlock::current()).addr()
}
