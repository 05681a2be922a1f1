// SPDX-License-Identifier: MIT OR Apache-2.0
//! The program relocates itself: static-pie has no loader. It runs before anything is relocated,
//! so it uses no static by address and prints no formatted text.

use core::ptr;

use linux_raw_sys::elf_uapi::{DT_RELA, DT_RELASZ, elf64_phdr};

/// Dynamic tags (gABI); RELR is newer than the kernel header that has the others.
const DT_NULL: usize = 0;
const DT_REL: usize = 17;
const DT_RELRSZ: usize = 35;
const DT_RELR: usize = 36;

/// Relocation types (psABI x86-64, "Relocation Types").
const R_X86_64_NONE: u32 = 0;
const R_X86_64_RELATIVE: u32 = 8;

/// `Elf64_Rela`.
#[repr(C)]
struct Rela {
    offset: usize,
    info: u64,
    addend: usize,
}

/// There is something that is not RELATIVE or RELR: the link left it for a loader, and there is
/// none. Mostly IRELATIVE, an IFUNC of a C object; or DT_REL, of a link with `-z rel`.
pub struct Unsupported;

/// Applies the relocations of the executable whose `_DYNAMIC` is at `dynamic`, and returns the
/// load base. 0 means an executable without a dynamic section, which needs none.
///
/// GNU ld's static-pie has no PT_PHDR, so the base is what `_DYNAMIC` was moved by.
///
/// # Safety
/// Called once, first of all, with the program's own PT_DYNAMIC.
#[inline(always)]
pub unsafe fn relocate(
    dynamic: usize,
    segment: Option<&'static elf64_phdr>,
) -> Result<usize, Unsupported> {
    let Some(segment) = segment else {
        return Ok(0);
    };
    if dynamic == 0 {
        return Ok(0);
    }
    let base = dynamic.wrapping_sub(segment.p_vaddr as usize);
    let (mut rela, mut rela_bytes, mut relr, mut relr_bytes) = (0, 0, 0, 0);
    let mut entry = ptr::with_exposed_provenance::<[usize; 2]>(dynamic);
    loop {
        // SAFETY: the linker ends the section with DT_NULL, where the walk stops.
        let [tag, value] = unsafe { entry.read() };
        match tag {
            DT_NULL => break,
            DT_REL => return Err(Unsupported),
            DT_RELRSZ => relr_bytes = value,
            DT_RELR => relr = value,
            _ if tag == DT_RELA as usize => rela = value,
            _ if tag == DT_RELASZ as usize => rela_bytes = value,
            _ => {}
        }
        // SAFETY: not the last entry.
        entry = unsafe { entry.add(1) };
    }
    // SAFETY: the linker's tables, at their load addresses.
    unsafe {
        apply_rela(
            base,
            base.wrapping_add(rela),
            rela_bytes / size_of::<Rela>(),
        )?;
        apply_relr(
            base,
            base.wrapping_add(relr),
            relr_bytes / size_of::<usize>(),
        );
    }
    Ok(base)
}

/// # Safety
/// `table` holds `count` entries, whose places are in this program's writable segments.
#[inline(always)]
unsafe fn apply_rela(base: usize, table: usize, count: usize) -> Result<(), Unsupported> {
    let table = ptr::with_exposed_provenance::<Rela>(table);
    for index in 0..count {
        // SAFETY: below `count`.
        let rela = unsafe { &*table.add(index) };
        match rela.info as u32 {
            R_X86_64_RELATIVE => {
                let place = ptr::with_exposed_provenance_mut(base.wrapping_add(rela.offset));
                // SAFETY: by the caller's word. The psABI does not promise alignment.
                unsafe { ptr::write_unaligned(place, base.wrapping_add(rela.addend)) };
            }
            R_X86_64_NONE => {}
            _ => return Err(Unsupported),
        }
    }
    Ok(())
}

/// RELR (gABI): an even word is the address of a place; an odd word is a bitmap of the 63 places
/// that follow the last one covered.
///
/// # Safety
/// `table` holds `count` words, which describe places in this program's writable segments.
#[inline(always)]
unsafe fn apply_relr(base: usize, table: usize, count: usize) {
    let table = ptr::with_exposed_provenance::<usize>(table);
    let mut next = 0_usize;
    for index in 0..count {
        // SAFETY: below `count`.
        let word = unsafe { table.add(index).read() };
        if word & 1 == 0 {
            let place = base.wrapping_add(word);
            // SAFETY: by the caller's word.
            unsafe { add_base(base, place) };
            next = place.wrapping_add(size_of::<usize>());
            continue;
        }
        let mut bits = word >> 1;
        let mut place = next;
        while bits != 0 {
            if bits & 1 != 0 {
                // SAFETY: by the caller's word.
                unsafe { add_base(base, place) };
            }
            bits >>= 1;
            place = place.wrapping_add(size_of::<usize>());
        }
        next = next.wrapping_add(63 * size_of::<usize>());
    }
}

/// # Safety
/// `place` is an aligned word in a writable segment, not relocated yet.
#[inline(always)]
unsafe fn add_base(base: usize, place: usize) {
    let place = ptr::with_exposed_provenance_mut::<usize>(place);
    // SAFETY: by the caller's word.
    unsafe { *place = (*place).wrapping_add(base) };
}
