// SPDX-License-Identifier: MIT OR Apache-2.0
//! The GS mode, switched on when the program asks for it, in a process that was not started with it.

use rustix::io::Errno;

use crate::areas;
use crate::gs_mode::{self, GsMode};
use crate::process::{self, found};
use crate::tunables::GsChoice;

/// Switches it on. All that is known of how words are reached changes, so nobody may know anything yet.
///
/// # Errors
/// EBUSY: there are objects, or GS has another owner. EOPNOTSUPP: the kernel does not tell how many CPUs
/// there can be. ENOMEM, ENOSYS: there are no areas. Others: what the prctls answer, EINVAL on a stock kernel.
///
/// # Safety
/// The process has one thread, in which nothing of [`areas`] runs.
pub unsafe fn switch_on() -> Result<(), Errno> {
    if found().gs == GsMode::On {
        return Ok(());
    }
    if areas::statistics()?.objects > 0 {
        return Err(Errno::BUSY);
    }
    let (affinity, reservation) = (found().affinity, found().reservation);
    if !affinity.is_known() {
        return Err(Errno::OPNOTSUPP);
    }
    // SAFETY: one thread, by the caller's word, and an area for every id.
    let gs = unsafe { gs_mode::switch_on(GsChoice::On, reservation.stride, found().fsgsbase) };
    // SAFETY: as above: there is no object, so nobody has asked how words are reached.
    unsafe { process::set_areas(affinity, reservation, gs) };
    match gs {
        GsMode::On => Ok(()),
        GsMode::GetRefused(errno) | GsMode::SetRefused(errno) => Err(errno),
        GsMode::Off | GsMode::Unbounded | GsMode::Foreign => Err(Errno::BUSY),
    }
}
