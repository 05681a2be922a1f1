// SPDX-License-Identifier: MIT OR Apache-2.0
//! GS as the kernel has it: the mode by its prctl, the base, and where a `%gs:` instruction goes.

use core::arch::asm;

use linux_raw_sys::general as nr;
use vcpu_abi::{PR_GET_GS_MODE, PrctlSetGsMode};
use vcpu_rt::areas;

use crate::syscall::syscall;
use crate::table::abi;

/// `ARCH_GET_GS` (`arch/x86/include/uapi/asm/prctl.h`).
const ARCH_GET_GS: usize = 0x1004;

/// What PR_GET_GS_MODE answers; the error is the errno.
pub fn get() -> Result<PrctlSetGsMode, i32> {
    let mut mode = PrctlSetGsMode::default();
    let arguments = [
        PR_GET_GS_MODE as usize,
        (&raw mut mode).expose_provenance(),
        size_of::<PrctlSetGsMode>(),
        0,
    ];
    // SAFETY: the kernel writes within the struct.
    unsafe { syscall(nr::__NR_prctl, arguments) }.map(|_| mode)
}

/// The calling thread's GS base.
pub fn base() -> u64 {
    let mut base = 0_u64;
    let place = (&raw mut base).expose_provenance();
    // SAFETY: the kernel writes one word.
    unsafe { syscall(nr::__NR_arch_prctl, [ARCH_GET_GS, place, 0, 0]) }.expect("it has no errors");
    base
}

/// The calling thread's GS selector.
pub fn selector() -> u32 {
    let selector: u32;
    // SAFETY: reads a register.
    unsafe { asm!("mov {:e}, gs", out(reg) selector, options(nostack, nomem, preserves_flags)) };
    selector
}

/// A per-vCPU word that holds the number of its area, so that one instruction tells where `%gs:`
/// leads.
pub struct AreaNumber(*const u64);

// SAFETY: written by `new` alone.
unsafe impl Sync for AreaNumber {}

impl AreaNumber {
    /// Writes every copy.
    pub fn new() -> Self {
        let first = areas::alloc(8, 8)
            .expect("the pool has room")
            .as_ptr()
            .cast::<u64>();
        for area in 0..u64::from(abi().nr_areas) {
            let offset = (area as usize) << abi().stride_shift;
            // SAFETY: the copy in an area that exists; nobody else knows the object.
            unsafe { first.byte_add(offset).write(area) };
        }
        Self(first)
    }

    /// The area of one load through `%gs:`.
    pub fn by_gs(&self) -> u64 {
        let area;
        // SAFETY: in the GS mode the base leads to a copy, elsewhere it is null and leads to the
        // first one.
        unsafe {
            asm!(
                "mov {area}, qword ptr gs:[{word}]",
                area = out(reg) area,
                word = in(reg) self.0,
                options(nostack, readonly, preserves_flags),
            );
        }
        area
    }
}

impl Default for AreaNumber {
    fn default() -> Self {
        Self::new()
    }
}
