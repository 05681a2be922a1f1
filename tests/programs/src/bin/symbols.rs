// SPDX-License-Identifier: MIT OR Apache-2.0
//! Checks one exported symbol, named by the argument, as a C object would use it.
#![no_std]
#![no_main]

use core::ffi::{c_int, c_uint, c_void};
use core::ptr::null_mut;

use linux_raw_sys::general as nr;
use vcpu_abi::{
    BUSY, DIFFERENT, UPDATE_8, UPDATE_16, UPDATE_32, UPDATE_64, UPDATE_ADD,
    UPDATE_COMPARE_EXCHANGE, UPDATE_EXCHANGE, UPDATE_LOAD, UPDATE_STORE, UPDATE_XOR, VcpuAbi,
    VcpuStatistics, VcpuWordsUpdate, WORDS_COMPARE_EQUAL_STORE, WORDS_COMPARE_NOT_EQUAL_LOAD_STORE,
};
use vcpu_rt::{env, println, rseq};
use vcpu_test_programs::PASSED;
use vcpu_test_programs::arguments::word;
use vcpu_test_programs::syscall::syscall;

vcpu_rt::entry!(main);

mod c {
    use super::{VcpuAbi, VcpuStatistics, VcpuWordsUpdate, c_int, c_uint, c_void};
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
        pub fn vcpu_update_word(word: *mut c_void, update: u32, operand: u64, expected: u64)
        -> u64;
        pub fn vcpu_update_pair(words: *mut c_void, expected: *mut u64, desired: *const u64);
        pub fn vcpu_update_words(word: *mut c_void, update: *mut VcpuWordsUpdate) -> c_int;
        pub fn vcpu_try_lock(lock: *mut u64) -> c_int;
        pub fn vcpu_unlock(lock: *mut u64);
        pub fn vcpu_discard(object: *mut c_void, size: usize, area: u32) -> c_int;
        pub fn vcpu_statistics(statistics: *mut VcpuStatistics, size: usize) -> c_int;
        pub fn vcpu_resident(area: u32, bytes: *mut u64) -> c_int;
        pub fn vcpu_possible_vcpus() -> u32;
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
static KEPT: [Address; 18] = [
    Address(c::vcpu_alloc as *const ()),
    Address(c::vcpu_free as *const ()),
    Address(c::vcpu_fence as *const ()),
    Address(c::vcpu_update_word as *const ()),
    Address(c::vcpu_update_pair as *const ()),
    Address(c::vcpu_update_words as *const ()),
    Address(c::vcpu_try_lock as *const ()),
    Address(c::vcpu_unlock as *const ()),
    Address(c::vcpu_discard as *const ()),
    Address(c::vcpu_statistics as *const ()),
    Address(c::vcpu_resident as *const ()),
    Address(c::vcpu_possible_vcpus as *const ()),
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
            "vcpu_update_word" => update_word(),
            "vcpu_update_pair" => update_pair(),
            "vcpu_update_words" => update_words(),
            "vcpu_try_lock" | "vcpu_unlock" => lock(),
            "vcpu_discard" | "vcpu_resident" => discard(),
            "vcpu_statistics" => statistics(),
            "vcpu_possible_vcpus" => possible_vcpus(),
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

/// An object of so many bytes.
unsafe fn object(size: usize) -> *mut c_void {
    let mut object = null_mut::<c_void>();
    // SAFETY: see `main`.
    assert_eq!(unsafe { c::vcpu_alloc(size, 16, &raw mut object) }, 0);
    object
}

/// The sum of the copies of a word of 8 bytes, which nobody updates.
unsafe fn sum(word: *mut c_void) -> u64 {
    // SAFETY: see `main`; inside the object of each area.
    unsafe {
        let copy = |area: u32| word.byte_add((area as usize) << c::vcpu_abi.stride_shift);
        let values = (0..c::vcpu_abi.nr_areas).map(|area| copy(area).cast::<u64>().read());
        values.fold(0, u64::wrapping_add)
    }
}

/// A load stores nothing, in a section or without one: it works on pages that cannot be written.
unsafe fn load_of_read_only() {
    const PAGE: usize = 4096;
    let mut object = null_mut::<c_void>();
    // SAFETY: see `main`; only what was allocated changes its protection.
    unsafe {
        assert_eq!(c::vcpu_alloc(PAGE, PAGE, &raw mut object), 0);
        let protect = |protection: u32| {
            for area in 0..c::vcpu_abi.nr_areas {
                let copy = object.byte_add((area as usize) << c::vcpu_abi.stride_shift);
                let arguments = [copy.expose_provenance(), PAGE, protection as usize, 0];
                assert!(syscall(nr::__NR_mprotect, arguments).is_ok());
            }
        };
        protect(nr::PROT_READ);
        for width in [UPDATE_8, UPDATE_16, UPDATE_32, UPDATE_64] {
            let word = object.byte_add(8);
            assert_eq!(c::vcpu_update_word(word, UPDATE_LOAD | width, 1, 1), 0);
        }
        protect(nr::PROT_READ | nr::PROT_WRITE);
        assert_eq!(c::vcpu_free(object, PAGE), 0);
    }
}

unsafe fn update_word() {
    // SAFETY: see `main`. The thread is unregistered, so that all is on one area.
    unsafe {
        load_of_read_only();
        let word = object(16);
        let unregistered = c::vcpu_thread_unregister();
        assert!(unregistered == 0 || c::vcpu_abi.mode == 0);
        let update = |update, operand| c::vcpu_update_word(word, update, operand, 7);
        assert_eq!(update(UPDATE_ADD | UPDATE_64, 5), 0);
        assert_eq!(update(UPDATE_COMPARE_EXCHANGE | UPDATE_64, 9), 5);
        assert_eq!(update(UPDATE_EXCHANGE | UPDATE_64, 7), 5);
        assert_eq!(update(UPDATE_COMPARE_EXCHANGE | UPDATE_64, 9), 7);
        // A narrow update leaves the bytes beside it.
        update(UPDATE_STORE | UPDATE_64, u64::MAX);
        assert_eq!(update(UPDATE_ADD | UPDATE_8, 0x101), 0xff);
        assert_eq!(update(UPDATE_ADD | UPDATE_16, 0x10001), 0xff00);
        update(UPDATE_XOR | UPDATE_32, 0xffff_ffff);
        assert_eq!(update(UPDATE_LOAD | UPDATE_64, 0), 0xffff_ffff_0000_00fe);
        assert_eq!(sum(word), 0xffff_ffff_0000_00fe);
        assert_eq!((c::vcpu_abi.update_word)(word, UPDATE_64, 0, 0), sum(word));
        load_of_read_only();
    }
}

unsafe fn update_pair() {
    // SAFETY: see `main`.
    unsafe {
        let pair = object(16);
        let _unregistered = c::vcpu_thread_unregister();
        let mut seen = [0, 0];
        c::vcpu_update_pair(pair, seen.as_mut_ptr(), [1, 2].as_ptr());
        assert_eq!(seen, [0, 0]);
        (c::vcpu_abi.update_pair)(pair, seen.as_mut_ptr(), [3, 4].as_ptr());
        assert_eq!(seen, [1, 2]);
        assert_eq!((sum(pair), sum(pair.byte_add(8))), (1, 2));
    }
}

unsafe fn update_words() {
    // SAFETY: see `main`.
    unsafe {
        let word = object(8);
        let _unregistered = c::vcpu_thread_unregister();
        let mut next = 33_u64;
        let mut update = VcpuWordsUpdate {
            operation: WORDS_COMPARE_EQUAL_STORE,
            reserved: 0,
            expected: 0,
            other: null_mut(),
            value: 0,
            length: 0,
            desired: (&raw mut next).expose_provenance() as u64,
        };
        assert_eq!(c::vcpu_update_words(word, &raw mut update), 0);
        assert_eq!(c::vcpu_update_words(word, &raw mut update), DIFFERENT);
        update.operation = WORDS_COMPARE_NOT_EQUAL_LOAD_STORE;
        let address = core::mem::replace(&mut update.desired, 0);
        assert_eq!((c::vcpu_abi.update_words)(word, &raw mut update), 0);
        assert_eq!((update.desired, sum(word)), (address, 33));
        update.operation = u32::MAX;
        assert_eq!(c::vcpu_update_words(word, &raw mut update), EINVAL);
    }
}

unsafe fn lock() {
    let mut lock = 0_u64;
    let place = &raw mut lock;
    // SAFETY: see `main`.
    unsafe {
        assert_eq!(c::vcpu_try_lock(place), 0);
        assert_ne!(place.read(), 0);
        assert_eq!(c::vcpu_try_lock(place), BUSY);
        c::vcpu_unlock(place);
        assert_eq!((c::vcpu_abi.try_lock)(place), 0);
        (c::vcpu_abi.unlock)(place);
        assert_eq!(place.read(), 0);
        // Another process's, whose thread is not here.
        place.write(0x7fff_ffff << 32 | 1);
        assert_eq!(c::vcpu_try_lock(place), 0);
    }
}

unsafe fn discard() {
    const PAGES: usize = 16 * 4096;
    // SAFETY: see `main`.
    unsafe {
        let object = object(PAGES);
        let last = c::vcpu_abi.nr_vcpus;
        let copy = object.byte_add((last as usize) << c::vcpu_abi.stride_shift);
        let resident = || {
            let mut bytes = 0;
            assert_eq!(c::vcpu_resident(last, &raw mut bytes), 0);
            bytes
        };
        let before = resident();
        copy.cast::<[u8; PAGES]>().write([0xff; PAGES]);
        assert!(resident() >= before + (PAGES as u64 - 4096));
        assert_eq!(c::vcpu_discard(object, PAGES, last + 1), EINVAL);
        assert_eq!(c::vcpu_discard(object, 8, last), EINVAL);
        assert_eq!(c::vcpu_discard(object, PAGES, last), 0);
        assert!(resident() <= before + 8192);
        assert_eq!(copy.cast::<[u8; PAGES]>().read(), [0; PAGES]);
        assert_eq!((c::vcpu_abi.discard)(object, PAGES, last), 0);
        assert_eq!((c::vcpu_abi.resident)(last + 1, null_mut()), EINVAL);
    }
}

unsafe fn statistics() {
    let mut found = [VcpuStatistics::default(); 2];
    // SAFETY: see `main`; as many bytes as are told.
    unsafe {
        let all = size_of::<VcpuStatistics>();
        assert_eq!(c::vcpu_statistics(&raw mut found[0], all), 0);
        object(4096);
        // A consumer that knows one field less.
        assert_eq!((c::vcpu_abi.statistics)(&raw mut found[1], all - 8), 0);
        let [before, after] = found;
        assert_eq!(before.stride, c::vcpu_abi.stride);
        assert_eq!(before.nr_areas, c::vcpu_abi.nr_areas.into());
        assert_eq!(before.pools * before.stride, before.used + before.available);
        assert_eq!(after.objects, before.objects + 1);
        assert_eq!(after.used, before.used + 4096);
        assert_eq!(after.available, 0);
    }
}

unsafe fn possible_vcpus() {
    // SAFETY: see `main`.
    unsafe {
        let possible = c::vcpu_possible_vcpus();
        assert!(possible >= 1 && possible <= c::vcpu_abi.nr_vcpus);
        assert_eq!((c::vcpu_abi.possible_vcpus)(), possible);
        let areas = vcpu_rt::vcpu::areas();
        assert!(areas.eq((0..possible).chain([c::vcpu_abi.nr_vcpus])));
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
