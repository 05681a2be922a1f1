// SPDX-License-Identifier: MIT OR Apache-2.0
//! On a kernel that refuses PR_GET_GS_MODE, in programs with the feature `test-hooks` and where the
//! environment has VCPU_RT_GS=on: the program does what the kernel would, for threads that are pinned.
//! A thread starts with a base of 0, which is vCPU 0's; the program may give it another vCPU's, by
//! wrgsbase, that no other thread has.

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
