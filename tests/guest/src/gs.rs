// SPDX-License-Identifier: MIT OR Apache-2.0
//! The prctl, as `kernel/` defines it, and what /proc shows of the mode.

use core::ptr;

use linux_raw_sys::general::__NR_prctl;
use rustix::io::Errno;
use vcpu_abi::{
    GS_INDEX_MODE_MM_VCPU, GS_INDEX_MODE_NONE, PR_GET_GS_MODE, PR_SET_GS_MODE, PrctlSetGsMode,
};

use crate::check_eq;
use crate::file;
use crate::syscall::syscall;

/// Bytes of a page, the unit of strides.
pub const PAGE: usize = 4096;

/// A stride like any other, bytes.
pub const STRIDE: u64 = 2 * PAGE as u64;

/// The mode is off.
pub const NONE: PrctlSetGsMode = PrctlSetGsMode {
    index_mode: GS_INDEX_MODE_NONE,
    flags: 0,
    stride: 0,
};

/// The mode is on, with this stride in bytes.
pub const fn mm_vcpu(stride: u64) -> PrctlSetGsMode {
    PrctlSetGsMode {
        index_mode: GS_INDEX_MODE_MM_VCPU,
        flags: 0,
        stride,
    }
}

/// prctl(2) with all five arguments.
///
/// # Safety
/// For PR_GET_GS_MODE, `size` bytes at `address` are the caller's to have overwritten, or unmapped.
/// A base that code depends on must not be changed under it.
pub unsafe fn prctl(option: u32, arguments: [usize; 4]) -> Result<usize, Errno> {
    let [address, size, fourth, fifth] = arguments;
    // SAFETY: by the caller's word.
    unsafe { syscall(__NR_prctl, [option as usize, address, size, fourth, fifth]) }
}

/// PR_SET_GS_MODE.
pub fn set(mode: PrctlSetGsMode) -> Result<(), Errno> {
    let address = ptr::from_ref(&mode).expose_provenance();
    let arguments = [address, size_of::<PrctlSetGsMode>(), 0, 0];
    // SAFETY: the kernel reads the struct. Only these programs' assembly uses the base.
    unsafe { prctl(PR_SET_GS_MODE, arguments) }.map(drop)
}

/// PR_GET_GS_MODE.
pub fn get() -> Result<PrctlSetGsMode, Errno> {
    let mut mode = PrctlSetGsMode {
        index_mode: u32::MAX,
        flags: u32::MAX,
        stride: u64::MAX,
    };
    let address = ptr::from_mut(&mut mode).expose_provenance();
    let arguments = [address, size_of::<PrctlSetGsMode>(), 0, 0];
    // SAFETY: the kernel writes the struct.
    unsafe { prctl(PR_GET_GS_MODE, arguments) }?;
    Ok(mode)
}

/// Turns the mode on and checks that the kernel says so.
pub fn turn_on(stride: u64) {
    check_eq!(set(mm_vcpu(stride)), Ok(()), "SET MM_VCPU, stride {stride}");
    check_eq!(get(), Ok(mm_vcpu(stride)), "GET after SET");
}

/// The start of every program: the kernel has the mode, and it is off.
pub fn begin() {
    check_eq!(
        get(),
        Ok(NONE),
        "PR_GET_GS_MODE at the start (run with VCPU_RT_GS=off)"
    );
}

/// The mode as /proc/PID/status shows it; `process` is a number or `self`.
pub fn shown(process: &str) -> Result<Shown, Errno> {
    let mut path = [0_u8; 32];
    let mut length = 0;
    for part in ["/proc/", process, "/status"] {
        path[length..length + part.len()].copy_from_slice(part.as_bytes());
        length += part.len();
    }
    let path = core::str::from_utf8(&path[..length]).map_err(|_| Errno::INVAL)?;
    let mut buffer = [0_u8; 8192];
    let text = file::read_into(path, &mut buffer)?;
    let value = |key: &[u8]| {
        let mut lines = text.split(|byte| *byte == b'\n');
        let value = lines.find_map(|line| line.strip_prefix(key))?;
        let value = core::str::from_utf8(value.trim_ascii()).ok()?;
        Some(value)
    };
    Ok(Shown {
        mm_vcpu: value(b"GsMode:\t").and_then(|mode| match mode {
            "none" => Some(false),
            "mm_vcpu" => Some(true),
            _ => None,
        }),
        stride: value(b"GsStride:\t").and_then(|stride| stride.parse().ok()),
    })
}

/// The two lines of /proc/PID/status; `None` where a line is absent or is not understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Whether `GsMode:` is `mm_vcpu`, not `none`.
    pub mm_vcpu: Option<bool>,
    /// `GsStride:`, bytes.
    pub stride: Option<u64>,
}
