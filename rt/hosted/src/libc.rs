// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is used of the C library, glibc or musl: no more than this.

use core::ffi::{c_char, c_int, c_uint, c_ulong, c_void};
use core::{ptr, slice};

use linux_raw_sys::auxvec::AT_PHDR;
use linux_raw_sys::elf_uapi::Elf64_Phdr;

/// `pthread_key_t`, the same in both.
pub type Key = c_uint;

/// `struct dl_phdr_info` up to the fields that both have (dl_iterate_phdr(3)).
#[repr(C)]
pub struct ObjectInfo {
    /// What is added to the addresses of its program headers.
    pub base: usize,
    /// Its path.
    pub name: *const c_char,
    /// Its program headers.
    pub program_headers: *const Elf64_Phdr,
    /// How many there are.
    pub program_header_count: u16,
}

impl ObjectInfo {
    /// Its program headers.
    ///
    /// # Safety
    /// The C library has filled this, and does not unload the object meanwhile.
    pub unsafe fn headers(&self) -> &[Elf64_Phdr] {
        let count = usize::from(self.program_header_count);
        if count == 0 {
            return &[];
        }
        // SAFETY: by the caller's word.
        unsafe { slice::from_raw_parts(self.program_headers, count) }
    }

    /// Whether it is the executable.
    pub fn is_executable(&self) -> bool {
        // SAFETY: a look-up by number.
        let of_executable = unsafe { getauxval(c_ulong::from(AT_PHDR)) } as usize;
        self.program_headers.addr() == of_executable
    }
}

/// Called for each loaded object; another answer than 0 ends the walk.
type EachObject = extern "C" fn(*const ObjectInfo, usize, *mut c_void) -> c_int;

/// `RTLD_NEXT`: behind the calling object in the order of lookups.
pub const RTLD_NEXT: *mut c_void = core::ptr::without_provenance_mut(usize::MAX);

unsafe extern "C" {
    /// environ(7).
    pub static environ: *mut *mut c_char;
    /// getauxval(3).
    pub fn getauxval(kind: c_ulong) -> c_ulong;
    /// pthread_key_create(3).
    pub fn pthread_key_create(key: *mut Key, destructor: extern "C" fn(*mut c_void)) -> c_int;
    /// pthread_key_delete(3).
    pub fn pthread_key_delete(key: Key) -> c_int;
    /// pthread_setspecific(3).
    pub fn pthread_setspecific(key: Key, value: *const c_void) -> c_int;
    /// abort(3).
    pub fn abort() -> !;
    /// dlsym(3).
    pub fn dlsym(object: *mut c_void, name: *const c_char) -> *mut c_void;
    /// dl_iterate_phdr(3).
    fn dl_iterate_phdr(each: EachObject, data: *mut c_void) -> c_int;
}

/// What `look` finds in the first loaded object in which it finds something. The executable comes first.
pub fn find_in_objects<T, F: FnMut(&ObjectInfo) -> Option<T>>(look: F) -> Option<T> {
    struct Search<T, F> {
        look: F,
        found: Option<T>,
    }
    extern "C" fn each<T, F: FnMut(&ObjectInfo) -> Option<T>>(
        object: *const ObjectInfo,
        _: usize,
        search: *mut c_void,
    ) -> c_int {
        // SAFETY: the C library's description of an object, and the search of below.
        let (object, search) = unsafe { (&*object, &mut *search.cast::<Search<T, F>>()) };
        search.found = (search.look)(object);
        c_int::from(search.found.is_some())
    }
    let mut search = Search { look, found: None };
    // SAFETY: `each` takes such a pointer.
    unsafe { dl_iterate_phdr(each::<T, F>, ptr::from_mut(&mut search).cast()) };
    search.found
}

/// Whether it is glibc, by a word that every program on it has, static ones too.
pub fn is_glibc() -> bool {
    crate::address_if_there!("__libc_stack_end") != 0
}

/// The address of a symbol that may be missing, as everybody in the process finds it; 0 where it is. With
/// `hidden`: of this object alone, and some address where it is missing, the same for all such symbols. With
/// `ours`: one that is not missing.
#[macro_export]
macro_rules! address_if_there {
    ($name:literal) => {
        $crate::address_if_there!(@ $name, concat!(".weak ", $name))
    };
    ($name:literal, hidden) => {
        $crate::address_if_there!(@ $name, concat!(".weak ", $name, "\n.hidden ", $name))
    };
    ($name:literal, ours) => {
        $crate::address_if_there!(@ $name, "")
    };
    (@ $name:literal, $binding:expr) => {{
        let address: usize;
        // SAFETY: an address from the GOT, which does not change; 0 for what is weak and missing. No
        // stack or flags.
        unsafe {
            ::core::arch::asm!(
                $binding,
                concat!("mov {address}, [rip + ", $name, "@GOTPCREL]"),
                address = out(reg) address,
                options(pure, nomem, nostack, preserves_flags),
            );
        }
        address
    }};
}
