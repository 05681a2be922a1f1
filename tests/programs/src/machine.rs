// SPDX-License-Identifier: MIT OR Apache-2.0
//! What only the first process of a machine does.

use core::ffi::CStr;

use linux_raw_sys::general as nr;
use vcpu_rt::{println, process};

use crate::syscall::{close, getpid, syscall};

/// Panics in any other process than the first: these programs would switch the machine off.
pub fn assert_first_process() {
    assert_eq!(getpid(), 1, "run this program as init");
}

/// Mounts proc on /proc.
pub fn mount_proc() {
    let (name, place) = (c"proc".as_ptr(), c"/proc".as_ptr());
    let name = name.expose_provenance();
    // SAFETY: terminated strings; the flags are none, and so are the options.
    unsafe { syscall(nr::__NR_mount, [name, place.expose_provenance(), name, 0]) }
        .expect("there is a directory");
}

/// Writes a setting of the kernel.
pub fn set(path: &CStr, value: &str) {
    let path = path.as_ptr().expose_provenance();
    let text = value.as_ptr().expose_provenance();
    // SAFETY: a terminated path, and a buffer of the size that write(2) is told.
    unsafe {
        let file = syscall(nr::__NR_open, [path, nr::O_WRONLY as usize, 0, 0]);
        let file = file.expect("the kernel has the setting");
        let written = syscall(nr::__NR_write, [file, text, value.len(), 0]);
        assert_eq!(written, Ok(value.len()));
        close(file).expect("it is open");
    }
}

/// Switches the machine off.
pub fn power_off() -> ! {
    const MAGIC: [usize; 3] = [0xfee1_dead, 672_274_793, 0x4321_fedc];
    // SAFETY: reboot(2) with LINUX_REBOOT_CMD_POWER_OFF, which nothing outlives.
    let answer = unsafe { syscall(nr::__NR_reboot, [MAGIC[0], MAGIC[1], MAGIC[2], 0]) };
    println!("reboot={answer:?}");
    process::abort()
}
