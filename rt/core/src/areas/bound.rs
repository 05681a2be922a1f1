// SPDX-License-Identifier: MIT OR Apache-2.0
//! For how many vCPUs there are areas: as many as the kernel has.

use crate::topology::Affinity;

/// What the kernel says of this process, and whether every mm_cid that it can give is below the
/// bound.
pub fn of_this_process() -> (Affinity, bool) {
    let affinity = Affinity::of_this_thread();
    (affinity, affinity.is_known())
}
