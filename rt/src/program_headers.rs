// SPDX-License-Identifier: MIT OR Apache-2.0
//! The program's own ELF headers, as the kernel mapped them.

use linux_raw_sys::elf_uapi::elf64_phdr as ProgramHeader;
pub use linux_raw_sys::elf_uapi::{PT_GNU_RELRO, PT_TLS};
use vcpu_core::auxv::Auxv;

/// The program headers.
///
/// # Safety
/// `auxv` is this process's own.
#[inline(always)]
pub unsafe fn of_this_program(auxv: &Auxv) -> &'static [ProgramHeader] {
    let first = core::ptr::with_exposed_provenance::<ProgramHeader>(auxv.program_headers);
    if first.is_null() {
        return &[];
    }
    // SAFETY: AT_PHDR and AT_PHNUM describe the headers inside the first segment, which is mapped
    // for the life of the process and not written.
    unsafe { core::slice::from_raw_parts(first, auxv.program_header_count) }
}

/// The first header of that type.
#[inline(always)]
pub fn find(headers: &'static [ProgramHeader], kind: u32) -> Option<&'static ProgramHeader> {
    headers.iter().find(|header| header.p_type == kind)
}
