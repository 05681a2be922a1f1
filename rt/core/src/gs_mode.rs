// SPDX-License-Identifier: MIT OR Apache-2.0
//! PR_SET_GS_MODE at start (see `kernel/README.md` and `docs/decisions/0006-gs-mode.md`): asked for,
//! and switched on where nobody else owns GS.

#[cfg_attr(feature = "test-hooks", path = "gs_mode/pinned_for_a_test.rs")]
mod without_prctl;

use core::mem::MaybeUninit;
use core::ptr;

use linux_raw_sys::general::{__NR_arch_prctl, __NR_prctl};
use rustix::io::Errno;
use vcpu_abi::{
    GS_INDEX_MODE_MM_VCPU, GS_INDEX_MODE_NONE, PR_GET_GS_MODE, PR_SET_GS_MODE, PrctlSetGsMode,
};

use crate::arch;
use crate::tunables::GsChoice;

/// `ARCH_GET_GS` (`arch/x86/include/uapi/asm/prctl.h`).
const ARCH_GET_GS: usize = 0x1004;

/// What came of the GS mode at start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GsMode {
    /// Not asked for: VCPU_RT_GS=off, or there are no areas, or the runtime has not started.
    Off,
    /// The kernel loads the GS base of every thread with the areas' stride times its mm_cid.
    On,
    /// Not asked for: the kernel did not say how many CPUs there can be, so an mm_cid could lie
    /// beyond the areas.
    Unbounded,
    /// GS has another owner: the base or the selector is not null, or a mode is on that is not
    /// this one.
    Foreign,
    /// PR_GET_GS_MODE was refused: EINVAL by a kernel without it, EOPNOTSUPP by one without mm_cid,
    /// EPERM or ENOSYS by a filter.
    GetRefused(Errno),
    /// PR_SET_GS_MODE was refused, with an errno of its table (`vcpu_abi`).
    SetRefused(Errno),
}

/// Switches the mode on with this stride, or finds why not. `choice` is not off; `fsgsbase` is what
/// AT_HWCAP2 says.
///
/// # Safety
/// Called while the process has one thread. For every mm_cid below nr_cpu_ids there is an area.
pub(crate) unsafe fn switch_on(choice: GsChoice, stride: u64, fsgsbase: bool) -> GsMode {
    let ours = PrctlSetGsMode {
        index_mode: GS_INDEX_MODE_MM_VCPU,
        flags: 0,
        stride,
    };
    match get() {
        // SAFETY: by the caller's word.
        Err(errno) => return unsafe { without_prctl::switch_on(errno, choice, fsgsbase) },
        // Who put it there before us did the same.
        Ok(current) if current == ours => return GsMode::On,
        Ok(current) if current.index_mode != GS_INDEX_MODE_NONE => return GsMode::Foreign,
        Ok(_) => {}
    }
    if has_owner(fsgsbase) {
        return GsMode::Foreign;
    }
    let mut mode = ours;
    // SAFETY: the kernel reads the struct. The base that it changes has no other user, as was
    // just seen.
    match unsafe { call(PR_SET_GS_MODE, ptr::from_mut(&mut mode)) } {
        Ok(()) => GsMode::On,
        Err(errno) => GsMode::SetRefused(errno),
    }
}

/// The mode that is on.
fn get() -> Result<PrctlSetGsMode, Errno> {
    // No valid mode: a filter that answers 0 without making the call leaves it as it is.
    let mut mode = PrctlSetGsMode {
        index_mode: u32::MAX,
        ..PrctlSetGsMode::default()
    };
    // SAFETY: the kernel writes within the struct.
    unsafe { call(PR_GET_GS_MODE, ptr::from_mut(&mut mode)) }.map(|()| mode)
}

/// # Safety
/// `mode` is valid for reads and writes; SET changes the GS base.
unsafe fn call(option: u32, mode: *mut PrctlSetGsMode) -> Result<(), Errno> {
    let size = size_of::<PrctlSetGsMode>();
    // SAFETY: by the caller's word. The fifth argument is 0 as well, which the prctl demands.
    unsafe {
        arch::syscall(
            __NR_prctl,
            [option as usize, mode.expose_provenance(), size, 0],
        )
    }
    .map(|_| ())
}

/// Whether somebody put something into GS. Where the kernel does not tell, it counts as owned.
fn has_owner(fsgsbase: bool) -> bool {
    // Selectors 0 to 3 are null (Intel SDM volume 3, 3.4.2: the lowest bits are a privilege level).
    if arch::gs_selector() > 3 {
        return true;
    }
    if fsgsbase {
        // SAFETY: AT_HWCAP2 says that the instruction is enabled.
        return unsafe { arch::gs_base() } != 0;
    }
    let mut base = MaybeUninit::<usize>::uninit();
    let place = base.as_mut_ptr().expose_provenance();
    // SAFETY: the kernel writes one word.
    match unsafe { arch::syscall(__NR_arch_prctl, [ARCH_GET_GS, place, 0, 0]) } {
        // SAFETY: the kernel wrote it.
        Ok(_) => unsafe { base.assume_init() != 0 },
        Err(_) => true,
    }
}
