// SPDX-License-Identifier: MIT OR Apache-2.0
//! Signal masks, as the kernel has them (rt_sigprocmask(2)).

use linux_raw_sys::general::{__NR_rt_sigprocmask, SIG_BLOCK, SIG_SETMASK, SIG_UNBLOCK};

use crate::arch::syscall;

/// Signal 1 is bit 0, up to signal 64.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SignalSet(u64);

impl SignalSet {
    /// All signals. The kernel keeps SIGKILL and SIGSTOP out.
    pub const ALL: Self = Self(u64::MAX);

    /// The set of one signal, 1 to 64; empty for other numbers.
    pub const fn of(signal: u32) -> Self {
        Self(if signal >= 1 && signal <= 64 {
            1 << (signal - 1)
        } else {
            0
        })
    }

    /// These without one signal.
    pub const fn without(self, signal: u32) -> Self {
        Self(self.0 & !Self::of(signal).0)
    }

    /// From the kernel's bits.
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// The kernel's bits.
    pub const fn bits(self) -> u64 {
        self.0
    }
}

fn change_mask(how: u32, set: SignalSet) -> SignalSet {
    let mut before = SignalSet::default();
    let (new, old) = (
        (&raw const set).expose_provenance(),
        (&raw mut before).expose_provenance(),
    );
    // SAFETY: 8 readable and 8 writable bytes. The call cannot fail with these arguments.
    let _cannot_fail = unsafe {
        syscall(
            __NR_rt_sigprocmask,
            [how as usize, new, old, size_of::<SignalSet>()],
        )
    };
    before
}

/// Blocks all signals in the calling thread and returns the mask before.
pub fn block_all() -> SignalSet {
    change_mask(SIG_SETMASK, SignalSet::ALL)
}

/// Makes `set` the calling thread's mask.
pub fn restore(set: SignalSet) {
    change_mask(SIG_SETMASK, set);
}

/// Adds `set` to the calling thread's mask and returns the mask before.
pub fn block(set: SignalSet) -> SignalSet {
    change_mask(SIG_BLOCK, set)
}

/// Takes `set` out of the calling thread's mask and returns the mask before.
pub fn unblock(set: SignalSet) -> SignalSet {
    change_mask(SIG_UNBLOCK, set)
}
