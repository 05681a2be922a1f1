// SPDX-License-Identifier: MIT OR Apache-2.0
//! Other processes.

use core::ffi::{CStr, c_char};
use core::mem::MaybeUninit;
use core::ptr;

use linux_raw_sys::general::{__NR_execve, __NR_getrusage, RUSAGE_THREAD, rusage};
use rustix::io::Errno;
use rustix::process::{Pid, WaitOptions, WaitStatus, waitpid};
use vcpu_rt::env;
use vcpu_rt::process::{self, Fork};

use crate::check_eq;
use crate::syscall::syscall;

/// Runs `child` in a fork child, which ends with what it returns.
///
/// Where other threads run, the child only does what a signal handler may do; nothing of
/// these programs takes a lock.
pub fn fork(child: impl FnOnce() -> i32) -> Pid {
    // SAFETY: see above.
    match unsafe { process::fork() }.unwrap_or_else(|errno| panic!("fork: {errno:?}")) {
        Fork::Child => process::exit_group(child()),
        Fork::Parent(child) => Pid::from_raw(child.cast_signed()).expect("a child has an id"),
    }
}

/// Waits for a process's end.
pub fn wait_for(process: Pid) -> WaitStatus {
    wait_with(process, WaitOptions::empty())
}

/// Waits until a process ends or does what `options` ask for.
pub fn wait_with(process: Pid, options: WaitOptions) -> WaitStatus {
    loop {
        match waitpid(Some(process), options) {
            Ok(Some((_, status))) => return status,
            Ok(None) | Err(Errno::INTR) => {}
            Err(errno) => panic!("waiting for {process:?}: {errno:?}"),
        }
    }
}

/// Waits for a process and checks that it ended with this exit status.
pub fn expect_exit(process: Pid, status: i32, what: &str) {
    let end = wait_for(process);
    check_eq!(
        (end.exit_status(), end.terminating_signal()),
        (Some(status), None),
        "exit status and signal of {what}"
    );
}

/// Runs `child`, whose checks panic, in a fork child.
pub fn check_in_child(what: &str, child: impl FnOnce()) {
    let process = fork(|| {
        child();
        0
    });
    expect_exit(process, 0, what);
}

/// How often the calling thread has been switched out.
pub fn switches() -> i64 {
    let mut usage = MaybeUninit::<rusage>::zeroed();
    let place = usage.as_mut_ptr().expose_provenance();
    // SAFETY: the kernel writes the struct, which is all numbers.
    let usage = unsafe {
        let answer = syscall(__NR_getrusage, [RUSAGE_THREAD as usize, place]);
        check_eq!(answer, Ok(0), "getrusage");
        usage.assume_init()
    };
    usage.ru_nvcsw + usage.ru_nivcsw
}

/// Executes this very program with other arguments and the same environment, and says why that
/// failed.
pub fn exec_self(arguments: &[&CStr]) -> Errno {
    let mut vector = [ptr::null::<c_char>(); 16];
    for (place, argument) in vector[..15].iter_mut().zip(arguments) {
        *place = argument.as_ptr();
    }
    exec(c"/proc/self/exe", &vector)
}

/// Executes a program; `arguments` end with a null pointer.
pub fn exec(path: &CStr, arguments: &[*const c_char]) -> Errno {
    assert!(arguments.last().is_some_and(|last| last.is_null()));
    let words = [
        path.as_ptr().expose_provenance(),
        arguments.as_ptr().expose_provenance(),
        env::environ().expose_provenance(),
    ];
    // SAFETY: a string and two vectors that end; a success does not return.
    match unsafe { syscall(__NR_execve, words) } {
        Ok(_) => unreachable!("execve returned"),
        Err(errno) => errno,
    }
}
