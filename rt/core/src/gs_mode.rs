// SPDX-License-Identifier: MIT OR Apache-2.0
//! The probe for PR_SET_GS_MODE (see `kernel/README.md`). No released kernel has it yet.

use core::ptr;

use linux_raw_sys::general::__NR_prctl;
use rustix::io::Errno;
use vcpu_abi::{PR_GET_GS_MODE, PrctlSetGsMode};

use crate::arch;

/// What was found of the GS mode at start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GsMode {
    /// Not asked for: VCPU_RT_GS=off, or rseq is off.
    Off,
    /// The kernel refused the probe: EINVAL where it lacks the prctl, EPERM or ENOSYS by seccomp.
    Refused(Errno),
    /// The kernel offers it. This version of the runtime does not switch it on.
    Offered,
}

/// Asks the kernel by PR_GET_GS_MODE, which changes nothing.
pub fn probe() -> GsMode {
    let mut mode = PrctlSetGsMode::default();
    let arguments = [
        PR_GET_GS_MODE as usize,
        ptr::from_mut(&mut mode).expose_provenance(),
        size_of::<PrctlSetGsMode>(),
        0,
    ];
    // SAFETY: the kernel writes at most `size` bytes to `mode`.
    match unsafe { arch::syscall(__NR_prctl, arguments) } {
        Ok(_) => GsMode::Offered,
        Err(errno) => GsMode::Refused(errno),
    }
}
