// SPDX-License-Identifier: MIT OR Apache-2.0
//! The PT_TLS image, of which every thread gets a copy.

use core::cell::UnsafeCell;
use core::ptr;

use linux_raw_sys::elf_uapi::elf64_phdr;

use crate::arch::string;
use crate::tls::TlsLayout;

struct Image {
    source: usize,
    file_size: usize,
    memory_size: usize,
    layout: TlsLayout,
}

struct ImageCell(UnsafeCell<Image>);

// SAFETY: written once, at start, while the process has one thread.
unsafe impl Sync for ImageCell {}

static IMAGE: ImageCell = ImageCell(UnsafeCell::new(Image {
    source: 0,
    file_size: 0,
    memory_size: 0,
    layout: TlsLayout::EMPTY,
}));

/// Remembers the image. Without a PT_TLS segment it is not called, and the image stays empty.
///
/// # Safety
/// Called once, while the process has one thread.
pub unsafe fn start(load_base: usize, segment: &elf64_phdr, layout: TlsLayout) {
    // SAFETY: one thread, and no reference to it exists yet.
    unsafe {
        *IMAGE.0.get() = Image {
            source: load_base.wrapping_add(segment.p_vaddr as usize),
            file_size: segment.p_filesz as usize,
            memory_size: segment.p_memsz as usize,
            layout,
        };
    }
}

fn image() -> &'static Image {
    // SAFETY: after the start it is only read.
    unsafe { &*IMAGE.0.get() }
}

/// The layout around every thread pointer.
pub fn layout() -> TlsLayout {
    image().layout
}

/// Writes a fresh image below `pointer`.
///
/// # Safety
/// The memory from `pointer - layout().image_offset` to `pointer` is writable and nobody's.
#[inline]
pub unsafe fn fill(pointer: usize) {
    let image = image();
    let to = ptr::with_exposed_provenance_mut::<u8>(pointer - image.layout.image_offset);
    let from = ptr::with_exposed_provenance::<u8>(image.source);
    // SAFETY: the program's own segment; p_filesz <= p_memsz <= image_offset. Without one all of
    // them are 0.
    unsafe {
        string::copy(from, to, image.file_size);
        string::zero(to.add(image.file_size), image.memory_size - image.file_size);
    }
}
