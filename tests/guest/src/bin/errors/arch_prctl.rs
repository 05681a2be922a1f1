// SPDX-License-Identifier: MIT OR Apache-2.0
//! Other ways to the base: ARCH_SET_GS is refused while the mode is on, for oneself and for a
//! tracee; what it does without the mode, and its neighbours, stay as they are.

use linux_raw_sys::general::SIGSTOP;
use rustix::io::Errno;
use vcpu_guest_programs::base::{prepare, verify};
use vcpu_guest_programs::check_eq;
use vcpu_guest_programs::gs::{NONE, STRIDE, get, mm_vcpu, set, turn_on};
use vcpu_guest_programs::ptrace::{Tracee, become_tracee};
use vcpu_guest_programs::syscall::{arch, arch_get, arch_set_gs, gettid, syscall, tgkill};

const BUSY: Result<(), Errno> = Err(Errno::BUSY);
pub fn operations() {
    prepare();
    own();
    for (on, what) in [
        (true, "a tracee with the mode"),
        (false, "a tracee without"),
    ] {
        tracee(on, what);
    }
}

fn own() {
    check_eq!(
        arch_set_gs(0x1234_5000),
        Ok(()),
        "ARCH_SET_GS before the mode"
    );
    check_eq!(
        arch_get(arch::GET_GS),
        Ok(0x1234_5000),
        "ARCH_GET_GS before"
    );
    turn_on(STRIDE);
    verify(STRIDE, "a base set by ARCH_SET_GS, after SET");
    for base in [0, 0x1000, STRIDE as usize, 1 << 46] {
        check_eq!(arch_set_gs(base), BUSY, "ARCH_SET_GS to {base:#x}");
        verify(STRIDE, "after a refused ARCH_SET_GS");
    }
    let base = arch_get(arch::GET_GS).expect("the address is good") as u64;
    check_eq!(base % STRIDE, 0, "remainder of ARCH_GET_GS, {base:#x}");
    let pointer = arch_get(arch::GET_FS).expect("the address is good");
    // SAFETY: the thread pointer as it is.
    let found = unsafe {
        syscall(
            linux_raw_sys::general::__NR_arch_prctl,
            [arch::SET_FS, pointer],
        )
    };
    check_eq!(found, Ok(0), "ARCH_SET_FS with the mode on");
    // The answer is about the mode, not about the address: EBUSY for addresses that are EPERM
    // without the mode would be as good, so those are left out.
    check_eq!(set(NONE), Ok(()), "SET NONE while alone");
    check_eq!(arch_get(arch::GET_GS), Ok(0), "ARCH_GET_GS after NONE");
    check_eq!(arch_set_gs(0x4321_5000), Ok(()), "ARCH_SET_GS after NONE");
    check_eq!(arch_get(arch::GET_GS), Ok(0x4321_5000), "ARCH_GET_GS");
    check_eq!(set(NONE), Ok(()), "NONE that changes nothing");
    check_eq!(
        arch_get(arch::GET_GS),
        Ok(0x4321_5000),
        "a foreign base after a NONE that changed nothing"
    );
    check_eq!(arch_set_gs(0), Ok(()), "ARCH_SET_GS to 0");
}

/// The tracer's mode is the other one: it must not be the tracer's that counts.
fn tracee(on: bool, what: &str) {
    check_eq!(
        set(if on { NONE } else { mm_vcpu(STRIDE) }),
        Ok(()),
        "SET in the tracer"
    );
    let tracee = Tracee::start(|| {
        let mode = if on { mm_vcpu(STRIDE) } else { NONE };
        check_eq!(set(mode), Ok(()), "SET in the tracee");
        become_tracee();
        tgkill(gettid(), SIGSTOP).expect("one may stop oneself");
        check_eq!(get(), Ok(mode), "GET in the tracee");
        if on {
            verify(STRIDE, "a tracee after ARCH_SET_GS was refused");
        } else {
            check_eq!(arch_get(arch::GET_GS), Ok(0x7777_0000), "the tracee's base");
        }
    });
    tracee.wait_for_stop(SIGSTOP);
    let expected = if on { BUSY } else { Ok(()) };
    let found = tracee.arch_set(arch::SET_GS, 0x7777_0000);
    check_eq!(found, expected, "PTRACE_ARCH_PRCTL, ARCH_SET_GS of {what}");
    let base = tracee.arch_get(arch::GET_GS).expect("it is stopped");
    if on {
        check_eq!(
            base as u64 % STRIDE,
            0,
            "remainder of ARCH_GET_GS of {what}, {base:#x}"
        );
    } else {
        check_eq!(base, 0x7777_0000, "ARCH_GET_GS of {what}");
    }
    let pointer = tracee.arch_get(arch::GET_FS).expect("it is stopped");
    let found = tracee.arch_set(arch::SET_FS, pointer);
    check_eq!(found, Ok(()), "PTRACE_ARCH_PRCTL, ARCH_SET_FS of {what}");
    tracee.resume(0);
    tracee.expect_exit(0, what);
}
