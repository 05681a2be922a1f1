// SPDX-License-Identifier: MIT OR Apache-2.0
//! Why the object that this crate is in must stay in the process: threads have the addresses of its descriptors in
//! rseq_cs long after a section, and its destructor in a pthread key. dlclose would unmap both.

use core::ffi::{c_char, c_int, c_void};
use core::{mem, ptr, slice};

use linux_raw_sys::elf_uapi::{Elf64_Phdr, PT_DYNAMIC, PT_LOAD};

use crate::address_if_there;
use crate::libc;

const DT_FLAGS_1: usize = 0x6fff_fffb;
const DF_1_NODELETE: usize = 8;

/// The object.
struct Own {
    name: *const c_char,
    stays: bool,
}

/// Has the dynamic linker keep the object as long as the process, where it would not anyway. False: it can be
/// unloaded.
pub fn prevent() -> bool {
    let own = libc::find_in_objects(|object| {
        // SAFETY: the C library shows it, and unloads nothing meanwhile.
        let headers = unsafe { object.headers() };
        is_own(object.base, headers).then(|| Own {
            name: object.name,
            stays: object.is_executable()
                // SAFETY: the object is mapped.
                || unsafe { is_linked_to_stay(object.base, headers) },
        })
    });
    // Not before the walk has ended: it holds a lock that dlopen takes behind another one.
    // SAFETY: the name, which lasts as long as the object.
    own.is_some_and(|own| own.stays || unsafe { pin(own.name) })
}

/// Whether this code is in the object.
fn is_own(base: usize, headers: &[Elf64_Phdr]) -> bool {
    let address = (prevent as fn() -> bool as *const ()).addr();
    headers.iter().any(|header| {
        let start = base.wrapping_add(header.p_vaddr as usize);
        header.p_type == PT_LOAD && address.wrapping_sub(start) < header.p_memsz as usize
    })
}

/// Whether it has been linked with `-z nodelete`.
///
/// # Safety
/// The object is mapped at `base`.
unsafe fn is_linked_to_stay(base: usize, headers: &[Elf64_Phdr]) -> bool {
    let Some(dynamic) = headers.iter().find(|header| header.p_type == PT_DYNAMIC) else {
        return false;
    };
    let start = base.wrapping_add(dynamic.p_vaddr as usize);
    let count = dynamic.p_memsz as usize / size_of::<[usize; 2]>();
    // SAFETY: the object's dynamic section, of pairs of words.
    let entries =
        unsafe { slice::from_raw_parts(ptr::with_exposed_provenance::<[usize; 2]>(start), count) };
    let flags = entries.iter().find(|[tag, _]| *tag == DT_FLAGS_1);
    flags.is_some_and(|[_, flags]| flags & DF_1_NODELETE != 0)
}

/// Asks the dynamic linker to treat the loaded object of this name as if it had been. From its own code, so that
/// it is looked for in its own namespace (dlmopen).
///
/// # Safety
/// `name` ends with a zero byte.
unsafe fn pin(name: *const c_char) -> bool {
    type Dlsym = unsafe extern "C" fn(*mut c_void, *const c_char) -> *mut c_void;
    type Dlopen = unsafe extern "C" fn(*const c_char, c_int) -> *mut c_void;
    const RTLD_DEFAULT: *mut c_void = ptr::null_mut();
    const RTLD_LAZY: c_int = 1;
    const RTLD_NOLOAD: c_int = 4;
    const RTLD_NODELETE: c_int = 0x1000;

    // glibc before 2.34 has it in another library.
    let dlsym = ptr::with_exposed_provenance::<()>(address_if_there!("dlsym"));
    if dlsym.is_null() {
        return false;
    }
    // SAFETY: dlsym(3) and dlopen(3). Constructors may call them: the dynamic linker's lock is recursive. Looked up,
    // since linkers warn of a reference to dlopen in every static program.
    unsafe {
        let dlsym = mem::transmute::<*const (), Dlsym>(dlsym);
        let dlopen = dlsym(RTLD_DEFAULT, c"dlopen".as_ptr());
        if dlopen.is_null() {
            return false;
        }
        let dlopen = mem::transmute::<*mut c_void, Dlopen>(dlopen);
        !dlopen(name, RTLD_LAZY | RTLD_NOLOAD | RTLD_NODELETE).is_null()
    }
}
