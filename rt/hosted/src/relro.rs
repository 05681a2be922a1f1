// SPDX-License-Identifier: MIT OR Apache-2.0
//! Writes to what the dynamic linker made read-only: in a constructor the table is in RELRO already,
//! ours or that of an executable with a copy of it.

use core::ffi::{c_int, c_void};
use core::{ptr, slice};

use linux_raw_sys::elf_uapi::PT_GNU_RELRO;
use linux_raw_sys::general::{__NR_mprotect, PROT_READ, PROT_WRITE};
use vcpu_core::{Errno, arch};

use crate::libc::{ObjectInfo, dl_iterate_phdr};

const PAGE: usize = 4096;

/// Looked for and found: the pages of RELRO around an address.
struct Pages {
    address: usize,
    start: usize,
    bytes: usize,
}

/// Runs `write`, which changes what is at `address`. Where that is in RELRO, its pages are
/// writable meanwhile.
///
/// # Errors
/// mprotect(2) was refused, and `write` was not run.
pub fn while_writable(address: usize, write: impl FnOnce()) -> Result<(), Errno> {
    let mut pages = Pages {
        address,
        start: 0,
        bytes: 0,
    };
    // SAFETY: `look` takes such a pointer.
    unsafe { dl_iterate_phdr(look, ptr::from_mut(&mut pages).cast()) };
    if pages.bytes == 0 {
        write();
        return Ok(());
    }
    protect(&pages, PROT_READ | PROT_WRITE)?;
    write();
    // Not refused after what was just allowed; if it is, the pages are as before RELRO.
    let _stays_writable = protect(&pages, PROT_READ);
    Ok(())
}

fn protect(pages: &Pages, protection: u32) -> Result<(), Errno> {
    let arguments = [pages.start, pages.bytes, protection as usize, 0];
    // SAFETY: pages with nothing but RELRO, whose owner is done with them or waits for us.
    unsafe { arch::syscall(__NR_mprotect, arguments) }.map(|_| ())
}

extern "C" fn look(object: *const ObjectInfo, _: usize, data: *mut c_void) -> c_int {
    // SAFETY: the C library's description of an object, with its program headers, and our own struct.
    let (object, pages) = unsafe { (&*object, &mut *data.cast::<Pages>()) };
    let count = usize::from(object.program_header_count);
    if count == 0 {
        return 0;
    }
    // SAFETY: as above.
    let headers = unsafe { slice::from_raw_parts(object.program_headers, count) };
    for header in headers
        .iter()
        .filter(|header| header.p_type == PT_GNU_RELRO)
    {
        let start = object.base.wrapping_add(header.p_vaddr as usize);
        let end = start.wrapping_add(header.p_memsz as usize);
        // As the dynamic linkers round: whole pages only.
        let (start, end) = (start & !(PAGE - 1), end & !(PAGE - 1));
        if (start..end).contains(&pages.address) {
            pages.start = start;
            pages.bytes = end - start;
            return 1;
        }
    }
    0
}
