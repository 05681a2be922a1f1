// SPDX-License-Identifier: MIT OR Apache-2.0
//! The auxiliary vector, read once (getauxval(3); `include/uapi/linux/auxvec.h`).
#![forbid(unsafe_code)]

use linux_raw_sys::auxvec as uapi;

/// Bit 1 of AT_HWCAP2 on x86: user code may use rdfsbase, wrfsbase, rdgsbase, wrgsbase
/// (`arch/x86/include/uapi/asm/hwcap2.h`).
const HWCAP2_FSGSBASE: usize = 1 << 1;

/// The entries that the runtime acts by. What the kernel did not give is 0 or `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Auxv {
    /// AT_PHDR: address of the program headers.
    pub program_headers: usize,
    /// AT_PHNUM: how many there are.
    pub program_header_count: usize,
    /// AT_RANDOM: address of 16 random bytes.
    pub random: usize,
    /// AT_SECURE: set-user-ID, set-group-ID, capabilities or an LSM: do not trust the environment.
    pub secure: bool,
    /// AT_HWCAP2 says that FSGSBASE instructions may be used.
    pub fsgsbase: bool,
    /// AT_RSEQ_FEATURE_SIZE, bytes; `None` before Linux 6.3.
    pub rseq_feature_size: Option<usize>,
    /// AT_RSEQ_ALIGN, bytes; `None` before Linux 6.3.
    pub rseq_align: Option<usize>,
    /// AT_MINSIGSTKSZ, bytes that the kernel needs for a signal frame; 0 before Linux 5.14.
    pub minimum_signal_stack: usize,
    /// AT_SYSINFO_EHDR: address of the vDSO's ELF header.
    pub vdso: usize,
}

impl Auxv {
    /// Reads `(type, value)` pairs up to AT_NULL, which may be missing. Of duplicates the last wins;
    /// the kernel gives none.
    #[inline(always)]
    pub fn from_pairs(pairs: impl Iterator<Item = (usize, usize)>) -> Self {
        let mut auxv = Self::default();
        for (kind, value) in pairs {
            if kind > u32::MAX as usize {
                continue;
            }
            match kind as u32 {
                uapi::AT_NULL => break,
                uapi::AT_PHDR => auxv.program_headers = value,
                uapi::AT_PHNUM => auxv.program_header_count = value,
                uapi::AT_RANDOM => auxv.random = value,
                uapi::AT_SECURE => auxv.secure = value != 0,
                uapi::AT_HWCAP2 => auxv.fsgsbase = value & HWCAP2_FSGSBASE != 0,
                uapi::AT_RSEQ_FEATURE_SIZE => auxv.rseq_feature_size = Some(value),
                uapi::AT_RSEQ_ALIGN => auxv.rseq_align = Some(value),
                uapi::AT_MINSIGSTKSZ => auxv.minimum_signal_stack = value,
                uapi::AT_SYSINFO_EHDR => auxv.vdso = value,
                _ => {}
            }
        }
        auxv
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;

    #[test]
    fn stops_at_null_and_ignores_unknown_types() {
        let pairs = [
            (27, 28),
            (usize::MAX, 7),
            (0x1_0000_0003, 9),
            (0, 0),
            (28, 64),
        ];
        let auxv = Auxv::from_pairs(pairs.into_iter());
        assert_eq!(
            auxv,
            Auxv {
                rseq_feature_size: Some(28),
                ..Auxv::default()
            }
        );
    }

    #[test]
    fn a_missing_null_is_no_error() {
        let auxv = Auxv::from_pairs([(23, 1), (26, 2)].into_iter());
        assert!(auxv.secure && auxv.fsgsbase);
    }
}
