// SPDX-License-Identifier: MIT OR Apache-2.0
//! The end of a program that found itself wrong.

use core::panic::PanicInfo;
use core::sync::atomic::{AtomicUsize, Ordering};

use vcpu_core::report::Line;

use crate::arch::thread::trap;
use crate::block::ThreadBlock;
use crate::process::{abort, exit_group};

/// The exit status of a panic, as a Rust program with std has it.
pub const PANIC_STATUS: i32 = 101;

/// The block of the thread that panicked first; 0 before.
static PANICKING: AtomicUsize = AtomicUsize::new(0);

/// In a fork child: another thread's panic did not come along.
pub(crate) fn forget_other_threads() {
    let own = core::ptr::from_ref(ThreadBlock::current()).addr();
    if PANICKING.load(Ordering::Relaxed) != own {
        PANICKING.store(0, Ordering::Relaxed);
    }
}

/// Prints thread, location and message on standard error and ends the process with status 101.
/// Nothing is unwound, and `at_exit` functions do not run.
#[doc(hidden)]
pub fn panic(info: &PanicInfo<'_>) -> ! {
    let own = core::ptr::from_ref(ThreadBlock::current()).addr();
    match PANICKING.compare_exchange(0, own, Ordering::Relaxed, Ordering::Relaxed) {
        // In two pieces: if the message's Display panics as well, the location is out.
        Ok(_) => {
            crate::thread::current().with_name(|name| {
                let name = if name.is_empty() { "<unnamed>" } else { name };
                match info.location() {
                    Some(location) => crate::eprintln!("thread '{name}' panicked at {location}:"),
                    None => crate::eprintln!("thread '{name}' panicked:"),
                }
            });
            crate::eprintln!("{}", info.message());
        }
        // A panic while one is printed (a Display that panics) would not end.
        Err(first) if first == own => {}
        // Time for the first one's line to come out whole, which ends the process; but its message
        // may be waiting for something that this thread holds.
        Err(_) => crate::thread::sleep(core::time::Duration::from_secs(1)),
    }
    exit_group(PANIC_STATUS)
}

/// `__stack_chk_fail`: a C function found its canary changed.
#[doc(hidden)]
pub extern "C" fn stack_smashed() -> ! {
    Line::new()
        .text("stack smashing detected; aborting")
        .print();
    abort()
}

/// `_Unwind_Resume`: compiled cleanups refer to it, and nothing unwinds, so nobody calls it.
#[doc(hidden)]
pub fn unwind_resume() -> ! {
    trap()
}
