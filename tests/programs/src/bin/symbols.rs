// SPDX-License-Identifier: MIT OR Apache-2.0
//! Checks one exported symbol, named by the argument, as a C object would use it.
#![no_std]
#![no_main]

use core::ffi::{c_int, c_uint, c_void};
use core::ptr::null_mut;

use vcpu_abi::VcpuAbi;
use vcpu_rt::{env, println, rseq};
use vcpu_test_programs::PASSED;
use vcpu_test_programs::arguments::word;

vcpu_rt::entry!(main);

mod c {
    use super::{VcpuAbi, c_int, c_uint, c_void};
    unsafe extern "C" {
        pub fn _start() -> !;
        pub fn __libc_start_main() -> c_int;
        pub fn main() -> c_int;
        pub fn __stack_chk_fail() -> !;
        pub fn _Unwind_Resume() -> !;
        pub fn rust_eh_personality() -> !;
        pub static environ: *const *const u8;
        pub static vcpu_abi: VcpuAbi;
        pub static __rseq_offset: isize;
        pub static __rseq_size: c_uint;
        pub static __rseq_flags: c_uint;
        pub fn vcpu_alloc(size: usize, align: usize, object: *mut *mut c_void) -> c_int;
        pub fn vcpu_free(object: *mut c_void, size: usize) -> c_int;
        pub fn vcpu_fence(vcpu: i32) -> c_int;
        pub fn vcpu_thread_register() -> c_int;
        pub fn vcpu_thread_unregister() -> c_int;
        pub fn memcpy(to: *mut u8, from: *const u8, count: usize) -> *mut u8;
        pub fn memmove(to: *mut u8, from: *const u8, count: usize) -> *mut u8;
        pub fn memset(to: *mut u8, byte: c_int, count: usize) -> *mut u8;
        pub fn memcmp(left: *const u8, right: *const u8, count: usize) -> c_int;
        pub fn bcmp(left: *const u8, right: *const u8, count: usize) -> c_int;
        pub fn strlen(text: *const u8) -> usize;
    }
}

