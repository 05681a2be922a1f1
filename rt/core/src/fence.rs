// SPDX-License-Identifier: MIT OR Apache-2.0
//! The fence that restarts other threads' critical sections (membarrier(2),
//! MEMBARRIER_CMD_PRIVATE_EXPEDITED_RSEQ, Linux 5.10).

use core::sync::atomic::{AtomicBool, Ordering};

use rustix::io::Errno;
use rustix::thread::{MembarrierCommand, MembarrierQuery, membarrier, membarrier_query};

use crate::process;

static REGISTERED: AtomicBool = AtomicBool::new(false);

/// Whether the kernel's MEMBARRIER_CMD_QUERY offers the fence and its registration.
pub fn offered() -> bool {
    membarrier_query().contains(
        MembarrierQuery::PRIVATE_EXPEDITED_RSEQ | MembarrierQuery::REGISTER_PRIVATE_EXPEDITED_RSEQ,
    )
}

/// Registers the process for the fence. Cheap while it has one thread (0.5 us), 15 to 23 ms once
/// others run: so the runtime calls it before its first extra thread. A refusal is not kept:
/// [`fence`] tries again and reports it.
pub fn prepare() {
    if process::found().fence && !REGISTERED.load(Ordering::Relaxed) {
        let _refusal_is_told_by_fence = register();
    }
}

fn register() -> Result<(), Errno> {
    membarrier(MembarrierCommand::RegisterPrivateExpeditedRseq)?;
    REGISTERED.store(true, Ordering::Relaxed);
    Ok(())
}

/// When it returns, every critical section that was running on vCPU `vcpu` (on any, with -1) has
/// ended or was restarted, and what the caller wrote before is visible to sections that start
/// after. It says nothing of updates by locked or single instructions. One id is widened to all:
/// the kernel's per-CPU form takes a physical CPU, and an mm_cid is none.
///
/// # Errors
/// EINVAL: `vcpu` is below -1 or not below `nr_vcpus`. ENOSYS: the kernel does not offer the
/// fence. EPERM: a seccomp filter refuses it.
pub fn fence(vcpu: i32) -> Result<(), Errno> {
    let found = process::found();
    if vcpu < -1 || (vcpu >= 0 && vcpu.cast_unsigned() >= found.nr_vcpus()) {
        return Err(Errno::INVAL);
    }
    if !found.fence {
        return Err(Errno::NOSYS);
    }
    if REGISTERED.load(Ordering::Relaxed) {
        match membarrier(MembarrierCommand::PrivateExpeditedRseq) {
            // Not registered after all: this is another memory space than the one that was.
            Err(Errno::PERM) => {}
            result => return result,
        }
    }
    register()?;
    membarrier(MembarrierCommand::PrivateExpeditedRseq)
}
