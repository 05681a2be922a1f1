// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the libraries for C do at a panic, which is a mistake of ours.

use core::fmt::{self, Write};
use core::panic::PanicInfo;

use vcpu_core::report::Line;

use crate::libc;

/// A line that `core::fmt` writes to.
struct Message(Line);

impl Write for Message {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.text(text);
        Ok(())
    }
}

/// One line, then abort(3).
pub fn stop(info: &PanicInfo<'_>) -> ! {
    let mut message = Message(Line::new());
    let _it_is_cut = write!(message, "{info}");
    message.0.print_in_any_case();
    // SAFETY: ends the process.
    unsafe { libc::abort() }
}

/// What every library for C must have: `library!();` at the top of its crate.
#[macro_export]
macro_rules! library {
    () => {
        // A test build has those of std.
        #[cfg(not(test))]
        #[panic_handler]
        fn panic(info: &::core::panic::PanicInfo<'_>) -> ! {
            $crate::panic::stop(info)
        }

        /// The precompiled core refers to it; nothing here unwinds, so nobody calls it.
        #[cfg(not(test))]
        #[unsafe(no_mangle)]
        extern "C" fn rust_eh_personality() {}
    };
}
