// SPDX-License-Identifier: MIT OR Apache-2.0
//! EOPNOTSUPP for what is not a 64-bit task: a system call by the 32-bit entry, and a 32-bit
//! program, by either entry. That program's own use of `%gs` must not be disturbed.

use core::arch::asm;

use linux_raw_sys::general::{__NR_execveat, AT_EMPTY_PATH};
use rustix::fd::{AsRawFd, OwnedFd};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::{Errno, write};
use vcpu_abi::{PR_GET_GS_MODE, PR_SET_GS_MODE, PrctlSetGsMode};
use vcpu_guest_programs::check::skip;
use vcpu_guest_programs::gs::{NONE, PAGE, get, mm_vcpu, set};
use vcpu_guest_programs::process::{expect_exit, fork, wait_for};
use vcpu_guest_programs::syscall::{from_kernel, syscall};
use vcpu_guest_programs::{check_eq, memory};

#[path = "compat_program.rs"]
mod program;

/// System call numbers of the 32-bit table (`arch/x86/entry/syscalls/syscall_32.tbl`).
const GETPID_32: usize = 20;
const PRCTL_32: usize = 172;

pub fn tasks() {
    // Without the emulation the entry is no system call but a fault.
    let probe = fork(|| i32::from(compat_syscall(GETPID_32, [0; 3]).is_err()));
    if wait_for(probe).exit_status() != Some(0) {
        skip("this kernel has no IA32_EMULATION");
    }
    for mode in [NONE, mm_vcpu(PAGE as u64)] {
        check_eq!(set(mode), Ok(()), "SET {mode:?}");
        by_the_32_bit_entry(mode);
        expect_exit(
            fork(run_program),
            0,
            "a 32-bit program (see compat_program.rs)",
        );
        check_eq!(get(), Ok(mode), "GET afterwards");
    }
}

/// Refused before the struct is looked at, whoever's pointer it is.
fn by_the_32_bit_entry(mode: PrctlSetGsMode) {
    let low = memory::map_low(PAGE);
    let place = core::ptr::with_exposed_provenance_mut::<PrctlSetGsMode>(low);
    for option in [PR_GET_GS_MODE, PR_SET_GS_MODE] {
        for (what, address) in [("a good pointer", low), ("a null pointer", 0)] {
            // SAFETY: a page of this function's own.
            unsafe { place.write(mm_vcpu(8192)) };
            let found = compat_syscall(PRCTL_32, [option as usize, address, 16]);
            let expected = Err(Errno::OPNOTSUPP);
            check_eq!(found, expected, "prctl {option:#x} by int 0x80, {what}");
            check_eq!(get(), Ok(mode), "GET by syscall afterwards");
        }
    }
    memory::unmap(low, PAGE);
}

/// A system call by the 32-bit entry; the arguments above the third are 0.
fn compat_syscall(number: usize, [first, second, third]: [usize; 3]) -> Result<usize, Errno> {
    let result: i32;
    // SAFETY: the kernel reads and writes what the caller passed. rbx cannot be named as an
    // operand, so it is kept on the stack; the entry clears r8 to r11.
    unsafe {
        asm!(
            "push rbx",
            "mov rbx, {first}",
            "int 0x80",
            "pop rbx",
            first = in(reg) first,
            inlateout("eax") number as u32 => result,
            in("ecx") second,
            in("edx") third,
            in("esi") 0,
            in("edi") 0,
            lateout("r8") _,
            lateout("r9") _,
            lateout("r10") _,
            lateout("r11") _,
        );
    }
    from_kernel(result as isize)
}

/// Becomes the 32-bit program; returns an exit status if that fails.
fn run_program() -> i32 {
    let file = memfd_create(c"compat", MemfdFlags::empty()).expect("memfd_create");
    let mut image = [0_u8; 4096];
    let length = program::image(&mut image);
    check_eq!(
        write(&file, &image[..length]),
        Ok(length),
        "write to the memfd"
    );
    let errno = execute(&file);
    panic!("execveat of a 32-bit program: {errno:?}")
}

fn execute(file: &OwnedFd) -> Errno {
    let path = c"".as_ptr().expose_provenance();
    let words = [path, 0];
    let arguments = words.as_ptr().expose_provenance();
    let environment = words[1..].as_ptr().expose_provenance();
    let arguments = [
        file.as_raw_fd() as usize,
        path,
        arguments,
        environment,
        AT_EMPTY_PATH as usize,
    ];
    // SAFETY: strings and vectors that end; a success does not return.
    match unsafe { syscall(__NR_execveat, arguments) } {
        Ok(_) => unreachable!("execveat returned"),
        Err(errno) => errno,
    }
}
