// SPDX-License-Identifier: MIT OR Apache-2.0
//! In which mode, and on which vCPU, a loop is measured.

use vcpu_rt::{found, vcpu_process};

/// Ends the program where it does not run in the mode of this name.
pub fn expect_mode(name: &str) {
    let mode = vcpu_process::mode_name(found().mode);
    assert!(mode == name, "the mode is {mode}, not {name}");
}

/// On a kernel without the GS mode (the feature `test-hooks`): makes the process's only thread vCPU 1,
/// since vCPU 0 has a base of zero, which some processors are faster with. For programs that reach
/// their objects by `%gs:` alone: critical sections go by mm_cid, which is 0.
#[cfg(feature = "test-hooks")]
pub fn leave_vcpu_0() {
    if found().mode == vcpu_rt::abi::Mode::Gs && found().nr_vcpus() > 1 {
        let base = found().reservation().stride;
        // SAFETY: the process is in this mode only where AT_HWCAP2 says that the instruction is
        // enabled. `%gs:` leads to another area now, so `nomem` is not set.
        unsafe {
            core::arch::asm!("wrgsbase {}", in(reg) base, options(nostack, preserves_flags));
        }
    }
}

/// The kernel says which vCPU it is.
#[cfg(not(feature = "test-hooks"))]
pub fn leave_vcpu_0() {}
