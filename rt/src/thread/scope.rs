// SPDX-License-Identifier: MIT OR Apache-2.0
//! Threads that may borrow from their maker's stack.

use core::marker::PhantomData;
use core::sync::atomic::{AtomicU32, Ordering};

use rustix::thread::futex;

use super::builder::{Builder, SpawnError};
use super::handle::JoinHandle;

/// How many threads of a scope still run.
pub struct Running(AtomicU32);

impl Running {
    /// Counts one thread as ended.
    ///
    /// # Safety
    /// The scope still waits for the calling thread, which touches nothing borrowed afterwards.
    pub(super) unsafe fn finish_one(this: *const Self) {
        // SAFETY: alive by the caller's word, up to the subtraction: the scope may end right
        // after it. The wake then only passes an address, which the kernel does not read.
        let counter = unsafe { &raw const (*this).0 };
        // SAFETY: as above.
        if unsafe { (*counter).fetch_sub(1, Ordering::Release) } == 1 {
            wake(counter);
        }
    }

    fn wait(&self) {
        loop {
            let running = self.0.load(Ordering::Acquire);
            if running == 0 {
                return;
            }
            let _look_again = futex::wait(&self.0, futex::Flags::PRIVATE, running, None);
        }
    }
}

/// Wakes whoever waits at the address, which may be unmapped or another thing by now: such a wake
/// does nothing, or makes somebody look again.
fn wake(counter: *const AtomicU32) {
    use linux_raw_sys::general::{__NR_futex, FUTEX_PRIVATE_FLAG, FUTEX_WAKE};
    let operation = (FUTEX_WAKE | FUTEX_PRIVATE_FLAG) as usize;
    let arguments = [counter.expose_provenance(), operation, 1, 0];
    // SAFETY: a private wake uses the address as a key only.
    let _nobody_waits = unsafe { vcpu_core::arch::syscall(__NR_futex, arguments) };
}

/// A scope in which threads can be started, see [`scope`].
pub struct Scope<'scope, 'env: 'scope> {
    running: Running,
    scope: PhantomData<&'scope mut &'scope ()>,
    environment: PhantomData<&'env mut &'env ()>,
}

/// Runs `body`, which may start threads that borrow from outside the scope, and returns when all
/// of them have ended, joined or not.
pub fn scope<'env, F, T>(body: F) -> T
where
    F: for<'scope> FnOnce(&'scope Scope<'scope, 'env>) -> T,
{
    let scope = Scope {
        running: Running(AtomicU32::new(0)),
        scope: PhantomData,
        environment: PhantomData,
    };
    // No guard is needed against unwinding: a panic ends the process.
    let result = body(&scope);
    scope.running.wait();
    result
}

impl<'scope> Scope<'scope, '_> {
    /// Starts a thread with the default [`Builder`].
    ///
    /// # Errors
    /// See [`SpawnError`].
    pub fn spawn<F, T>(&'scope self, closure: F) -> Result<ScopedJoinHandle<'scope, T>, SpawnError>
    where
        F: FnOnce() -> T + Send + 'scope,
        T: Send + 'scope,
    {
        self.spawn_with(Builder::new(), closure)
    }

    /// Starts a thread as `builder` says.
    ///
    /// # Errors
    /// See [`SpawnError`].
    pub fn spawn_with<F, T>(
        &'scope self,
        builder: Builder,
        closure: F,
    ) -> Result<ScopedJoinHandle<'scope, T>, SpawnError>
    where
        F: FnOnce() -> T + Send + 'scope,
        T: Send + 'scope,
    {
        self.running.0.fetch_add(1, Ordering::Relaxed);
        // SAFETY: `scope` waits until the count is 0, and the thread subtracts itself after it
        // dropped the closure and, where nobody takes it, the result.
        match unsafe { builder.spawn_borrowing(closure, Some(&raw const self.running)) } {
            Ok(handle) => Ok(ScopedJoinHandle {
                handle,
                scope: PhantomData,
            }),
            Err(error) => {
                self.running.0.fetch_sub(1, Ordering::Relaxed);
                Err(error)
            }
        }
    }
}

/// A thread of a scope.
pub struct ScopedJoinHandle<'scope, T> {
    handle: JoinHandle<T>,
    scope: PhantomData<&'scope ()>,
}

impl<T> ScopedJoinHandle<'_, T> {
    /// See [`JoinHandle::join`].
    pub fn join(self) -> T {
        self.handle.join()
    }

    /// See [`JoinHandle::is_finished`].
    pub fn is_finished(&self) -> bool {
        self.handle.is_finished()
    }

    /// See [`JoinHandle::id`].
    pub fn id(&self) -> u32 {
        self.handle.id()
    }
}
