// SPDX-License-Identifier: MIT OR Apache-2.0
//! What others find by name: the table and its functions, as `docs/abi.md` has them.

use core::arch::global_asm;
use core::cell::UnsafeCell;
use core::ffi::{c_int, c_void};
use core::mem::offset_of;
use core::ptr::{self, NonNull};

use vcpu_abi::VcpuAbi;
use vcpu_core::process::found;
use vcpu_core::{table, thread};

use crate::{address_if_there, gs, relro, start};

// Under two names: the exported one may be another object's copy of the table (a COPY relocation), the hidden
// one is always what such a copy is made of.
global_asm!(
    ".pushsection .data.rel.ro.vcpu_abi, \"aw\", @progbits",
    ".balign 64",
    ".globl vcpu_abi, __vcpu_rt_table",
    ".hidden __vcpu_rt_table",
    ".type vcpu_abi, @object",
    ".size vcpu_abi, {size}",
    "vcpu_abi:",
    "__vcpu_rt_table:",
    ".zero {functions}",
    ".quad vcpu_alloc, vcpu_free, vcpu_fence, vcpu_thread_register, vcpu_thread_unregister",
    ".zero {data_functions} - {functions} - 40",
    ".quad vcpu_update_word, vcpu_update_pair, vcpu_update_words, vcpu_try_lock, vcpu_unlock",
    ".quad vcpu_discard, vcpu_statistics, vcpu_resident, vcpu_possible_vcpus",
    ".zero {size} - {data_functions} - 72",
    ".popsection",
    size = const size_of::<VcpuAbi>(),
    functions = const offset_of!(VcpuAbi, alloc),
    data_functions = const offset_of!(VcpuAbi, update_word),
);

/// glibc's three symbols, one behind the other, in a product that has them: between the hidden
/// `__vcpu_rt_rseq` and `__vcpu_rt_rseq_end`.
#[repr(C)]
pub struct RseqSymbols {
    /// `__rseq_offset`.
    pub offset: isize,
    /// `__rseq_size`.
    pub size: u32,
    /// `__rseq_flags`: 0.
    pub flags: u32,
}

/// A static that the start writes.
#[repr(transparent)]
struct Written<T>(UnsafeCell<T>);

// SAFETY: written by the start, then only read.
unsafe impl<T> Sync for Written<T> {}

unsafe extern "C" {
    #[link_name = "__vcpu_rt_table"]
    safe static TABLE: Written<VcpuAbi>;
}

/// Fills the table and `__rseq_*` of this object, while the dynamic linker relocates it: whoever has copies
/// makes them later.
///
/// # Safety
/// Called by the start, when nobody has read them.
pub unsafe fn fill_own(rseq: RseqSymbols) {
    // SAFETY: by the caller's word.
    unsafe { fill_table(TABLE.0.get()) };
    if let Some(place) = NonNull::new(own_rseq()) {
        // SAFETY: as above.
        unsafe { *place.as_ptr() = rseq };
    }
}

/// As [`fill_own`] in a constructor, when all of it is read-only and copies have been made.
///
/// # Safety
/// Called by the start.
pub unsafe fn fill_later(rseq: RseqSymbols) {
    // SAFETY: by the caller's word.
    unsafe { fill_tables() };
    let own = own_rseq().addr();
    if own == 0 && !start::is_owner() {
        // They are the C library's, and true.
        return;
    }
    let place = |field| if own == 0 { 0 } else { own + field };
    let RseqSymbols { offset, size, .. } = rseq;
    let everybodys = address_if_there!("__rseq_offset");
    for place in copies(place(offset_of!(RseqSymbols, offset)), everybodys) {
        let place = ptr::with_exposed_provenance_mut::<isize>(place);
        // SAFETY: the symbol, or a copy of it.
        let _stays_as_it_was = relro::while_writable(place.addr(), || unsafe { *place = offset });
    }
    let everybodys = address_if_there!("__rseq_size");
    for place in copies(place(offset_of!(RseqSymbols, size)), everybodys) {
        let place = ptr::with_exposed_provenance_mut::<u32>(place);
        // SAFETY: as above.
        let _stays_as_it_was = relro::while_writable(place.addr(), || unsafe { *place = size });
    }
}

/// Fills the table and its copy, if there is one, though both are read-only by now.
///
/// # Safety
/// Nobody reads them meanwhile.
pub unsafe fn fill_tables() {
    let everybodys = address_if_there!("vcpu_abi", ours);
    for place in copies(TABLE.0.get().addr(), everybodys) {
        let place = ptr::with_exposed_provenance_mut::<VcpuAbi>(place);
        // SAFETY: our table, or a copy of it. Refused: it stays as it was, absent or of another mode.
        let _stays_as_it_was = relro::while_writable(place.addr(), || unsafe { fill_table(place) });
    }
}

/// Our own, and what everybody finds if that is another one.
fn copies(own: usize, everybodys: usize) -> impl Iterator<Item = usize> {
    let other = if everybodys == own { 0 } else { everybodys };
    [own, other].into_iter().filter(|place| *place != 0)
}

/// This product's `__rseq_*`, or null where it has none. Both bounds are one address then, which need not be 0: in
/// a PIE by gold it is the load base.
fn own_rseq() -> *mut RseqSymbols {
    let start = address_if_there!("__vcpu_rt_rseq", hidden);
    let end = address_if_there!("__vcpu_rt_rseq_end", hidden);
    let place = if start == end { 0 } else { start };
    ptr::with_exposed_provenance_mut(place)
}

/// Whether this product has `__rseq_*`, by which others find an area of our own.
pub fn announces() -> bool {
    !own_rseq().is_null()
}

/// # Safety
/// `place` is writable, and nobody reads it yet.
unsafe fn fill_table(place: *mut VcpuAbi) {
    // SAFETY: by the caller's word.
    table::fill(unsafe { &mut *place }, found());
}

/// See [`vcpu_abi::AllocFn`].
#[unsafe(no_mangle)]
unsafe extern "C" fn vcpu_alloc(size: usize, align: usize, object: *mut *mut c_void) -> c_int {
    // SAFETY: by the caller's word.
    unsafe { table::alloc(size, align, object) }
}

/// See [`vcpu_abi::FreeFn`].
#[unsafe(no_mangle)]
unsafe extern "C" fn vcpu_free(object: *mut c_void, size: usize) -> c_int {
    // SAFETY: by the caller's word.
    unsafe { table::free(object, size) }
}

/// See [`vcpu_abi::FenceFn`].
#[unsafe(no_mangle)]
unsafe extern "C" fn vcpu_fence(vcpu: i32) -> c_int {
    // SAFETY: no duties.
    unsafe { table::fence(vcpu) }
}

/// See [`vcpu_abi::ThreadFn`].
#[unsafe(no_mangle)]
unsafe extern "C" fn vcpu_thread_register() -> c_int {
    table::status(thread::register())
}

/// See [`vcpu_abi::ThreadFn`].
#[unsafe(no_mangle)]
unsafe extern "C" fn vcpu_thread_unregister() -> c_int {
    table::status(thread::unregister())
}

/// Switches the GS mode on, as VCPU_RT_GS=on does at start. 0 or a negative errno: see
/// [`gs::request`](crate::gs::request).
#[unsafe(no_mangle)]
unsafe extern "C" fn vcpu_request_gs_mode() -> c_int {
    // SAFETY: by the caller's word.
    table::status(unsafe { gs::request() })
}

vcpu_core::__vcpu_data_functions!();
