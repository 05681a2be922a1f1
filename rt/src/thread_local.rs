// SPDX-License-Identifier: MIT OR Apache-2.0
//! Thread-locals on stable Rust, see [`thread_local!`].

use core::cell::{Cell, UnsafeCell};
use core::mem::MaybeUninit;

/// Room for one thread's value. All-zero bytes are the room before its first use.
#[doc(hidden)]
#[repr(C)]
pub struct Room<T> {
    is_set: Cell<bool>,
    value: UnsafeCell<MaybeUninit<T>>,
}

/// A thread-local variable. Each thread's value is made at its first use there, and is never
/// dropped: threads end without running code for it.
pub struct LocalKey<T: 'static> {
    room: fn() -> *const Room<T>,
    initial: fn() -> T,
}

impl<T> LocalKey<T> {
    /// For the macro.
    ///
    /// # Safety
    /// `room` gives the calling thread its own room, zeroed at the thread's start, for as long as
    /// the thread lives.
    #[doc(hidden)]
    pub const unsafe fn new(room: fn() -> *const Room<T>, initial: fn() -> T) -> Self {
        Self { room, initial }
    }

    /// Calls `use_it` with the calling thread's value.
    pub fn with<R>(&'static self, use_it: impl FnOnce(&T) -> R) -> R {
        // SAFETY: this thread's own room, by the duty of `new`.
        let room = unsafe { &*(self.room)() };
        if !room.is_set.get() {
            let value = (self.initial)();
            // The initial value's own code may have used the variable: then that value stays.
            if !room.is_set.get() {
                // SAFETY: nobody has a reference to it before it is set.
                unsafe { (*room.value.get()).write(value) };
                room.is_set.set(true);
            }
        }
        // SAFETY: it is set, and only shared references exist from here on.
        use_it(unsafe { (*room.value.get()).assume_init_ref() })
    }
}

/// Declares thread-local variables: `thread_local! { static NAME: Type = initial; }`, used by
/// [`NAME.with(|value| ..)`](LocalKey::with), at module level. Only in programs started by [`entry!`](crate::entry!): in a test
/// build, which std starts, use std's own.
#[macro_export]
macro_rules! thread_local {
    () => {};
    ($(#[$attribute:meta])* $visibility:vis static $name:ident: $type:ty = $initial:expr; $($rest:tt)*) => {
        // Modules and statics have different namespaces.
        #[allow(non_snake_case)]
        mod $name {
            pub(super) static ANCHOR: u8 = 0;
        }
        $crate::__thread_local_room!(
            $name::ANCHOR,
            ::core::mem::size_of::<$crate::Room<$type>>(),
            ::core::mem::align_of::<$crate::Room<$type>>()
        );
        $(#[$attribute])*
        $visibility static $name: $crate::LocalKey<$type> = {
            fn room() -> *const $crate::Room<$type> {
                ::core::ptr::with_exposed_provenance($crate::__thread_local_address!($name::ANCHOR))
            }
            fn initial() -> $type {
                $initial
            }
            // SAFETY: room of this size and alignment in the PT_TLS image.
            unsafe { $crate::LocalKey::new(room, initial) }
        };
        $crate::thread_local! { $($rest)* }
    };
}