/// An address that the linker must keep.
struct Address(#[expect(dead_code, reason = "the linker reads it")] *const ());

// SAFETY: nobody follows the pointer.
unsafe impl Sync for Address {}

/// The compiler sees both ends of calls to these and would leave nothing of the symbols.
#[used]
static KEPT: [Address; 9] = [
    Address(c::vcpu_alloc as *const ()),
    Address(c::vcpu_free as *const ()),
    Address(c::vcpu_fence as *const ()),
    Address(c::memcpy as *const ()),
    Address(c::memmove as *const ()),
    Address(c::memset as *const ()),
    Address(c::memcmp as *const ()),
    Address(c::bcmp as *const ()),
    Address(c::strlen as *const ()),
];

const EBUSY: c_int = -16;
const EINVAL: c_int = -22;

fn main() -> i32 {
    let symbol = word(1);
    // SAFETY: each function is called as its documentation in `vcpu_rt.h`, or the C standard,
    // allows; the statics are filled before main and read-only.
    unsafe { check(symbol) };
    println!("{symbol}");
    PASSED
}

unsafe fn check(symbol: &str) {
    // SAFETY: see `main`.
    unsafe {
        match symbol {
            "_start" => assert_eq!(entry_point(), c::_start as *const () as usize),
            // crt1.o's `_start` passes the second to the first; without crt1.o they are unused.
            "__libc_start_main" => assert_function(c::__libc_start_main as *const () as usize),
            "main" => assert_function(c::main as *const () as usize),
            "__stack_chk_fail" => c::__stack_chk_fail(),
            "_Unwind_Resume" => c::_Unwind_Resume(),
            "rust_eh_personality" => c::rust_eh_personality(),
            "environ" => assert_eq!(strings_in(c::environ), env::vars().count()),
            "vcpu_abi" => assert_eq!(c::vcpu_abi.size, vcpu_abi::ABI_SIZE),
            "__rseq_offset" => assert_eq!(c::__rseq_offset, 0x100),
            "__rseq_size" => assert_eq!(c::__rseq_size, c::vcpu_abi.rseq_size),
            "__rseq_flags" => assert_eq!(c::__rseq_flags, 0),
            "vcpu_alloc" => alloc(),
            "vcpu_free" => free(),
            "vcpu_fence" => fence(),
            "vcpu_thread_register" | "vcpu_thread_unregister" => registration(),
            "memcpy" | "memmove" | "memset" | "memcmp" | "bcmp" | "strlen" => memory(symbol),
            other => panic!("{other} has no check"),
        }
    }
}

/// In the program's text, and not where the program starts.
unsafe fn assert_function(address: usize) {
    let text = main as *const () as usize;
    // SAFETY: see `main`.
    assert_ne!(address, unsafe { entry_point() });
    assert!(
        address.abs_diff(text) < 16 << 20,
        "{address:#x} is not near {text:#x}"
    );
}

/// AT_ENTRY: the auxiliary vector lies behind the environment's NULL.
unsafe fn entry_point() -> usize {
    const AT_ENTRY: usize = 9;
    // SAFETY: the kernel's layout of the initial stack (psABI, figure 3.9).
    unsafe {
        let mut pair = c::environ
            .add(strings_in(c::environ) + 1)
            .cast::<[usize; 2]>();
        while (*pair)[0] != AT_ENTRY {
            assert_ne!((*pair)[0], 0, "no AT_ENTRY");
            pair = pair.add(1);
        }
        (*pair)[1]
    }
}

unsafe fn strings_in(array: *const *const u8) -> usize {
    // SAFETY: the array ends with NULL, where the count stops.
    (0..)
        .take_while(|&index| unsafe { !array.add(index).read().is_null() })
        .count()
}

unsafe fn alloc() {
    let mut object = null_mut::<c_void>();
    // SAFETY: see `main`; each copy is as large as asked for.
    unsafe {
        assert_eq!(c::vcpu_alloc(40, 64, &raw mut object), 0);
        assert_eq!(object.addr() % 64, 0);
        for vcpu in 0..c::vcpu_abi.nr_areas as usize {
            let copy = object
                .byte_add(vcpu << c::vcpu_abi.stride_shift)
                .cast::<[u8; 40]>();
            assert_eq!(copy.read(), [0; 40]);
        }
        // The same memory again, and dirty: it must be zero again, everywhere.
        object.cast::<[u8; 40]>().write([0xff; 40]);
        object
            .byte_add(1 << c::vcpu_abi.stride_shift)
            .cast::<[u8; 40]>()
            .write([0xff; 40]);
        assert_eq!((c::vcpu_abi.free)(object, 40), 0);
        let mut again = null_mut::<c_void>();
        assert_eq!((c::vcpu_abi.alloc)(40, 64, &raw mut again), 0);
        assert_eq!(again, object, "first fit");
        assert_eq!(again.cast::<[u8; 40]>().read(), [0; 40]);
        let copy = again
            .byte_add(1 << c::vcpu_abi.stride_shift)
            .cast::<[u8; 40]>();
        assert_eq!(copy.read(), [0; 40]);
        let stride = c::vcpu_abi.stride as usize;
        for (size, align) in [(0, 8), (8, 3), (8, 0), (8, 8192), (stride + 1, 8)] {
            assert_eq!(
                c::vcpu_alloc(size, align, &raw mut object),
                EINVAL,
                "{size} {align}"
            );
        }
    }
}

unsafe fn free() {
    let mut object = null_mut::<c_void>();
    // SAFETY: see `main`. The refused calls free nothing.
    unsafe {
        assert_eq!(c::vcpu_alloc(4096, 4096, &raw mut object), 0);
        assert_eq!(c::vcpu_free(object.byte_add(1), 4096), EINVAL);
        assert_eq!(c::vcpu_free(object, 0), EINVAL);
        assert_eq!(c::vcpu_free(null_mut(), 4096), EINVAL);
        assert_eq!(c::vcpu_free(object, 4096), 0);
        assert_eq!(c::vcpu_free(object, 4096), EINVAL, "it is free already");
    }
}

unsafe fn fence() {
    // SAFETY: see `main`.
    unsafe {
        let offered = c::vcpu_abi.features & vcpu_abi::FEATURE_FENCE != 0;
        let expected = if offered { 0 } else { -38 };
        assert_eq!(c::vcpu_fence(-1), expected);
        assert_eq!((c::vcpu_abi.fence)(0), expected);
        assert_eq!(c::vcpu_fence(-2), EINVAL);
        assert_eq!(c::vcpu_fence(c::vcpu_abi.nr_vcpus.cast_signed()), EINVAL);
    }
}

unsafe fn registration() {
    // SAFETY: see `main`.
    unsafe {
        assert_eq!(c::vcpu_thread_register(), EBUSY);
        assert_eq!(c::vcpu_thread_unregister(), 0);
        assert!(!rseq::is_registered());
        assert_eq!(c::vcpu_thread_unregister(), EINVAL);
        assert_eq!(c::vcpu_thread_register(), 0);
        assert!(rseq::is_registered());
        // The table's functions do the same.
        assert_eq!((c::vcpu_abi.thread_register)(), EBUSY);
        assert_eq!((c::vcpu_abi.thread_unregister)(), 0);
        assert!(!rseq::is_registered());
        assert_eq!((c::vcpu_abi.thread_register)(), 0);
    }
}

/// The contract in a few bytes; `memory.rs` of the tests goes through sizes and alignments.
unsafe fn memory(symbol: &str) {
    let mut bytes = *b"0123456789abcdef";
    let start = bytes.as_mut_ptr();
    // SAFETY: see `main`; all ranges are within the array.
    unsafe {
        match symbol {
            "memcpy" => {
                assert_eq!(c::memcpy(start, start.add(8), 8), start);
                assert_eq!(&bytes, b"89abcdef89abcdef");
            }
            "memmove" => {
                assert_eq!(c::memmove(start.add(2), start, 14), start.add(2));
                assert_eq!(&bytes, b"010123456789abcd");
            }
            "memset" => {
                assert_eq!(c::memset(start.add(1), 0x1_78, 3), start.add(1));
                assert_eq!(&bytes, b"0xxx456789abcdef");
            }
            "memcmp" => {
                assert_eq!(c::memcmp(start, b"0123z".as_ptr(), 4), 0);
                assert!(c::memcmp(start, b"0123z".as_ptr(), 5) < 0);
                assert!(
                    c::memcmp(b"\xff".as_ptr(), b"\x01".as_ptr(), 1) > 0,
                    "unsigned"
                );
            }
            "bcmp" => {
                assert_eq!(c::bcmp(start, b"0123z".as_ptr(), 4), 0);
                assert_ne!(c::bcmp(start, b"0123z".as_ptr(), 5), 0);
            }
            "strlen" => assert_eq!(c::strlen(c"seventeen letters".as_ptr().cast()), 17),
            other => panic!("{other} has no check"),
        }
    }
}
