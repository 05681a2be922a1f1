// SPDX-License-Identifier: MIT OR Apache-2.0
//! For how many vCPUs there are areas, in programs with the feature `test-hooks`: as many as the
//! program says, by a symbol that it defines:
//!
//! ```text
//! #[unsafe(no_mangle)]
//! static vcpu_rt_test_nr_vcpus: u32 = 8192;
//! ```

use crate::topology::{Affinity, MAX_CPUS};

unsafe extern "C" {
    /// The program's bound, from 1 to [`MAX_CPUS`].
    safe static vcpu_rt_test_nr_vcpus: u32;
}

/// The program's bound with what else the kernel says of this process, and whether every mm_cid
/// that it can give is below that bound.
pub fn of_this_process() -> (Affinity, bool) {
    let real = Affinity::of_this_thread();
    let bound = vcpu_rt_test_nr_vcpus;
    assert!(
        (1..=MAX_CPUS).contains(&bound),
        "a bound that no kernel has"
    );
    let affinity = Affinity {
        mask_bits: bound,
        // In the shared mode threads are spread over as many areas as they may use CPUs.
        allowed: real.allowed.min(bound),
        highest: real.highest.min(bound - 1),
    };
    (affinity, real.is_known() && real.mask_bits <= bound)
}
