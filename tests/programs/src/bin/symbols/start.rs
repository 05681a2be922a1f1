// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where the program starts, and what the kernel left for it on the stack.

use crate::{c, main};

/// In the program's text, and not where the program starts.
pub unsafe fn assert_function(address: usize) {
    let text = main as *const () as usize;
    // SAFETY: see `main`.
    assert_ne!(address, unsafe { entry_point() });
    assert!(
        address.abs_diff(text) < 16 << 20,
        "{address:#x} is not near {text:#x}"
    );
}

/// AT_ENTRY: the auxiliary vector lies behind the environment's NULL.
pub unsafe fn entry_point() -> usize {
    const AT_ENTRY: usize = 9;
    // SAFETY: the kernel's layout of the initial stack (psABI, figure 3.9).
    unsafe {
        let mut pair = c::environ
            .add(strings_in(c::environ) + 1)
            .cast::<[usize; 2]>();
        while (*pair)[0] != AT_ENTRY {
            assert_ne!((*pair)[0], 0, "no AT_ENTRY");
            pair = pair.add(1);
        }
        (*pair)[1]
    }
}

pub unsafe fn strings_in(array: *const *const u8) -> usize {
    // SAFETY: the array ends with NULL, where the count stops.
    (0..)
        .take_while(|&index| unsafe { !array.add(index).read().is_null() })
        .count()
}
