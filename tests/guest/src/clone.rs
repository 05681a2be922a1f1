// SPDX-License-Identifier: MIT OR Apache-2.0
//! Processes that share their maker's memory: CLONE_VM without CLONE_THREAD, and vfork.

use core::ptr::{null_mut, with_exposed_provenance_mut};

use linux_raw_sys::general::{CLONE_SETTLS, CLONE_VM, SIGCHLD};
use rustix::process::{Pid, WaitStatus};
use vcpu_abi::{RSEQ_OFFSET, Rseq};
use vcpu_rt::arch::thread::clone;
use vcpu_rt::{found, process};

use crate::memory;
use crate::process::wait_for;

/// A stack, and above it room for a thread block: the self pointer at `%fs:0`, struct rseq.
const STACK_BYTES: usize = 128 << 10;
const BYTES: usize = STACK_BYTES + 4096;

/// What a child starts with; it lives in its maker's frame.
struct Errand<F> {
    block: usize,
    child: Option<F>,
}

/// Starts a process that shares this one's memory and ends with what `child` returns, runs `parent`
/// meanwhile, and waits for the child. With CLONE_VFORK in `flags`, `parent` runs afterwards.
///
/// The child has a thread block of its own, registered with rseq. It calls nothing that keeps
/// state for threads of the runtime.
pub fn sharing_memory<F, P, T>(flags: u32, child: F, parent: P) -> (T, WaitStatus)
where
    F: FnOnce() -> i32 + Send,
    P: FnOnce(Pid) -> T,
{
    let stack = memory::map(BYTES);
    let block = stack + STACK_BYTES;
    // SAFETY: the first word of fresh memory.
    unsafe { with_exposed_provenance_mut::<usize>(block).write(block) };
    let mut errand = Errand {
        block,
        child: Some(child),
    };
    let argument = (&raw mut errand).expose_provenance();
    let flags = CLONE_VM | CLONE_SETTLS | SIGCHLD | flags;
    // SAFETY: stack and block are fresh; the errand outlives the child, which is waited for.
    let process = unsafe {
        clone(
            flags.into(),
            block,
            null_mut(),
            null_mut(),
            block,
            start::<F>,
            argument,
        )
    };
    let process = process.unwrap_or_else(|errno| panic!("clone: {errno:?}"));
    let process = Pid::from_raw(process.cast_signed()).expect("a child has an id");
    let result = parent(process);
    let status = wait_for(process);
    memory::unmap(stack, BYTES);
    (result, status)
}

unsafe extern "C" fn start<F: FnOnce() -> i32>(errand: usize) -> ! {
    // SAFETY: the maker passes its errand and does not touch it before the child's end.
    let errand = unsafe { &mut *with_exposed_provenance_mut::<Errand<F>>(errand) };
    let area = with_exposed_provenance_mut::<Rseq>(errand.block + RSEQ_OFFSET);
    // SAFETY: the area is this thread's alone and outlives it.
    let registered = unsafe { found().registration.register(area) };
    registered.expect("its maker is registered, so the kernel has rseq");
    let child = errand.child.take().expect("a child starts once");
    process::exit_group(child())
}
