// SPDX-License-Identifier: MIT OR Apache-2.0
//! How a program gets into gs mode on this machine.

use vcpu_abi::{PR_GET_GS_MODE, PrctlSetGsMode};

/// Who loads the GS base.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Gs {
    /// The kernel, by PR_SET_GS_MODE.
    Kernel,
    /// The program, by wrgsbase in one thread, which is pinned.
    Program,
    /// Nobody can.
    Nobody,
}

impl Gs {
    /// Asks the kernel.
    pub fn of_this_machine() -> Self {
        /// Bit 1 of AT_HWCAP2: the kernel has enabled rdgsbase and wrgsbase.
        const FSGSBASE: u64 = 1 << 1;
        let mut mode = PrctlSetGsMode::default();
        let option = PR_GET_GS_MODE.cast_signed();
        // SAFETY: the kernel writes within the struct.
        if unsafe { libc::prctl(option, &raw mut mode, size_of_val(&mode), 0, 0) } == 0 {
            return Self::Kernel;
        }
        // SAFETY: a look-up by number.
        if unsafe { libc::getauxval(libc::AT_HWCAP2) } & FSGSBASE != 0 {
            return Self::Program;
        }
        Self::Nobody
    }

    /// As the table says it.
    pub fn describe(self) -> &'static str {
        match self {
            Self::Kernel => "by PR_SET_GS_MODE",
            Self::Program => {
                "no PR_SET_GS_MODE in this kernel; a pinned thread sets its GS base by wrgsbase"
            }
            Self::Nobody => "neither PR_SET_GS_MODE nor wrgsbase",
        }
    }

    /// The features of the programs that run in it.
    pub fn features(self) -> &'static [&'static str] {
        match self {
            Self::Program => &["test-hooks"],
            Self::Kernel | Self::Nobody => &[],
        }
    }
}
