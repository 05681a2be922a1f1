// SPDX-License-Identifier: MIT OR Apache-2.0
//! The vCPU that the thread runs on, and the others.
//!
//! What these functions say may be out of date when they return: the thread can be moved between any
//! two instructions. Only the operations of per-vCPU objects, and critical sections of one's own
//! ([`critical_section!`](crate::critical_section!)), act on the vCPU that they speak of. All may
//! be called at any time by any thread and in signal handlers.

use vcpu_abi::{Mode, RSEQ_FEATURE_SIZE_NODE_ID, Rseq};

use crate::access::{Way, own_way};
use crate::{arch, process};

pub use crate::fence::fence;

/// The id of this thread's vCPU, below `nr_vcpus`: its mm_cid, or its CPU in the mode that goes by
/// that. `None`: operations of this thread act on a shared area.
#[must_use]
pub fn id() -> Option<u32> {
    // SAFETY: threads of the runtime have its blocks, and without it there is no way.
    match own_way()? {
        (Way::CpuId, access) => below(
            // SAFETY: as above.
            unsafe { arch::rseq_field::<{ Rseq::CPU_ID_OFFSET }>() },
            access.exact_bound(),
        ),
        // SAFETY: as above.
        (_, access) => below(
            unsafe { arch::rseq_field::<{ Rseq::MM_CID_OFFSET }>() },
            access.exact_bound(),
        ),
    }
}

/// The NUMA node of the CPU that the thread runs on; `None` before Linux 6.3, and in a thread that is
/// not registered.
#[must_use]
pub fn node() -> Option<u32> {
    let found = process::found();
    if found.active_feature_size() < RSEQ_FEATURE_SIZE_NODE_ID {
        return None;
    }
    own_way()?;
    // SAFETY: the thread has a block of the runtime: it has a way of its own.
    Some(unsafe { arch::rseq_field::<{ Rseq::NODE_ID_OFFSET }>() })
}

/// The mode in which this thread's sections run now: the process's, or shared where it is not
/// registered. In [`Mode::Gs`] single operations need no registration.
#[must_use]
pub fn current_mode() -> Mode {
    match own_way() {
        Some(_) => process::found().mode,
        None => Mode::Shared,
    }
}

/// The ids of the vCPUs that can exist on this machine, and last the number of the area of threads
/// without one: what sums run over.
pub fn areas() -> impl Iterator<Item = u32> {
    process::found().used_areas()
}

fn below(id: u32, bound: u32) -> Option<u32> {
    (id < bound).then_some(id)
}
