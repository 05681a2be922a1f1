// SPDX-License-Identifier: MIT OR Apache-2.0
//! A new program starts without the mode, whoever executes it.

use core::sync::atomic::{AtomicBool, Ordering};

use vcpu_guest_programs::base::{selector, verify};
use vcpu_guest_programs::check_eq;
use vcpu_guest_programs::gs::{NONE, Shown, get, mm_vcpu, shown, turn_on};
use vcpu_guest_programs::process::{exec_self, expect_exit, fork};
use vcpu_guest_programs::syscall::{arch, arch_get};
use vcpu_rt::process::{Command, ExitStatus};
use vcpu_rt::thread;

use vcpu_guest_programs::gs::STRIDE;

fn execute() -> i32 {
    let errno = exec_self(&[c"inherit", c"after-exec"]);
    panic!("execve of this program: {errno:?}")
}

pub fn programs() {
    turn_on(STRIDE);
    for _ in 0..20 {
        expect_exit(fork(execute), 0, "a program executed by the only thread");
        expect_exit(
            fork(|| by_thread(false)),
            0,
            "one executed by the main thread",
        );
        expect_exit(
            fork(|| by_thread(true)),
            0,
            "one executed by another thread",
        );
        by_vfork();
        check_eq!(
            get(),
            Ok(mm_vcpu(STRIDE)),
            "GET after others executed programs"
        );
        verify(STRIDE, "after others executed programs");
    }
}

/// Executes while other threads run; those end.
fn by_thread(another: bool) -> i32 {
    let stay = AtomicBool::new(true);
    thread::scope(|scope| {
        for index in 0..4 {
            let stay = &stay;
            let work = move || {
                if another && index == 3 {
                    execute();
                }
                while stay.load(Ordering::Relaxed) {
                    verify(STRIDE, "a thread while another one executes");
                }
            };
            scope.spawn(work).expect("a thread");
        }
        if !another {
            execute();
        }
        loop {
            verify(STRIDE, "the main thread while another one executes");
        }
    })
}

/// The child of a vfork shares the memory, and with it the mode, up to its execve.
fn by_vfork() {
    let arguments = [
        c"inherit".as_ptr(),
        c"after-exec".as_ptr(),
        core::ptr::null(),
    ];
    let environment = [core::ptr::null()];
    // SAFETY: strings that last, and vectors that end.
    let command = unsafe { Command::new(c"/proc/self/exe", &arguments, &environment) };
    let command = command.expect("they end").inherit_environment();
    let child = command.spawn().expect("a child");
    let status = child.wait().expect("it is this process's child");
    check_eq!(
        status,
        ExitStatus::Exited(0),
        "a program executed after vfork"
    );
}

/// In the new program.
pub fn nothing_is_left() {
    check_eq!(get(), Ok(NONE), "GET after execve");
    let shown = shown("self").expect("/proc is mounted");
    let expected = Shown {
        mm_vcpu: Some(false),
        stride: Some(0),
    };
    check_eq!(shown, expected, "/proc/self/status after execve");
    check_eq!(arch_get(arch::GET_GS), Ok(0), "ARCH_GET_GS after execve");
    check_eq!(selector(), 0, "the GS selector after execve");
    for _ in 0..10 {
        verify(0, "after execve");
        thread::yield_now();
    }
}
