// SPDX-License-Identifier: MIT OR Apache-2.0
//! Stages of the start that a program has only where something of it needs them: the areas, and
//! the ABI table. See `docs/decisions/0004-dropping-the-table.md`.
//!
//! A stage is a [`Hook`] in the section `vcpu_rt_start`, which the start walks. Nothing refers to it
//! by name but the code that needs the stage, by [`Hook::keep`]: where the
//! linker drops that code, it drops the hook too.

use core::ptr;
use core::slice;

use crate::arch;
use crate::report::Line;
use crate::tunables::Tunables;

/// Starts something: by what the environment asks for, and the least stride that the program
/// declares.
///
/// Hooks run in no particular order, so one that needs another's stage starts it itself.
pub type Start = unsafe fn(tunables: &Tunables, declared_minimum: u64);

/// A stage of the start. Its static is in the section `vcpu_rt_start`.
pub struct Hook {
    /// Runs while the process has one thread.
    pub start: Start,
    /// Says in the line of VCPU_RT_DEBUG=1 what was started.
    pub describe: fn(&mut Line),
}

impl Hook {
    /// Whoever contains this call has the stage in the program.
    #[inline(always)]
    pub fn keep(&'static self) {
        // SAFETY: a valid reference. Volatile, so that the compiler cannot drop the reference to
        // the hook, which is all that this is for.
        let _referred_to = unsafe { ptr::read_volatile(&raw const self.start) };
    }
}

/// The hooks that are in the program.
#[inline(always)]
pub fn all() -> &'static [Hook] {
    let (start, end) = arch::hook_bounds();
    let count = (end - start) / size_of::<Hook>();
    if count == 0 {
        // The bounds stand for no place then.
        return &[];
    }
    // SAFETY: the linker's bounds of a section that holds only hooks.
    unsafe { slice::from_raw_parts(ptr::with_exposed_provenance(start), count) }
}
