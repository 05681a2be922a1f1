// SPDX-License-Identifier: MIT OR Apache-2.0
//! On a kernel that refuses PR_GET_GS_MODE, in programs with the feature `test-hooks` and where the
//! environment has VCPU_RT_GS=on: the program is the kernel. Each of its threads pins itself, and
//! writes the GS base that the mode would give it, the stride times its mm_cid, by wrgsbase, before it
//! uses per-vCPU data. The first thread has mm_cid 0 and the base that the kernel gave it, 0.

use rustix::io::Errno;

use super::{GsMode, has_owner};
use crate::tunables::GsChoice;

/// # Safety
/// With [`GsChoice::On`] the program does what is said above.
pub unsafe fn switch_on(refused: Errno, choice: GsChoice, fsgsbase: bool) -> GsMode {
    if choice != GsChoice::On || !fsgsbase {
        return GsMode::GetRefused(refused);
    }
    if has_owner(fsgsbase) {
        return GsMode::Foreign;
    }
    GsMode::On
}
