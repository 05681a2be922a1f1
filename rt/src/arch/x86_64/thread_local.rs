// SPDX-License-Identifier: MIT OR Apache-2.0
//! Thread-locals without `#[thread_local]`, which is unstable.

/// Reserves zeroed room of `$bytes`, aligned to `$align`, in the PT_TLS image, under a name made
/// from the symbol of `$anchor`, a static of the caller, which makes it unique.
#[doc(hidden)]
#[macro_export]
macro_rules! __thread_local_room {
    ($anchor:path, $bytes:expr, $align:expr) => {
        ::core::arch::global_asm!(
            ".pushsection .tbss.{anchor}, \"awT\", @nobits",
            ".balign {align}",
            // Global, since the code that uses it may be in another object of the same program.
            ".globl {anchor}.tls",
            ".hidden {anchor}.tls",
            ".type {anchor}.tls, @object",
            "{anchor}.tls:",
            ".zero {bytes}",
            ".size {anchor}.tls, {bytes}",
            ".popsection",
            anchor = sym $anchor,
            bytes = const $bytes,
            align = const $align,
        );
    };
}

/// The address of the calling thread's copy of that room: the local-exec model (psABI, "TLS"),
/// which holds in every executable, PIE or not.
#[doc(hidden)]
#[macro_export]
macro_rules! __thread_local_address {
    ($anchor:path) => {{
        let address: usize;
        // SAFETY: reads the self pointer at %fs:0 and adds a constant of the link. It never
        // changes during a thread's life: `pure`. No stack, no flags.
        unsafe {
            ::core::arch::asm!(
                "mov {address}, fs:[0]",
                "lea {address}, [{address} + {anchor}.tls@TPOFF]",
                address = out(reg) address,
                anchor = sym $anchor,
                options(pure, readonly, nostack, preserves_flags),
            );
        }
        address
    }};
}
