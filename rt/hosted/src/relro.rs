// SPDX-License-Identifier: MIT OR Apache-2.0
//! Writes to what the dynamic linker made read-only: in a constructor the table is in RELRO already,
//! ours or that of an executable with a copy of it.

use linux_raw_sys::elf_uapi::{Elf64_Phdr, PT_GNU_RELRO};
use linux_raw_sys::general::{__NR_mprotect, PROT_READ, PROT_WRITE};
use vcpu_core::{Errno, arch};

use crate::libc::find_in_objects;

const PAGE: usize = 4096;

/// Pages of RELRO.
#[derive(Clone, Copy)]
pub struct Pages {
    start: usize,
    bytes: usize,
}

impl Pages {
    /// Those around an address, of the object at `base` with these program headers.
    pub fn of(base: usize, headers: &[Elf64_Phdr], address: usize) -> Option<Self> {
        let relro = headers
            .iter()
            .filter(|header| header.p_type == PT_GNU_RELRO);
        let mut pages = relro.map(|header| {
            let start = base.wrapping_add(header.p_vaddr as usize);
            let end = start.wrapping_add(header.p_memsz as usize);
            // As the dynamic linkers round: whole pages only.
            let (start, end) = (start & !(PAGE - 1), end & !(PAGE - 1));
            Self {
                start,
                bytes: end.saturating_sub(start),
            }
        });
        pages.find(|pages| (pages.start..pages.start + pages.bytes).contains(&address))
    }

    /// Lets them be written.
    ///
    /// # Errors
    /// mprotect(2) was refused.
    pub fn make_writable(self) -> Result<(), Errno> {
        self.protect(PROT_READ | PROT_WRITE)
    }

    /// Makes them what they were.
    pub fn make_read_only(self) {
        // Not refused after what was just allowed; if it is, the pages are as before RELRO.
        let _stays_writable = self.protect(PROT_READ);
    }

    fn protect(self, protection: u32) -> Result<(), Errno> {
        let arguments = [self.start, self.bytes, protection as usize, 0];
        // SAFETY: pages with nothing but RELRO, whose owner is done with them or waits for us.
        unsafe { arch::syscall(__NR_mprotect, arguments) }.map(|_| ())
    }
}

/// Runs `write`, which changes what is at `address`. Where that is in RELRO, its pages are
/// writable meanwhile.
///
/// # Errors
/// mprotect(2) was refused, and `write` was not run.
pub fn while_writable(address: usize, write: impl FnOnce()) -> Result<(), Errno> {
    let pages = find_in_objects(|object| {
        // SAFETY: the C library shows it, and unloads nothing meanwhile.
        let headers = unsafe { object.headers() };
        Pages::of(object.base, headers, address)
    });
    let Some(pages) = pages else {
        write();
        return Ok(());
    };
    pages.make_writable()?;
    write();
    pages.make_read_only();
    Ok(())
}
