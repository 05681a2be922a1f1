// SPDX-License-Identifier: MIT OR Apache-2.0
//! The end of a program that found itself wrong.

use core::panic::PanicInfo;

use vcpu_core::report::Line;

use crate::arch::thread::trap;
use crate::process::{First, Place, abort, exit_group};

/// The exit status of a panic, as a Rust program with std has it.
pub const PANIC_STATUS: i32 = 101;

/// The thread that panicked first.
pub(crate) static PANICKING: First = First::nobody();

/// Prints thread, location and message on standard error and ends the process with status 101.
/// Nothing is unwound, and `at_exit` functions do not run.
#[doc(hidden)]
pub fn panic(info: &PanicInfo<'_>) -> ! {
    match PANICKING.come() {
        // In two pieces: if the message's Display panics as well, the location is out.
        Place::First => {
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
        Place::Again => {}
        // Time for the first one's line to come out whole, which ends the process; but its message
        // may be waiting for something that this thread holds.
        Place::Late => crate::thread::sleep(core::time::Duration::from_secs(1)),
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
