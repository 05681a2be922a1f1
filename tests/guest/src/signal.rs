// SPDX-License-Identifier: MIT OR Apache-2.0
//! Handlers and the interval timer.

use vcpu_rt::signal::{Action, Handler, SignalSet, set_action};
pub use vcpu_test_programs::signal::alarm_every;

/// Calls `handler` on each `signal`, with these SA_* flags.
///
/// # Safety
/// As for [`set_action`].
pub unsafe fn on(signal: u32, flags: u32, handler: Handler) {
    // SAFETY: by the caller's word.
    unsafe { set_action(signal, Action::Call(handler), flags, SignalSet::default()) }
        .expect("the action is well formed");
}
