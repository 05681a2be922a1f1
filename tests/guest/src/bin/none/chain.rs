// SPDX-License-Identifier: MIT OR Apache-2.0
//! A chain of processes that share the memory: each makes the next one and ends. At no moment is
//! the main thread alone, though most of the time its company is being made, or is about to end.

use core::ptr::with_exposed_provenance_mut;
use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use linux_raw_sys::general::{
    __NR_exit, CLONE_CHILD_CLEARTID, CLONE_CHILD_SETTID, CLONE_PARENT, CLONE_VM, SIGCHLD,
};
use rustix::io::Errno;
use rustix::process::{WaitOptions, wait};
use vcpu_guest_programs::gs::{NONE, get, mm_vcpu, set};
use vcpu_guest_programs::syscall::syscall;
use vcpu_guest_programs::{check_eq, memory};
use vcpu_rt::arch::thread::clone;
use vcpu_rt::signal::{Action, SignalSet, set_action};
use vcpu_rt::{println, thread};

use super::{STRIDE, taken};

const STACK_BYTES: usize = 32 << 10;
const STACKS: usize = 8;

/// What the links share. They run on their maker's thread block, which they do not touch.
struct Chain {
    /// Where the stacks are.
    stacks: AtomicUsize,
    /// The id of the link that uses each stack; the kernel clears it at its end.
    users: [AtomicU32; STACKS],
    ended: AtomicU32,
}

static CHAIN: Chain = Chain {
    stacks: AtomicUsize::new(0),
    users: [const { AtomicU32::new(0) }; STACKS],
    ended: AtomicU32::new(0),
};

/// The chain has ended normally, or by a clone that failed.
const COMPLETE: u32 = 1;
const BROKEN: u32 = 2;

pub fn unbroken(links: usize) {
    check_eq!(set(mm_vcpu(STRIDE)), Ok(()), "SET");
    CHAIN
        .stacks
        .store(memory::map(STACKS * STACK_BYTES), Ordering::Relaxed);
    // Links that ended are nobody's to wait for, but all of them together are.
    on_child(Action::Ignore);
    let first = start_link(links, 0).map(drop);
    check_eq!(first, Ok(()), "clone of the first link");
    let mut tries = 0_u64;
    loop {
        let found = set(NONE);
        match CHAIN.ended.load(Ordering::Acquire) {
            // It had not ended when NONE was tried.
            0 => check_eq!(found, Err(Errno::BUSY), "NONE while the chain lives"),
            COMPLETE => break,
            _ => panic!("a link of the chain could not be made"),
        }
        check_eq!(get(), Ok(mm_vcpu(STRIDE)), "GET while the chain lives");
        tries += 1;
    }
    let all_ended = wait(WaitOptions::empty()).map(drop);
    check_eq!(all_ended, Err(Errno::CHILD), "waiting for all links");
    on_child(Action::Default);
    println!("links={links} tries={tries}");
    taken("the chain's end");
}

fn on_child(action: Action) {
    // SAFETY: no handler.
    unsafe { set_action(SIGCHLD, action, 0, SignalSet::default()) }.expect("SIGCHLD exists");
}

/// Makes link number `left` on a stack of which no earlier link makes use any more. Its parent is
/// the caller, or with CLONE_PARENT the caller's.
fn start_link(left: usize, parent: u32) -> Result<u32, Errno> {
    const FLAGS: u32 = CLONE_VM | CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID | SIGCHLD;
    let place = left % STACKS;
    let user = &CHAIN.users[place];
    while user.load(Ordering::Acquire) != 0 {
        thread::yield_now();
    }
    let stack = CHAIN.stacks.load(Ordering::Relaxed) + (place + 1) * STACK_BYTES;
    // Not free any more, whenever the kernel stores the id.
    user.store(u32::MAX, Ordering::Release);
    // SAFETY: the stack is nobody's, and the word lives for ever.
    unsafe {
        clone(
            (FLAGS | parent).into(),
            stack,
            with_exposed_provenance_mut(0),
            user.as_ptr(),
            0,
            link,
            left,
        )
    }
}

/// A link: makes the next one, or ends the chain.
unsafe extern "C" fn link(left: usize) -> ! {
    let end = match left.checked_sub(1) {
        Some(next) => match start_link(next, CLONE_PARENT) {
            Ok(_) => 0,
            Err(_) => BROKEN,
        },
        None => COMPLETE,
    };
    if end != 0 {
        CHAIN.ended.store(end, Ordering::Release);
    }
    // SAFETY: ends this process's only thread.
    let _does_not_return = unsafe { syscall(__NR_exit, [0]) };
    loop {
        core::hint::spin_loop();
    }
}
