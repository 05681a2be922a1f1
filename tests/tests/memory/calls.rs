// SPDX-License-Identifier: MIT OR Apache-2.0
//! The six functions behind the prefix `vcpu_rt_`, called with slices; and memory of which the
//! neighbourhood cannot be touched.

use std::arch::asm;
use std::cmp::Ordering;
use std::ffi::{c_char, c_int, c_void};

vcpu_rt::__vcpu_rt_memory_functions!("vcpu_rt_");

unsafe extern "C" {
    pub fn vcpu_rt_memcpy(
        destination: *mut c_void,
        source: *const c_void,
        size: usize,
    ) -> *mut c_void;
    pub fn vcpu_rt_memmove(
        destination: *mut c_void,
        source: *const c_void,
        size: usize,
    ) -> *mut c_void;
    pub fn vcpu_rt_memset(destination: *mut c_void, value: c_int, size: usize) -> *mut c_void;
    pub fn vcpu_rt_memcmp(left: *const c_void, right: *const c_void, size: usize) -> c_int;
    pub fn vcpu_rt_bcmp(left: *const c_void, right: *const c_void, size: usize) -> c_int;
    pub fn vcpu_rt_strlen(string: *const c_char) -> usize;
}

/// The size of a page.
pub const PAGE: usize = 4096;

/// Memory between two pages that cannot be read or written.
pub struct Guarded {
    mapping: *mut u8,
    size: usize,
}

impl Guarded {
    pub fn new(size: usize) -> Self {
        let size = size.next_multiple_of(PAGE);
        // SAFETY: a new mapping of our own, of which the middle is opened.
        unsafe {
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
            let mapping = libc::mmap(
                std::ptr::null_mut(),
                size + 2 * PAGE,
                libc::PROT_NONE,
                flags,
                -1,
                0,
            );
            assert_ne!(mapping, libc::MAP_FAILED);
            let open = libc::PROT_READ | libc::PROT_WRITE;
            assert_eq!(libc::mprotect(mapping.byte_add(PAGE), size, open), 0);
            Self {
                mapping: mapping.cast(),
                size,
            }
        }
    }

    pub fn all(&mut self) -> &mut [u8] {
        // SAFETY: the opened part of the mapping, borrowed as long as self is.
        unsafe { std::slice::from_raw_parts_mut(self.mapping.add(PAGE), self.size) }
    }

    /// The first or the last `size` bytes: one end of them touches a closed page.
    pub fn part(&mut self, size: usize, at_end: bool) -> &mut [u8] {
        let start = if at_end { self.size - size } else { 0 };
        &mut self.all()[start..start + size]
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        // SAFETY: the mapping made by `new`; no slice of it outlives self.
        unsafe { libc::munmap(self.mapping.cast(), self.size + 2 * PAGE) };
    }
}

pub fn copy(destination: &mut [u8], source: &[u8]) {
    assert_eq!(destination.len(), source.len());
    let start: *mut c_void = destination.as_mut_ptr().cast();
    // SAFETY: two slices of this size, which as references do not overlap.
    let result = unsafe { vcpu_rt_memcpy(start, source.as_ptr().cast(), source.len()) };
    assert_eq!(result, start);
}

pub fn move_within(buffer: &mut [u8], source: usize, destination: usize, size: usize) {
    assert!(source.max(destination) + size <= buffer.len());
    let base = buffer.as_mut_ptr();
    // SAFETY: both operands lie in the buffer, by the assertion.
    let (start, result) = unsafe {
        let start: *mut c_void = base.add(destination).cast();
        (start, vcpu_rt_memmove(start, base.add(source).cast(), size))
    };
    assert_eq!(result, start);
}

pub fn set(destination: &mut [u8], value: c_int) {
    let start: *mut c_void = destination.as_mut_ptr().cast();
    // SAFETY: a slice of this size.
    let result = unsafe { vcpu_rt_memset(start, value, destination.len()) };
    assert_eq!(result, start);
}

/// memcmp's result, which must be bcmp's too as far as bcmp's means something.
pub fn compare(left: &[u8], right: &[u8]) -> Ordering {
    assert_eq!(left.len(), right.len());
    let (first, second) = (left.as_ptr().cast(), right.as_ptr().cast());
    // SAFETY: two slices of this size.
    let (result, equal) = unsafe {
        let size = left.len();
        (
            vcpu_rt_memcmp(first, second, size),
            vcpu_rt_bcmp(first, second, size) == 0,
        )
    };
    assert_eq!(result == 0, equal);
    result.cmp(&0)
}

pub fn length(string: &[u8]) -> usize {
    assert!(string.contains(&0));
    // SAFETY: the slice holds a zero byte.
    unsafe { vcpu_rt_strlen(string.as_ptr().cast()) }
}

/// Calls `function` and looks at what the psABI makes it keep: the stack pointer, rbx, rbp and r12
/// to r15, and a clear direction flag.
pub fn check_registers(function: usize, first: usize, second: usize, size: usize) {
    let (stack, base, frame, fifteen, flags): (u64, u64, u64, u64, u64);
    // SAFETY: one of the six functions, with operands that it accepts; what it may change is said
    // by clobber_abi. The block uses the stack, so `nostack` is not set; r12 to r15 are outputs.
    unsafe {
        asm!(
            "mov r12, rsp",
            "mov r13, rbx",
            "mov r14, rbp",
            "mov r15, 15",
            "call rax",
            "pushfq",
            "pop rdx",
            "xor r12, rsp",
            "xor r13, rbx",
            "xor r14, rbp",
            inout("rax") function => _,
            inout("rdi") first => _,
            inout("rsi") second => _,
            inout("rdx") size => flags,
            out("r12") stack,
            out("r13") base,
            out("r14") frame,
            out("r15") fifteen,
            clobber_abi("C"),
        );
    }
    assert_eq!((stack, base, frame, fifteen), (0, 0, 0, 15));
    assert_eq!(flags & 1 << 10, 0, "the direction flag");
}
