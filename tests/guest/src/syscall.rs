// SPDX-License-Identifier: MIT OR Apache-2.0
//! System calls, raw: with all six arguments, and those that libraries do not offer.

use core::arch::asm;
use core::ptr;

use linux_raw_sys::general as nr;
use rustix::io::Errno;

/// Makes a system call; missing arguments are 0.
///
/// # Safety
/// The arguments must be what this system call asks for, pointers included.
pub unsafe fn syscall<const N: usize>(number: u32, arguments: [usize; N]) -> Result<usize, Errno> {
    let argument = |index: usize| arguments.get(index).copied().unwrap_or(0);
    let result: isize;
    // SAFETY: by the caller's word. The kernel clobbers rcx and r11, may read and write any
    // memory, and leaves the stack alone.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number as usize => result,
            in("rdi") argument(0),
            in("rsi") argument(1),
            in("rdx") argument(2),
            in("r10") argument(3),
            in("r8") argument(4),
            in("r9") argument(5),
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    from_kernel(result)
}

/// A system call's result: errors are -4095..=-1 (`include/linux/err.h`, MAX_ERRNO).
pub fn from_kernel(result: isize) -> Result<usize, Errno> {
    match result {
        -4095..=-1 => Err(Errno::from_raw_os_error(result.unsigned_abs() as i32)),
        _ => Ok(result.cast_unsigned()),
    }
}

/// The operations of arch_prctl(2) (`arch/x86/include/uapi/asm/prctl.h`).
pub mod arch {
    /// Sets the GS base.
    pub const SET_GS: usize = 0x1001;
    /// Sets the FS base.
    pub const SET_FS: usize = 0x1002;
    /// Stores the FS base.
    pub const GET_FS: usize = 0x1003;
    /// Stores the GS base.
    pub const GET_GS: usize = 0x1004;
}

/// Sets the GS base of the calling thread. Nothing of the runtime uses it without the mode.
pub fn arch_set_gs(base: usize) -> Result<(), Errno> {
    // SAFETY: a register that only these programs' own assembly uses.
    unsafe { syscall(nr::__NR_arch_prctl, [arch::SET_GS, base]) }.map(drop)
}

/// The base that the kernel stores for `operation`, GET_FS or GET_GS.
pub fn arch_get(operation: usize) -> Result<usize, Errno> {
    let mut base = 0_usize;
    let place = ptr::from_mut(&mut base).expose_provenance();
    // SAFETY: the kernel writes one word.
    unsafe { syscall(nr::__NR_arch_prctl, [operation, place]) }?;
    Ok(base)
}

/// Sends a signal to a thread of this process; what it does was decided by who set its action.
pub fn tgkill(thread: u32, signal: u32) -> Result<(), Errno> {
    let process = rustix::process::getpid().as_raw_nonzero().get() as usize;
    // SAFETY: integers only.
    unsafe { syscall(nr::__NR_tgkill, [process, thread as usize, signal as usize]) }.map(drop)
}

/// The calling thread's id.
pub fn gettid() -> u32 {
    rustix::thread::gettid()
        .as_raw_nonzero()
        .get()
        .cast_unsigned()
}
