// SPDX-License-Identifier: MIT OR Apache-2.0
//! Instructions that make, end and identify threads.

use core::arch::{asm, naked_asm};

use linux_raw_sys::general::{
    __NR_arch_prctl, __NR_clone, __NR_exit, __NR_munmap, __NR_rt_sigreturn,
};
use rustix::io::Errno;
use vcpu_core::arch::syscall;

/// `ARCH_SET_FS` (`arch/x86/include/uapi/asm/prctl.h`).
const ARCH_SET_FS: usize = 0x1002;

/// Sets the thread pointer: by wrfsbase where the kernel allows it (AT_HWCAP2), else by
/// arch_prctl(2), which costs a system call.
///
/// # Safety
/// `pointer` is a filled thread block. `fsgsbase` is what AT_HWCAP2 says.
#[inline(always)]
pub unsafe fn set_thread_pointer(pointer: usize, fsgsbase: bool) -> Result<(), Errno> {
    if fsgsbase {
        // SAFETY: the instruction is enabled. What %fs-relative code reads from here on is the
        // caller's block; no memory, stack or flags are touched by the instruction itself, but
        // `nomem` is not set, so that writes to the block stay before it.
        unsafe { asm!("wrfsbase {}", in(reg) pointer, options(nostack, preserves_flags)) };
        return Ok(());
    }
    // SAFETY: sets a register of this thread.
    unsafe { syscall(__NR_arch_prctl, [ARCH_SET_FS, pointer, 0, 0]) }.map(|_| ())
}

/// clone(2). The child starts on `stack` by calling `entry(argument)`, which must not return.
///
/// # Errors
/// As clone(2): EAGAIN (RLIMIT_NPROC, pids cgroup, threads-max), ENOMEM, EPERM.
///
/// # Safety
/// `stack` is the 16-aligned end of a stack that nobody else uses; `tls`, the tid pointers and
/// `flags` are as clone(2) demands; with CLONE_VM, `argument` outlives the child's use of it.
pub unsafe fn clone(
    flags: u64,
    stack: usize,
    parent_tid: *mut u32,
    child_tid: *mut u32,
    tls: usize,
    entry: unsafe extern "C" fn(usize) -> !,
    argument: usize,
) -> Result<u32, Errno> {
    let result: isize;
    // SAFETY: the parent sees an ordinary system call: rax, rcx and r11 change. The child returns
    // from the same instruction with rax = 0, all other registers equal and rsp = stack: it
    // touches no memory of this frame, ends the chain of frames, and calls the entry (the call
    // leaves rsp as the ABI wants it at a function's start). With CLONE_VM and without
    // CLONE_VFORK both run at the same time, on different stacks. `nostack` is not set, so that
    // nothing lives in the red zone under CLONE_VFORK. The kernel and the child may write any
    // memory: no `nomem`.
    unsafe {
        asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "mov rdi, r13",
            "call r12",
            "ud2",
            "2:",
            inlateout("rax") __NR_clone as usize => result,
            in("rdi") flags,
            in("rsi") stack,
            in("rdx") parent_tid,
            in("r10") child_tid,
            in("r8") tls,
            in("r12") entry,
            in("r13") argument,
            lateout("rcx") _,
            lateout("r11") _,
        );
    }
    match result {
        0.. => Ok(result as u32),
        _ => Err(Errno::from_raw_os_error(-result as i32)),
    }
}

/// Ends the calling thread (exit(2), not exit_group(2)).
///
/// # Safety
/// Nothing on the thread's stack is borrowed by others.
pub unsafe fn exit_thread() -> ! {
    // SAFETY: exit does not return. The stack is not touched after it.
    unsafe {
        asm!("syscall", "ud2", in("rax") __NR_exit as usize, in("rdi") 0_usize, options(noreturn, nostack));
    }
}

/// Unmaps the calling thread's own mapping, stack included, and ends the thread: between the two
/// system calls there is no stack, so both are made here from registers alone.
///
/// # Safety
/// The mapping is the thread's own and nobody else's. All signals are blocked (a handler would
/// have no stack), rseq is unregistered and the clear-tid pointer is reset (the kernel would
/// write to them).
pub unsafe fn unmap_and_exit_thread(base: usize, bytes: usize) -> ! {
    // SAFETY: by the caller's word nothing needs the memory. rcx and r11 are clobbered by the
    // first call, which does not matter: edi of the second is set after it.
    unsafe {
        asm!(
            "syscall",
            "mov eax, {exit}",
            "xor edi, edi",
            "syscall",
            "ud2",
            exit = const __NR_exit,
            in("rax") __NR_munmap as usize,
            in("rdi") base,
            in("rsi") bytes,
            options(noreturn, nostack),
        );
    }
}

/// Ends the process by SIGILL: for what cannot be reached.
#[inline(always)]
pub fn trap() -> ! {
    // SAFETY: ud2 does nothing but fault.
    unsafe { asm!("ud2", options(noreturn, nostack, nomem)) }
}

/// What a signal handler returns to (SA_RESTORER, which x86-64 demands): rt_sigreturn(2).
///
/// The kernel's frame is at the stack pointer, so there must be no prologue. gdb and libgcc
/// recognize the two instructions by their bytes: `mov $15,%rax` in its 7-byte form, `syscall`.
///
/// # Safety
/// Only the kernel arranges for it to run, at a handler's return.
#[unsafe(naked)]
pub unsafe extern "C" fn restore_from_signal() {
    naked_asm!(
        ".byte 0x48, 0xc7, 0xc0",
        ".long {number}",
        "syscall",
        "ud2",
        number = const __NR_rt_sigreturn,
    )
}
