// SPDX-License-Identifier: MIT OR Apache-2.0
//! Two users of the ABI at once: this crate, and a C library that brings `libvcpu_rt.so`.

use std::ffi::{CString, c_char, c_void};
use std::mem;
use std::thread;

use vcpu_rt_hosted::found;

use crate::{HITS, ROUNDS, THREADS};

type Start = extern "C" fn() -> u32;
type Add = extern "C" fn();
type Sum = extern "C" fn() -> u64;

/// A function of the library. Panics where there is none.
///
/// # Safety
/// `F` is its type.
unsafe fn function<F: Copy>(library: *mut c_void, name: &str) -> F {
    let name = CString::new(name).expect("no NUL");
    // SAFETY: a library that was loaded, and a terminated name.
    let address = unsafe { libc::dlsym(library, name.as_ptr()) };
    assert!(!address.is_null(), "{name:?}");
    assert_eq!(size_of::<F>(), size_of::<*mut c_void>());
    // SAFETY: a function of that type, by the caller's word.
    unsafe { mem::transmute_copy(&address) }
}

pub fn run(path: &str) {
    let path = CString::new(path).expect("no NUL");
    // SAFETY: a terminated path.
    let library = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW) };
    if library.is_null() {
        // SAFETY: dlopen failed, so there is a message.
        let message = unsafe { std::ffi::CStr::from_ptr(libc::dlerror().cast::<c_char>()) };
        panic!("{message:?}");
    }
    // SAFETY: the types of tests/hosted/users_library.c.
    let (start, add, sum, in_last_area): (Start, Add, Sum, Sum) = unsafe {
        (
            function(library, "users_start"),
            function(library, "users_add"),
            function(library, "users_sum"),
            function(library, "users_in_last_area"),
        )
    };
    println!("library_mode={}", start());
    println!("own_mode={}", found().mode as u32);
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                for _ in 0..ROUNDS {
                    HITS.inc();
                    add();
                }
            });
        }
    });
    assert_eq!(HITS.sum(), THREADS * ROUNDS);
    assert_eq!(sum(), THREADS * ROUNDS);
    println!("library_last_area={}", in_last_area());
    let own = HITS
        .read(found().nr_vcpus())
        .expect("there is such an area");
    println!("own_last_area={own}");
}
