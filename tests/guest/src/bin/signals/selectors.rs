// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a program loads into `%gs` lasts until its next switch: then the selector is null and the
//! base right. With a selector above 3 left in place, a processor without FSGSBASE would never be
//! given the base.

use core::time::Duration;

use linux_raw_sys::general::__NR_modify_ldt;
use rustix::io::Errno;
use vcpu_guest_programs::base::{fsgsbase, load_selector, selector, verify};
use vcpu_guest_programs::check_eq;
use vcpu_guest_programs::gs::{mm_vcpu, set, turn_on};
use vcpu_guest_programs::machine::{allowed_cpus, move_to, numbers};
use vcpu_guest_programs::process::{check_in_child, switches};
use vcpu_guest_programs::syscall::syscall;
use vcpu_guest_programs::threads::in_threads;
use vcpu_rt::{println, thread};

use vcpu_guest_programs::gs::STRIDE;

/// `__USER_DS` (`arch/x86/include/asm/segment.h`).
pub const USER_DS: u16 = 0x2b;
/// Entry 0 of the LDT, ring 3.
const LDT_ENTRY: u16 = 0b111;

pub fn all() {
    turn_on(STRIDE);
    println!("fsgsbase={}", fsgsbase());
    let ldt = make_ldt_entry();
    if let Err(errno) = ldt {
        println!("selectors of an LDT are left out: modify_ldt: {errno:?}");
    }
    let count = if ldt.is_ok() { 4 } else { 3 };
    let selectors = &[0, 3, USER_DS, LDT_ENTRY][..count];
    for selector in selectors {
        every_switch(*selector);
    }
    // The same with company, so that threads of this memory follow one another on a CPU.
    in_threads(8, || {
        for _ in 0..20 {
            selectors
                .iter()
                .for_each(|selector| every_switch(*selector));
        }
    });
}

/// An entry for data with a base of its own.
fn make_ldt_entry() -> Result<(), Errno> {
    // struct user_desc: entry, base, limit, and of its flags seg_32bit, limit_in_pages, useable.
    let entry = [0_u32, 0x1234_5000, 0xf_ffff, 1 | 1 << 4 | 1 << 6];
    let place = (&raw const entry).expose_provenance();
    let length = size_of_val(&entry);
    // SAFETY: the kernel reads the struct. (1: write an entry.) Nothing uses the LDT otherwise.
    let answer = unsafe { syscall(__NR_modify_ldt, [1, place, length]) }? as u32;
    // The result is an int, whose upper half the kernel leaves zero even for errors.
    match answer.cast_signed() {
        0 => Ok(()),
        errno => Err(Errno::from_raw_os_error(-errno)),
    }
}

/// Loads the selector, is switched out in one way after the other, and looks.
fn every_switch(loaded: u16) {
    let loads = || load(loaded);
    after(loads, "a selector and a sleep", sleep);
    after(loads, "a selector and a move to another CPU", || {
        let cpus = allowed_cpus();
        for cpu in numbers(&cpus).take(2) {
            move_to(0, cpu).expect("the CPU is online");
            // With one CPU, a move is no switch.
            sleep();
        }
        rustix::thread::sched_setaffinity(None, &cpus).expect("it was allowed");
    });
    after(loads, "a selector and a fork", || {
        check_in_child("a child", || {
            let what = "a fork child of a program with a selector";
            check_eq!(selector(), 0, "the GS selector of {what} {loaded:#x}");
            verify(STRIDE, what);
        });
        sleep();
    });
    // Another stride comes with an exit to user that loads the base.
    load(loaded);
    if rustix::thread::gettid() == rustix::process::getpid() {
        check_eq!(
            set(mm_vcpu(3 * STRIDE)),
            Ok(()),
            "SET with a selector loaded"
        );
        check_eq!(selector(), 0, "the GS selector after {loaded:#x} and SET");
        verify(3 * STRIDE, "after a selector and SET");
        turn_on(STRIDE);
    } else {
        sleep();
    }
}

/// Long enough to be switched out, mostly.
pub fn sleep() {
    thread::sleep(Duration::from_millis(1));
}

fn load(selector: u16) {
    // SAFETY: null selectors, and descriptors of data.
    unsafe { load_selector(selector) };
}

/// Checks what is left of a selector after a switch. A sleep may be over before the thread is
/// switched out, so the kernel's count of switches says whether there was one.
pub fn after(load: impl Fn(), what: &str, switch: impl Fn()) {
    loop {
        load();
        let before = switches();
        switch();
        if switches() > before {
            break;
        }
    }
    check_eq!(selector(), 0, "the GS selector after {what}");
    verify(STRIDE, what);
}
