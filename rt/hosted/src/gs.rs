// SPDX-License-Identifier: MIT OR Apache-2.0
//! The GS mode by the program's own request.

use core::mem::MaybeUninit;

use linux_raw_sys::general::{__NR_stat, stat};
use vcpu_core::{Errno, arch, gs_request};

use crate::symbols;

/// Switches the GS mode on, before the first object and the first thread: the published mode and the
/// table say it afterwards, in the program's copy too.
///
/// # Errors
/// EBUSY: there are objects or threads, or GS has another owner. EINVAL: the kernel lacks it. EPERM, ENOSYS: a
/// filter. EOPNOTSUPP: the kernel has no mm_cid, or does not tell how many CPUs there can be. ENOMEM: there are
/// no areas. The mode is then what it was.
///
/// # Safety
/// Nobody else uses the runtime during the call: no signal handler, no thread that starts.
pub unsafe fn request() -> Result<(), Errno> {
    if !is_alone() {
        return Err(Errno::BUSY);
    }
    // SAFETY: one thread, and by the caller's word nothing else.
    unsafe {
        gs_request::switch_on()?;
        symbols::fill_tables();
    }
    Ok(())
}

/// Whether this is the only thread, by the links of /proc/self/task: two, and one for each. Without /proc
/// nobody knows.
pub(crate) fn is_alone() -> bool {
    let mut status = MaybeUninit::<stat>::uninit();
    let path = c"/proc/self/task".as_ptr().expose_provenance();
    let place = status.as_mut_ptr().expose_provenance();
    // SAFETY: a terminated path, and room for the struct.
    let result = unsafe { arch::syscall(__NR_stat, [path, place, 0, 0]) };
    // SAFETY: the kernel filled it.
    result.is_ok() && unsafe { status.assume_init() }.st_nlink == 3
}
