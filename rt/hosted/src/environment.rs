// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the kernel passed to the program: environment and auxiliary vector.

use core::ffi::{c_char, c_ulong};
use core::{ptr, slice};

use linux_raw_sys::auxvec;
use vcpu_core::auxv::Auxv;
use vcpu_core::tunables::PREFIX;

use crate::libc;

/// Where both are.
pub struct Environment {
    /// Ends with a null.
    pub entries: *const *const c_char,
    /// The entries that the runtime acts by.
    pub auxv: Auxv,
}

impl Environment {
    /// From the initial stack, before the C library has started.
    ///
    /// # Safety
    /// `stack` is the initial stack pointer: argc, argv, a null, envp, a null, auxv (psABI).
    pub unsafe fn of_initial_stack(stack: *const usize) -> Self {
        // SAFETY: within the initial stack, whose vectors end as the caller says; the auxiliary
        // vector is not read behind AT_NULL.
        unsafe {
            let entries = stack.add(1 + *stack + 1);
            let mut end = entries;
            while *end != 0 {
                end = end.add(1);
            }
            let mut next: *const (usize, usize) = end.add(1).cast();
            let pairs = core::iter::from_fn(|| {
                let pair = *next;
                next = next.add(1);
                Some(pair)
            });
            Self {
                entries: entries.cast(),
                auxv: Auxv::from_pairs(pairs),
            }
        }
    }

    /// As the C library has them.
    pub fn of_libc() -> Self {
        let kinds = [
            auxvec::AT_SECURE,
            auxvec::AT_HWCAP2,
            auxvec::AT_RSEQ_FEATURE_SIZE,
            auxvec::AT_RSEQ_ALIGN,
        ];
        let pairs = kinds.into_iter().filter_map(|kind| {
            // SAFETY: a look-up by number. 0 stands for "not there", which no rseq entry is.
            let value = unsafe { libc::getauxval(c_ulong::from(kind)) };
            (value != 0).then_some((kind as usize, value as usize))
        });
        Self {
            auxv: Auxv::from_pairs(pairs),
            // SAFETY: the library's variable, read while nobody changes the environment: at load.
            entries: unsafe { libc::environ }.cast_const().cast(),
        }
    }

    /// The entries that can be tunables; none in a set-user-ID program.
    pub fn tunables(&self) -> impl Iterator<Item = &'static [u8]> + use<> {
        let mut next = if self.auxv.secure {
            ptr::null()
        } else {
            self.entries
        };
        core::iter::from_fn(move || {
            // SAFETY: null, or a vector that ends with a null, where the walk stops; its strings end with a
            // zero byte, and last as long as the process.
            unsafe {
                while !next.is_null() && !(*next).is_null() {
                    let entry = (*next).cast::<u8>();
                    next = next.add(1);
                    if begins_with_prefix(entry) {
                        let mut length = 0;
                        while *entry.add(length) != 0 {
                            length += 1;
                        }
                        return Some(slice::from_raw_parts(entry, length));
                    }
                }
            }
            None
        })
    }
}

/// # Safety
/// `entry` ends with a zero byte.
unsafe fn begins_with_prefix(entry: *const u8) -> bool {
    // SAFETY: all bytes before it were equal to the prefix's, so none was the last.
    let differs = |(place, byte): (usize, &u8)| unsafe { *entry.add(place) != *byte };
    !PREFIX.as_bytes().iter().enumerate().any(differs)
}
