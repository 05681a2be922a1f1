// SPDX-License-Identifier: MIT OR Apache-2.0
//! A lock for programs without std.

use core::cell::UnsafeCell;
use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};
use core::sync::atomic::{AtomicU32, Ordering};

use rustix::thread::futex;

const FREE: u32 = 0;
const TAKEN: u32 = 1;
const WAITED_FOR: u32 = 2;

/// A mutual exclusion lock on a futex (futex(7)): one compare-exchange while nobody competes.
/// Not for signal handlers, and in a fork child only where the parent did not hold it.
pub struct Mutex<T: ?Sized> {
    state: AtomicU32,
    value: UnsafeCell<T>,
}

// SAFETY: the lock lets one thread at a time reach the value.
unsafe impl<T: ?Sized + Send> Send for Mutex<T> {}
// SAFETY: as above.
unsafe impl<T: ?Sized + Send> Sync for Mutex<T> {}

impl<T> Mutex<T> {
    /// A free lock.
    pub const fn new(value: T) -> Self {
        Self {
            state: AtomicU32::new(FREE),
            value: UnsafeCell::new(value),
        }
    }
}

impl<T: ?Sized> Mutex<T> {
    /// Waits for the lock.
    pub fn lock(&self) -> MutexGuard<'_, T> {
        if !self.take(TAKEN) {
            // From here on this thread may not be the only one waiting.
            while self.state.swap(WAITED_FOR, Ordering::Acquire) != FREE {
                let flags = futex::Flags::PRIVATE;
                let _look_again = futex::wait(&self.state, flags, WAITED_FOR, None);
            }
        }
        MutexGuard {
            mutex: self,
            value: PhantomData,
        }
    }

    /// Takes the lock if it is free.
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        self.take(TAKEN).then(|| MutexGuard {
            mutex: self,
            value: PhantomData,
        })
    }

    fn take(&self, state: u32) -> bool {
        self.state
            .compare_exchange(FREE, state, Ordering::Acquire, Ordering::Relaxed)
            .is_ok()
    }
}

/// The held lock; dropping it frees the lock.
pub struct MutexGuard<'a, T: ?Sized> {
    mutex: &'a Mutex<T>,
    // As a reference to the value: a guard is shared between threads only where that is.
    value: PhantomData<&'a mut T>,
}

impl<T: ?Sized> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: the guard holds the lock.
        unsafe { &*self.mutex.value.get() }
    }
}

impl<T: ?Sized> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the guard holds the lock.
        unsafe { &mut *self.mutex.value.get() }
    }
}

impl<T: ?Sized> Drop for MutexGuard<'_, T> {
    fn drop(&mut self) {
        if self.mutex.state.swap(FREE, Ordering::Release) == WAITED_FOR {
            let _nobody_waits = futex::wake(&self.mutex.state, futex::Flags::PRIVATE, 1);
        }
    }
}
