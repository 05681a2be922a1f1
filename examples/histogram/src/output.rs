// SPDX-License-Identifier: MIT OR Apache-2.0
//! Lines on standard output that are not lost in silence.

use core::sync::atomic::{AtomicI32, Ordering};

use vcpu_rt::Errno;

/// The first error of standard output; 0 while there is none.
static FAILED: AtomicI32 = AtomicI32::new(0);

/// As `println!`, but remembers an error.
macro_rules! say {
    ($($text:tt)*) => {
        $crate::output::remember(::vcpu_rt::io::print(
            ::vcpu_rt::io::Stream::Output,
            ::core::format_args!($($text)*),
            "\n",
        ))
    };
}
pub(crate) use say;

pub fn remember(result: Result<(), Errno>) {
    if let Err(errno) = result {
        let (success, failure) = (Ordering::Relaxed, Ordering::Relaxed);
        let _the_first_stays = FAILED.compare_exchange(0, errno.raw_os_error(), success, failure);
    }
}

/// What went wrong with standard output, if anything.
pub fn error() -> Option<Errno> {
    match FAILED.load(Ordering::Relaxed) {
        0 => None,
        number => Some(Errno::from_raw_os_error(number)),
    }
}
