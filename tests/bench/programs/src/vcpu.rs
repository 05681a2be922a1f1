// SPDX-License-Identifier: MIT OR Apache-2.0
//! On which vCPU, and in which mode, a loop is measured.

use vcpu_rt::abi::Mode;
use vcpu_rt::{found, rseq, thread, vcpu_process};

use crate::cpu::pin;

/// Ends the program where it does not run in the mode of this name.
pub fn expect_mode(name: &str) {
    let mode = vcpu_process::mode_name(found().mode);
    assert!(mode == name, "the mode is {mode}, not {name}");
}

/// Runs `action` on the CPU to which the process is pinned.
///
/// In gs mode on vCPU 1, where there is another CPU to leave vCPU 0 on: the GS base of vCPU 0 is zero,
/// which some processors are faster with. So it runs in a thread of its own. On a kernel without the
/// mode (the feature `test-hooks`) that thread writes its base by itself: it is pinned, so its mm_cid
/// stays what it is, which is checked.
pub fn run_on_a_vcpu(action: impl FnOnce() + Send) {
    if found().mode != Mode::Gs {
        return action();
    }
    let measured = rseq::cpu_id();
    // The areas are of more CPUs than there can be; any other CPU that the process may use.
    let _another = (0..found().nr_vcpus()).find(|&cpu| cpu != measured && pin(cpu).is_ok());
    thread::scope(|scope| {
        let run = || {
            assert!(pin(measured).is_ok(), "the CPU was there before");
            let vcpu = rseq::mm_cid();
            base::set(vcpu);
            action();
            assert!(rseq::mm_cid() == vcpu, "the thread has got another vCPU");
        };
        assert!(scope.spawn(run).is_ok(), "no thread");
    });
}

#[cfg(feature = "test-hooks")]
mod base {
    use core::arch::asm;

    use vcpu_rt::found;

    /// Does what the kernel would do.
    pub fn set(vcpu: u32) {
        let base = u64::from(vcpu) * found().reservation().stride;
        // SAFETY: the process is in this mode only where AT_HWCAP2 says that the instruction is
        // enabled. `%gs:` leads to another area now, so `nomem` is not set.
        unsafe { asm!("wrgsbase {base}", base = in(reg) base, options(nostack, preserves_flags)) };
    }
}

#[cfg(not(feature = "test-hooks"))]
mod base {
    /// The kernel did.
    pub fn set(_vcpu: u32) {}
}
