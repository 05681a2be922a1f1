// SPDX-License-Identifier: MIT OR Apache-2.0
//! Declared per-vCPU variables: [`per_vcpu!`](crate::per_vcpu!).
//!
//! Each is a cell in the section `vcpu_rt_declared`, 40 bytes, which the start fills with the address
//! of an object that it allocates, before any user code. See `docs/decisions/0007-declared-variables.md`.

use core::cell::UnsafeCell;
use core::ffi::c_int;
use core::ops::Deref;
use core::ptr;
use core::slice;

use linux_raw_sys::general::__NR_exit_group;
use rustix::io::Errno;
use vcpu_abi::{SupportFn, VcpuCell};

use crate::hook::Hook;
use crate::object::{Local, Object};
use crate::report::Line;
use crate::{arch, areas};

/// A per-vCPU variable that lives as long as the process, by [`per_vcpu!`](crate::per_vcpu!).
#[repr(C)]
pub struct Declared<T> {
    /// The address, once the start filled it.
    local: UnsafeCell<Local<T>>,
    size: u64,
    align: u64,
    /// What a program with this has as well: the areas' stage of the start.
    keep: &'static Hook,
    is_supported: Option<SupportFn>,
}

// SAFETY: written by the start alone, while the process has one thread, then only read.
unsafe impl<T: Object> Sync for Declared<T> {}

impl<T: Object> Declared<T> {
    /// What [`per_vcpu!`](crate::per_vcpu!) puts into the section.
    ///
    /// # Safety
    /// It is in the section `vcpu_rt_declared`: else nobody fills it.
    #[doc(hidden)]
    #[must_use]
    pub const unsafe fn new() -> Self {
        const {
            assert!(size_of::<T>() > 0, "a per-vCPU variable has a size");
            assert!(
                align_of::<T>() <= areas::MAX_ALIGN,
                "a per-vCPU variable is aligned to 4096 bytes at most"
            );
        }
        Self {
            local: UnsafeCell::new(Local::NONE),
            size: size_of::<T>() as u64,
            align: align_of::<T>() as u64,
            keep: &areas::START,
            is_supported: Some(is_supported::<T>),
        }
    }
}

extern "C" fn is_supported<T: Object>() -> c_int {
    c_int::from(T::is_supported())
}

impl<T: Object> Deref for Declared<T> {
    type Target = Local<T>;

    #[inline(always)]
    fn deref(&self) -> &Local<T> {
        // SAFETY: not written any more once user code runs.
        unsafe { &*self.local.get() }
    }
}

/// Declares per-vCPU variables, zero on every vCPU:
///
/// ```text
/// per_vcpu! {
///     /// Requests so far.
///     static HITS: Single;
///     pub static CACHE: [Section<u64>; 8];
/// }
/// HITS.inc();
/// ```
///
/// No linker script, no cost at the start where none is declared. A variable may be as large as
/// the stride, to which the start raises what the tunable says. The program does not start where
/// there is no memory for them.
#[macro_export]
macro_rules! per_vcpu {
    ($($(#[$attribute:meta])* $visibility:vis static $name:ident: $type:ty;)+) => {
        $(
            $(#[$attribute])*
            // Written through the section's bounds, which the compiler does not see.
            #[used]
            // SAFETY: the section consists of such cells.
            #[unsafe(link_section = "vcpu_rt_declared")]
            $visibility static $name: $crate::declared::Declared<$type> =
                // SAFETY: in that section.
                unsafe { $crate::declared::Declared::new() };
        )+
    };
}

/// The cells of this program, or of the part of it that is linked with this one.
fn cells() -> &'static [UnsafeCell<VcpuCell>] {
    let (start, end) = arch::declared_bounds();
    let count = (end - start) / size_of::<VcpuCell>();
    if count == 0 {
        // The bounds stand for no place then.
        return &[];
    }
    // SAFETY: the linker's bounds of a section that holds only cells.
    unsafe { slice::from_raw_parts(ptr::with_exposed_provenance(start), count) }
}

/// What the declared variables need at most in an area, bytes.
pub(crate) fn bytes() -> u64 {
    let mut bytes = 0;
    for cell in cells() {
        // SAFETY: nobody writes a cell at this time.
        let cell = unsafe { &*cell.get() };
        // However they come to lie.
        bytes += cell.size + cell.align;
    }
    bytes
}

/// Gives each declared variable its object.
///
/// # Safety
/// Called once, by the areas' start, when there are areas; the process has one thread.
pub(crate) unsafe fn start() {
    for cell in cells() {
        // SAFETY: by the caller's word the only reference.
        let cell = unsafe { &mut *cell.get() };
        if let Some(is_supported) = cell.is_supported
            && is_supported() == 0
        {
            stop(Errno::OPNOTSUPP);
        }
        match areas::alloc(cell.size as usize, cell.align as usize) {
            Ok(first) => cell.first = first.as_ptr().cast(),
            Err(errno) => stop(errno),
        }
    }
}

/// Before there is any user code, and not without its variables.
#[cold]
fn stop(errno: Errno) -> ! {
    Line::new()
        .text("cannot start: ")
        .outcome("no per-vCPU variables", "", Some(errno))
        .print_in_any_case();
    loop {
        // SAFETY: ends the process.
        let _does_not_return = unsafe { arch::syscall(__NR_exit_group, [127, 0, 0, 0]) };
    }
}

const _: () = {
    use core::mem::offset_of;
    use static_assertions::const_assert_eq;
    const_assert_eq!(size_of::<Declared<u64>>(), size_of::<VcpuCell>());
    const_assert_eq!(offset_of!(Declared<u64>, size), offset_of!(VcpuCell, size));
    const_assert_eq!(
        offset_of!(Declared<u64>, align),
        offset_of!(VcpuCell, align)
    );
    const_assert_eq!(offset_of!(Declared<u64>, keep), offset_of!(VcpuCell, keep));
    const_assert_eq!(
        offset_of!(Declared<u64>, is_supported),
        offset_of!(VcpuCell, is_supported)
    );
};
