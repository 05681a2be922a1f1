// SPDX-License-Identifier: MIT OR Apache-2.0
//! The program's own ELF headers, as the kernel mapped them.

use linux_raw_sys::elf_uapi::{PT_GNU_RELRO, PT_TLS, elf64_phdr};
use vcpu_core::auxv::Auxv;

/// The segments that the start acts by.
#[derive(Clone, Copy, Default)]
pub struct Segments {
    /// PT_TLS.
    pub tls: Option<&'static elf64_phdr>,
    /// PT_GNU_RELRO.
    pub relro: Option<&'static elf64_phdr>,
}

impl Segments {
    /// Finds them. The gABI allows one of each.
    ///
    /// # Safety
    /// `auxv` is this process's own.
    #[inline(always)]
    pub unsafe fn of_this_program(auxv: &Auxv) -> Self {
        let mut segments = Self::default();
        let first = core::ptr::with_exposed_provenance::<elf64_phdr>(auxv.program_headers);
        for index in 0..auxv.program_header_count {
            // SAFETY: AT_PHDR and AT_PHNUM describe the headers inside the first segment, which
            // is mapped for the life of the process and not written.
            let header = unsafe { &*first.add(index) };
            match header.p_type {
                PT_TLS => segments.tls = Some(header),
                PT_GNU_RELRO => segments.relro = Some(header),
                _ => {}
            }
        }
        segments
    }
}
