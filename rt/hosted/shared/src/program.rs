// SPDX-License-Identifier: MIT OR Apache-2.0
//! The objects of the process in the order of lookups, as ld.so shows them to debuggers (`<link.h>`).

use core::ffi::{c_char, c_int};
use core::{arch::asm, ptr};

use vcpu_rt_hosted::address_if_there;

/// `struct r_debug`.
#[repr(C)]
struct Debug {
    version: c_int,
    first: *const Object,
    breakpoint: usize,
    state: c_int,
    /// Where ld.so is.
    loader: usize,
}

/// `struct link_map`.
#[repr(C)]
struct Object {
    base: usize,
    name: *const c_char,
    dynamic: usize,
    next: *const Object,
    previous: *const Object,
}

/// See [`Debug`].
pub struct Program(&'static Debug);

impl Program {
    /// What ld.so shows; `None` where there is none.
    pub fn current() -> Option<Self> {
        let debug = ptr::with_exposed_provenance::<Debug>(address_if_there!("_r_debug"));
        // SAFETY: null or ld.so's variable, which is filled before anything is relocated.
        let debug = unsafe { debug.as_ref()? };
        (debug.version > 0 && debug.loader != 0).then_some(Self(debug))
    }

    /// Where ld.so is mapped: its ELF header.
    pub fn loader(&self) -> usize {
        self.0.loader
    }

    /// Whether everybody finds our symbols: in the order of lookups this library comes before ld.so, which has
    /// the others. A library that was loaded later does not.
    pub fn shows_ours(&self) -> bool {
        self.comes_before_loader(own_dynamic())
    }

    fn comes_before_loader(&self, dynamic: usize) -> bool {
        let mut next = self.0.first;
        // SAFETY: ld.so's list of loaded objects, which nobody changes while it relocates.
        while let Some(object) = unsafe { next.as_ref() } {
            if object.dynamic == dynamic {
                return true;
            }
            if object.base == self.0.loader {
                return false;
            }
            next = object.next;
        }
        false
    }
}

/// Whether no code of the program has run yet: libc's own constructor, the first of all others, is still to
/// come. It sets both of these.
pub fn is_starting() -> bool {
    let environ = address_if_there!("environ");
    let name = address_if_there!("program_invocation_name");
    if environ == 0 || name == 0 {
        return false;
    }
    // SAFETY: libc's variables, or the executable's copies of them, which are zero at first.
    unsafe {
        let environ = *ptr::with_exposed_provenance::<*const c_char>(environ);
        let name = *ptr::with_exposed_provenance::<*const c_char>(name);
        environ.is_null() && (name.is_null() || *name == 0)
    }
}

/// The address of this library's dynamic section.
fn own_dynamic() -> usize {
    let address;
    // SAFETY: the linker defines the symbol, hidden, in every shared object. No stack or flags.
    unsafe {
        asm!(
            ".hidden _DYNAMIC",
            "lea {address}, [rip + _DYNAMIC]",
            address = out(reg) address,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    address
}
