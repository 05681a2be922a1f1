// SPDX-License-Identifier: MIT OR Apache-2.0
//! Arguments and environment, where the kernel put them. They are never copied.

use core::cell::UnsafeCell;
use core::ffi::{CStr, c_char};
use core::ptr;
use core::slice;

use vcpu_core::tunables;

use crate::arch::string;

struct Vectors {
    argument_count: usize,
    arguments: *const *const c_char,
    environment: *const *const c_char,
}

struct VectorsCell(UnsafeCell<Vectors>);

// SAFETY: written once, at start, while the process has one thread.
unsafe impl Sync for VectorsCell {}

static VECTORS: VectorsCell = VectorsCell(UnsafeCell::new(Vectors {
    argument_count: 0,
    arguments: ptr::null(),
    environment: ptr::null(),
}));

/// # Safety
/// Called once, while the process has one thread, with the vectors of the initial stack.
#[inline(always)]
pub(crate) unsafe fn start(
    argument_count: usize,
    arguments: *const *const c_char,
    environment: *const *const c_char,
) {
    // SAFETY: one thread, and no reference to it exists yet.
    unsafe {
        *VECTORS.0.get() = Vectors {
            argument_count,
            arguments,
            environment,
        }
    };
}

fn vectors() -> &'static Vectors {
    // SAFETY: after the start it is only read.
    unsafe { &*VECTORS.0.get() }
}

/// The strings of a vector that ends with a null pointer.
#[derive(Clone)]
struct Strings(*const *const c_char);

impl Iterator for Strings {
    type Item = &'static CStr;

    fn next(&mut self) -> Option<&'static CStr> {
        if self.0.is_null() {
            return None;
        }
        // SAFETY: the initial stack's vectors end with a null, where the walk stops; strings
        // and vectors last as long as the process.
        unsafe {
            let string = *self.0;
            if string.is_null() {
                return None;
            }
            self.0 = self.0.add(1);
            Some(CStr::from_ptr(string))
        }
    }
}

/// The arguments; the first is by custom the program's name. There may be none.
pub fn args() -> impl Iterator<Item = &'static CStr> + Clone {
    Strings(vectors().arguments)
}

/// How many arguments there are.
pub fn args_len() -> usize {
    vectors().argument_count
}

/// The environment's entries as they are, mostly `NAME=VALUE`.
pub fn entries() -> impl Iterator<Item = &'static CStr> + Clone {
    Strings(vectors().environment)
}

/// The environment's entries that can be tunables. For the start: it looks no further into the
/// others than it must, and calls no memory function.
pub(crate) struct TunableEntries {
    next: *const *const c_char,
}

impl TunableEntries {
    pub(crate) fn new() -> Self {
        Self {
            next: vectors().environment,
        }
    }
}

impl Iterator for TunableEntries {
    type Item = &'static [u8];

    fn next(&mut self) -> Option<&'static [u8]> {
        loop {
            // SAFETY: the initial stack's vectors end with a null, where the walk stops; strings
            // end with a zero byte, where `begins_with` does.
            unsafe {
                let string = (*self.next).cast::<u8>();
                if string.is_null() {
                    return None;
                }
                self.next = self.next.add(1);
                if begins_with(string, tunables::PREFIX) {
                    return Some(slice::from_raw_parts(string, string::length(string)));
                }
            }
        }
    }
}

/// # Safety
/// `string` ends with a zero byte, and `prefix` has none.
#[inline(always)]
unsafe fn begins_with(string: *const u8, prefix: &str) -> bool {
    let mut place = string;
    for &byte in prefix.as_bytes() {
        // SAFETY: all bytes before it were equal to the prefix's, so none was the last.
        unsafe {
            if *place != byte {
                return false;
            }
            place = place.add(1);
        }
    }
    true
}

/// The environment: names and values. Entries without `=` are left out.
pub fn vars() -> impl Iterator<Item = (&'static [u8], &'static CStr)> + Clone {
    entries().filter_map(|entry| {
        let bytes = entry.to_bytes_with_nul();
        let equals = bytes.iter().position(|byte| *byte == b'=')?;
        let value = CStr::from_bytes_with_nul(bytes.get(equals + 1..)?).ok()?;
        Some((bytes.get(..equals)?, value))
    })
}

/// The value of the first variable of that name, as getenv(3).
pub fn var(name: &[u8]) -> Option<&'static CStr> {
    vars().find_map(|(known, value)| (known == name).then_some(value))
}

/// The arguments as main of C takes them.
pub fn argv() -> *const *const c_char {
    vectors().arguments
}

/// The environment as execve(2) takes it.
pub fn environ() -> *const *const c_char {
    vectors().environment
}
