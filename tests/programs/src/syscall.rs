// SPDX-License-Identifier: MIT OR Apache-2.0
//! System calls, raw.

use core::arch::asm;
use core::time::Duration;

use linux_raw_sys::general as nr;

/// Makes a system call. The error is the errno, positive.
///
/// # Safety
/// The arguments must be what this system call asks for, pointers included.
pub unsafe fn syscall(number: u32, arguments: [usize; 4]) -> Result<usize, i32> {
    // SAFETY: by the caller's word.
    unsafe { vcpu_rt::syscall(number, arguments) }.map_err(|errno| errno.raw_os_error())
}

/// A system call that takes integers only and has no effect on this process's memory.
fn integers(number: u32, arguments: [usize; 3]) -> Result<usize, i32> {
    let [a, b, c] = arguments;
    // SAFETY: integers only; see the callers.
    unsafe { syscall(number, [a, b, c, 0]) }
}

/// The process's id.
pub fn getpid() -> usize {
    integers(nr::__NR_getpid, [0; 3]).unwrap_or(0)
}

/// The thread's id.
pub fn gettid() -> usize {
    integers(nr::__NR_gettid, [0; 3]).unwrap_or(0)
}

/// CLOCK_MONOTONIC, since some start.
pub fn monotonic() -> Duration {
    let mut now = [0_u64; 2];
    let place = now.as_mut_ptr().expose_provenance();
    let arguments = [nr::CLOCK_MONOTONIC as usize, place, 0, 0];
    // SAFETY: the kernel writes seconds and nanoseconds, two words.
    unsafe { syscall(nr::__NR_clock_gettime, arguments) }.expect("every kernel has this clock");
    Duration::new(now[0], now[1] as u32)
}

/// Gives up the processor.
pub fn sched_yield() {
    integers(nr::__NR_sched_yield, [0; 3]).expect("sched_yield has no errors");
}

/// Closes a descriptor.
pub fn close(fd: usize) -> Result<usize, i32> {
    integers(nr::__NR_close, [fd, 0, 0])
}

/// The mask of processors that the calling thread may run on; machines above 1024 are cut.
pub fn affinity() -> [u64; 16] {
    let mut mask = [0_u64; 16];
    // SAFETY: the kernel writes at most 128 bytes.
    let answer = unsafe {
        syscall(
            nr::__NR_sched_getaffinity,
            [0, 128, mask.as_mut_ptr().expose_provenance(), 0],
        )
    };
    answer.expect("the mask has room for 1024 processors");
    mask
}

/// Moves the calling thread to one processor.
pub fn pin(cpu: usize) -> Result<(), i32> {
    pin_thread(0, cpu)
}

/// Moves a thread, by its id, to one processor.
pub fn pin_thread(thread: usize, cpu: usize) -> Result<(), i32> {
    let mut mask = [0_u64; 16];
    mask[cpu / 64] = 1 << (cpu % 64);
    set_affinity(thread, &mask)
}

/// Sets the processors that the calling thread may run on.
pub fn restrict(mask: &[u64; 16]) -> Result<(), i32> {
    set_affinity(0, mask)
}

fn set_affinity(thread: usize, mask: &[u64; 16]) -> Result<(), i32> {
    let mask = mask.as_ptr().expose_provenance();
    // SAFETY: the kernel reads 128 bytes.
    let answer = unsafe { syscall(nr::__NR_sched_setaffinity, [thread, 128, mask, 0]) };
    answer.map(drop)
}

/// The processors in a mask.
pub fn processors(mask: &[u64; 16]) -> impl Iterator<Item = usize> + Clone + use<> {
    let mask = *mask;
    (0..1024).filter(move |cpu| mask[cpu / 64] & (1 << (cpu % 64)) != 0)
}

/// rseq(2) for the area at `address`.
///
/// # Safety
/// The area must stay mapped until it is unregistered or the thread has ended.
pub unsafe fn rseq(
    address: usize,
    length: usize,
    flags: u32,
    signature: u32,
) -> Result<usize, i32> {
    // SAFETY: by the caller.
    unsafe {
        syscall(
            nr::__NR_rseq,
            [address, length, flags as usize, signature as usize],
        )
    }
}

/// Maps fresh memory, `bytes` of it.
pub fn map(bytes: usize) -> usize {
    let protection = nr::PROT_READ | nr::PROT_WRITE;
    let flags = nr::MAP_PRIVATE | nr::MAP_ANONYMOUS;
    let result: isize;
    // SAFETY: a new mapping replaces nothing. All six arguments are given, and the call clobbers rcx
    // and r11.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") nr::__NR_mmap as usize => result,
            in("rdi") 0,
            in("rsi") bytes,
            in("rdx") protection,
            in("r10") flags,
            in("r8") -1_isize,
            in("r9") 0,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    assert!(result > 0, "mmap answered {result}");
    result.cast_unsigned()
}

/// Address of the calling thread's thread block: what `%fs:0` holds.
pub fn thread_pointer() -> usize {
    let address: usize;
    // SAFETY: a load of the self pointer, which the psABI puts at `%fs:0`.
    unsafe {
        asm!("mov {}, qword ptr fs:[0]", out(reg) address, options(nostack, readonly, preserves_flags));
    }
    address
}
