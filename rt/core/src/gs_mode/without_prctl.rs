// SPDX-License-Identifier: MIT OR Apache-2.0
//! On a kernel that refuses PR_GET_GS_MODE there is no GS mode.

use rustix::io::Errno;

use super::GsMode;
use crate::tunables::GsChoice;

/// # Safety
/// None is asked for here: the form for tests, in the file beside this one, asks for some.
pub unsafe fn switch_on(refused: Errno, _: GsChoice, _fsgsbase: bool) -> GsMode {
    GsMode::GetRefused(refused)
}
