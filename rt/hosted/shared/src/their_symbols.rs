// SPDX-License-Identifier: MIT OR Apache-2.0
//! glibc's own `__rseq_offset` and `__rseq_size`, which our symbols hide: from ld.so's symbol table. dlvsym
//! would find them too, but may not be called while ld.so relocates.
//!
//! Where the registration becomes ours they are made to say so, for those who find them nevertheless:
//! dlsym(RTLD_NEXT) of a library behind this one in the order of lookups, as librseq does it, and everybody where
//! this library was loaded later.

use core::mem::size_of;
use core::{ptr, slice};

use linux_raw_sys::elf_uapi::{Elf64_Phdr, PT_DYNAMIC};
use vcpu_rt_hosted::relro;
use vcpu_rt_hosted::start::Theirs;
use vcpu_rt_hosted::symbols::RseqSymbols;

/// `Elf64_Ehdr`: where the program headers are, and how many.
const E_PHOFF: usize = 32;
const E_PHNUM: usize = 56;
const DT_STRTAB: usize = 5;
const DT_SYMTAB: usize = 6;
const DT_GNU_HASH: usize = 0x6fff_fef5;

/// `Elf64_Sym`.
#[repr(C)]
struct Symbol {
    name: u32,
    info: u8,
    other: u8,
    section: u16,
    value: usize,
    size: usize,
}

/// An object's table of symbols.
struct Symbols {
    base: usize,
    names: usize,
    symbols: usize,
    hash: usize,
}

/// Where they are.
#[derive(Clone, Copy)]
pub struct TheirSymbols {
    offset: usize,
    size: usize,
    relro: Option<relro::Pages>,
}

impl TheirSymbols {
    /// In the object at `base`, which is ld.so. `None` before glibc 2.35.
    pub fn of(base: usize) -> Option<Self> {
        // SAFETY: ld.so is mapped whole, with its headers, and stays.
        unsafe {
            let symbols = Symbols::of(base)?;
            let offset = symbols.find(b"__rseq_offset\0")?;
            let size = symbols.find(b"__rseq_size\0")?;
            let headers = program_headers(base);
            let relro = relro::Pages::of(base, headers, offset);
            Some(Self {
                offset,
                size,
                relro,
            })
        }
    }

    /// What they say.
    pub fn read(&self) -> Option<Theirs> {
        // SAFETY: the symbols' types.
        unsafe { Theirs::at(self.offset, self.size) }
    }

    /// Has them say what is true now. `is_starting`: ld.so will make them read-only later.
    ///
    /// # Safety
    /// Called by the start, when the registration has become ours.
    pub unsafe fn write(&self, rseq: &RseqSymbols, is_starting: bool) {
        if let Some(pages) = self.relro
            && pages.make_writable().is_err()
        {
            return;
        }
        // SAFETY: the symbols' types; glibc reads them for a registration of its own, which there is not.
        unsafe {
            ptr::with_exposed_provenance_mut::<isize>(self.offset).write(rseq.offset);
            ptr::with_exposed_provenance_mut::<u32>(self.size).write(rseq.size);
        }
        if let Some(pages) = self.relro
            && !is_starting
        {
            pages.make_read_only();
        }
    }
}

/// # Safety
/// An ELF object is mapped at `base`.
unsafe fn program_headers(base: usize) -> &'static [Elf64_Phdr] {
    // SAFETY: inside the object, by its own header.
    unsafe {
        let headers = base + read::<usize>(base + E_PHOFF);
        let count = usize::from(read::<u16>(base + E_PHNUM));
        slice::from_raw_parts(ptr::with_exposed_provenance(headers), count)
    }
}

/// # Safety
/// A value of that type is at `address`.
unsafe fn read<T: Copy>(address: usize) -> T {
    // SAFETY: by the caller's word.
    unsafe { ptr::with_exposed_provenance::<T>(address).read_unaligned() }
}

impl Symbols {
    /// # Safety
    /// An ELF object is mapped at `base`.
    unsafe fn of(base: usize) -> Option<Self> {
        // SAFETY: inside the object, by its own headers.
        unsafe {
            let headers = program_headers(base);
            let dynamic = headers.iter().find(|header| header.p_type == PT_DYNAMIC)?;
            let mut found = Self {
                base,
                names: 0,
                symbols: 0,
                hash: 0,
            };
            let mut entry = base + dynamic.p_vaddr as usize;
            loop {
                let (tag, value) = (read::<usize>(entry), read::<usize>(entry + 8));
                // ld.so adds its base to some of them in place, depending on its version.
                let address = if value < base { base + value } else { value };
                match tag {
                    0 => break,
                    DT_STRTAB => found.names = address,
                    DT_SYMTAB => found.symbols = address,
                    DT_GNU_HASH => found.hash = address,
                    _ => {}
                }
                entry += 16;
            }
            (found.names != 0 && found.symbols != 0 && found.hash != 0).then_some(found)
        }
    }

    /// The address of the symbol whose name, with the zero byte behind it, is `name`.
    ///
    /// # Safety
    /// The object is mapped.
    unsafe fn find(&self, name: &[u8]) -> Option<usize> {
        let without_end = name.split_last()?.1;
        let hash = without_end.iter().fold(5381_u32, |hash, &byte| {
            hash.wrapping_mul(33).wrapping_add(u32::from(byte))
        });
        // SAFETY: the layout of DT_GNU_HASH: four words, a filter of 64-bit words, the buckets, and a hash
        // for each symbol from the first hashed one on, whose lowest bit says that its bucket ends.
        unsafe {
            let word = |index: usize| read::<u32>(self.hash + 4 * index);
            let (buckets, first_hashed, filter_words) =
                (word(0), word(1) as usize, word(2) as usize);
            if buckets == 0 {
                return None;
            }
            let buckets_start = 4 + 2 * filter_words;
            let chains_start = buckets_start + buckets as usize;
            let mut index = word(buckets_start + (hash % buckets) as usize) as usize;
            if index < first_hashed {
                return None;
            }
            loop {
                let seen = word(chains_start + index - first_hashed);
                if seen | 1 == hash | 1 {
                    let symbol: *const Symbol =
                        ptr::with_exposed_provenance(self.symbols + index * size_of::<Symbol>());
                    if self.is_named((*symbol).name as usize, name) && (*symbol).section != 0 {
                        return Some(self.base + (*symbol).value);
                    }
                }
                if seen & 1 == 1 {
                    return None;
                }
                index += 1;
            }
        }
    }

    /// # Safety
    /// `offset` is of a string.
    unsafe fn is_named(&self, offset: usize, name: &[u8]) -> bool {
        // SAFETY: it is not read behind its zero byte, at which the two differ at the latest.
        let same = |(place, byte): (usize, &u8)| unsafe {
            read::<u8>(self.names + offset + place) == *byte
        };
        name.iter().enumerate().all(same)
    }
}
