// SPDX-License-Identifier: MIT OR Apache-2.0
//! `kernel_threads THREADS LOADS`: kernel threads borrow this process's memory space by
//! kthread_use_mm(), as vhost's do, and sleep, give way and move in it. Their GS base stays 0, which a
//! test module (`kernel/test-modules`) looks at while it is loaded. Meanwhile threads of the process
//! look at their own bases, are moved, and the stride changes.
#![no_std]
#![no_main]

use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;

use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;
use rustix::system::{delete_module, finit_module};
use vcpu_guest_programs::arguments::{number, threads};
use vcpu_guest_programs::base::{prepare, verify};
use vcpu_guest_programs::check::skip;
use vcpu_guest_programs::check_eq;
use vcpu_guest_programs::generations::Generations;
use vcpu_guest_programs::gs::{begin, get, mm_vcpu};
use vcpu_guest_programs::threads::{move_all, under_storm};
use vcpu_rt::{println, thread};

vcpu_rt::entry!(main);

const MODULE: &str = "/modules/gs_mode_kthread.ko";
const PARAMETERS: &core::ffi::CStr = c"kthreads=4 rounds=500";

static GENERATIONS: Generations = Generations::new();

fn main() {
    begin();
    prepare();
    GENERATIONS.advance();
    let loaded = AtomicBool::new(false);
    let look = |_: usize, _: &AtomicBool| {
        while !loaded.load(Ordering::Acquire) {
            GENERATIONS.observe();
        }
    };
    thread::scope(|scope| {
        let load = || {
            (0..number(2)).for_each(|_| load());
            loaded.store(true, Ordering::Release);
        };
        scope.spawn(load).expect("a thread");
        let rounds = under_storm(threads(1), 0, look, |workers, round| {
            GENERATIONS.advance();
            move_all(workers, round);
            thread::sleep(Duration::from_millis(1));
        });
        println!("strides set={rounds}");
        check_eq!(rounds > 0, true, "the stride changed meanwhile");
    });
    check_eq!(get(), Ok(mm_vcpu(GENERATIONS.stride())), "GET at the end");
    verify(GENERATIONS.stride(), "the main thread at the end");
}

/// Loads the module, which returns when its kernel threads have ended, and removes it.
fn load() {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let module = open(MODULE, flags, Mode::empty()).expect("the module");
    let result = finit_module(&module, PARAMETERS, 0);
    if result == Err(Errno::NOSYS) {
        skip("a kernel without modules");
    }
    check_eq!(
        result,
        Ok(()),
        "ERANGE: a base was not 0 (see the README of test-modules)"
    );
    check_eq!(
        delete_module(c"gs_mode_kthread", 0),
        Ok(()),
        "delete_module"
    );
}
