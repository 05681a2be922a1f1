// SPDX-License-Identifier: MIT OR Apache-2.0
//! Starts programs. `run PROGRAM ARGS..` prints how one ended; `counting PROGRAM TIMES` starts one
//! again and again while threads count, and prints their sum.
#![no_std]
#![no_main]

use core::ffi::{CStr, c_char};
use core::ptr::null;
use core::sync::atomic::{AtomicBool, Ordering};

use linux_raw_sys::general as nr;
use vcpu_rt::process::{Child, Command, ExitStatus};
use vcpu_rt::{Errno, PerVcpu, Single, env, println, thread};
use vcpu_test_programs::PASSED;
use vcpu_test_programs::arguments::{number, word};
use vcpu_test_programs::syscall::syscall;

vcpu_rt::entry!(main);

const THREADS: u64 = 4;

fn main() -> i32 {
    match word(1) {
        "run" => run(),
        "counting" => counting(),
        other => panic!("what is {other}?"),
    }
    PASSED
}

fn program() -> &'static CStr {
    env::args().nth(2).expect("an argument is missing")
}

/// Pointers to the arguments from the program's path on, and the null that ends them.
fn vector() -> [*const c_char; 8] {
    let mut pointers = [null(); 8];
    for (place, argument) in pointers.iter_mut().take(7).zip(env::args().skip(2)) {
        *place = argument.as_ptr();
    }
    pointers
}

/// Starts the program with `arguments` and this one's own environment.
fn start(arguments: &[*const c_char]) -> Result<Child, Errno> {
    // SAFETY: the arguments are those of this process, which live as long as it does.
    let command = unsafe { Command::new(program(), arguments, &[null()]) }?;
    command.inherit_environment().spawn()
}

fn run() {
    match start(&vector()) {
        Ok(child) => match child.wait().expect("it is our child") {
            ExitStatus::Exited(status) => println!("ended=exit {status}"),
            ExitStatus::Signaled(signal) => println!("ended=signal {signal}"),
        },
        Err(errno) => println!("errno={}", errno.raw_os_error()),
    }
    // Whatever happened, no child is left to wait for (ECHILD).
    let none = [usize::MAX, 0, nr::WNOHANG as usize, 0];
    // SAFETY: wait4(2) without places to write to.
    assert_eq!(unsafe { syscall(nr::__NR_wait4, none) }, Err(10));
}

/// The child of a vfork shares the memory: it must not touch the ids of the thread that made it.
fn counting() {
    let counter = PerVcpu::<Single>::new().expect("the pool has room");
    let stop = AtomicBool::new(false);
    let added = thread::scope(|scope| {
        let count = || {
            let mut added = 0_u64;
            while !stop.load(Ordering::Relaxed) {
                counter.add(1);
                added += 1;
            }
            added
        };
        let threads: [_; THREADS as usize] =
            core::array::from_fn(|_| scope.spawn(count).expect("a thread"));
        let mut own = 0;
        for _ in 0..number(3) {
            let child = start(&[program().as_ptr(), null()]).expect("it starts");
            counter.add(1);
            own += 1;
            child.wait().expect("it is our child");
        }
        stop.store(true, Ordering::Relaxed);
        threads.into_iter().map(|thread| thread.join()).sum::<u64>() + own
    });
    println!("lost={}", added.wrapping_sub(counter.sum()).cast_signed());
}
