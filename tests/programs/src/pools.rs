// SPDX-License-Identifier: MIT OR Apache-2.0
//! Objects of the areas, copy by copy, and what they cost.

use core::ffi::CStr;
use core::ptr;
use core::slice;

use linux_raw_sys::general as nr;
use vcpu_rt::{Errno, areas, found};

use crate::syscall::{close, syscall};

/// An object that was allocated; it stays so unless [`Allocated::free`] is called.
#[derive(Clone, Copy)]
pub struct Allocated {
    /// vCPU 0's copy.
    pub first: *mut u8,
    /// Bytes.
    pub size: usize,
}

impl Allocated {
    /// Allocates.
    pub fn new(size: usize, align: usize) -> Result<Self, Errno> {
        let first = areas::alloc(size, align)?.as_ptr();
        assert!(first.addr().is_multiple_of(align));
        Ok(Self { first, size })
    }

    /// Its bytes in one area.
    ///
    /// # Safety
    /// It is allocated, and nobody else uses this copy while the slice is.
    pub unsafe fn copy(&self, area: u32) -> &'static mut [u8] {
        let offset = area as usize * found().reservation().stride as usize;
        let copy = ptr::with_exposed_provenance_mut(self.first.expose_provenance() + offset);
        // SAFETY: the areas stay mapped; the copy is ours by the caller's word.
        unsafe { slice::from_raw_parts_mut(copy, self.size) }
    }

    /// Fills the copies in all areas that can be in use.
    ///
    /// # Safety
    /// As for [`Allocated::copy`].
    pub unsafe fn fill(&self, byte: u8) {
        for area in found().used_areas() {
            // SAFETY: by the caller's word.
            unsafe { self.copy(area) }.fill(byte);
        }
    }

    /// Whether every byte in all areas that can be in use is `byte`.
    ///
    /// # Safety
    /// As for [`Allocated::copy`].
    pub unsafe fn is_full_of(&self, byte: u8) -> bool {
        found().used_areas().all(|area| {
            // SAFETY: by the caller's word.
            unsafe { self.copy(area) }
                .iter()
                .all(|&found| found == byte)
        })
    }

    /// Frees.
    ///
    /// # Safety
    /// Nobody uses it any more.
    pub unsafe fn free(self) -> Result<(), Errno> {
        // SAFETY: by the caller's word.
        unsafe { areas::free(self.first, self.size) }
    }
}

/// Memory in KiB, exact: VmRSS lacks, before Linux 6.16, what each CPU has not told yet.
pub fn resident_kib() -> usize {
    kib(c"/proc/self/smaps_rollup", "Rss")
}

/// A field of /proc/self/status that is given in KiB, such as `VmPTE`.
pub fn status_kib(name: &str) -> usize {
    kib(c"/proc/self/status", name)
}

fn kib(path: &CStr, name: &str) -> usize {
    let path = path.as_ptr().expose_provenance();
    let mut text = [0_u8; 4096];
    let place = text.as_mut_ptr().expose_provenance();
    // SAFETY: a terminated path, and a buffer of the size that read(2) is told.
    let length = unsafe {
        let file = syscall(nr::__NR_open, [path, 0, 0, 0]).expect("/proc is mounted");
        let length = syscall(nr::__NR_read, [file, place, text.len(), 0]);
        close(file).expect("it is open");
        length.expect("it can be read")
    };
    let text = core::str::from_utf8(&text[..length]).expect("the kernel writes ASCII");
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let line = line.expect("the kernel writes such a line");
    let number = line.trim_start_matches(':').trim().trim_end_matches(" kB");
    number.parse().expect("a number")
}

/// Numbers of a small generator (Numerical Recipes' linear one), for tests that want many cases.
pub struct Numbers(pub u32);

impl Numbers {
    /// A number below `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (self.0 >> 8) as usize % bound
    }
}
