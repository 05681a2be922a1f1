// SPDX-License-Identifier: MIT OR Apache-2.0
//! The ABI table by its symbol, as a C object finds it.

use vcpu_abi::VcpuAbi;

unsafe extern "C" {
    static vcpu_abi: VcpuAbi;
}

/// The table.
pub fn abi() -> &'static VcpuAbi {
    // SAFETY: the runtime filled it before main, and it is read-only since.
    unsafe { &vcpu_abi }
}
