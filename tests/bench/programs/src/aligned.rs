// SPDX-License-Identifier: MIT OR Apache-2.0
//! The same loop at eight places of a 64-byte line: [`aligned_loops!`](crate::aligned_loops!).

use vcpu_rt::{print, println};

use crate::nanoseconds;

/// Places: 0, 8, .. 56 bytes into the line.
pub const LOOPS: usize = 8;

/// An array of eight functions `extern "C" fn(CONTEXT, u32)`, whose loops run `$body` as often as
/// the second argument says and begin 0, 8, .. 56 bytes into a 64-byte line. Their symbols are
/// `$name` followed by `_at_0`, `_at_8`, .. `_at_56`.
///
/// The bytes between the padding and the loop are the compiler's business: the benchmark builds
/// without, looks, and builds again with what it saw in the environment variable
/// `VCPU_RT_BENCH_LEAD_` with the name behind it.
#[macro_export]
macro_rules! aligned_loops {
    ($name:literal, |$context:ident: $type:ty| $body:expr) => {
        [
            $crate::aligned_loops!(@at $name, 0, $context, $type, $body),
            $crate::aligned_loops!(@at $name, 8, $context, $type, $body),
            $crate::aligned_loops!(@at $name, 16, $context, $type, $body),
            $crate::aligned_loops!(@at $name, 24, $context, $type, $body),
            $crate::aligned_loops!(@at $name, 32, $context, $type, $body),
            $crate::aligned_loops!(@at $name, 40, $context, $type, $body),
            $crate::aligned_loops!(@at $name, 48, $context, $type, $body),
            $crate::aligned_loops!(@at $name, 56, $context, $type, $body),
        ]
    };
    (@at $name:literal, $offset:literal, $context:ident, $type:ty, $body:expr) => {{
        #[unsafe(export_name = concat!($name, "_at_", $offset))]
        #[inline(never)]
        extern "C" fn at($context: $type, rounds: u32) {
            const LEAD: usize =
                $crate::lead(option_env!(concat!("VCPU_RT_BENCH_LEAD_", $name)));
            // SAFETY: padding that does nothing.
            unsafe {
                ::core::arch::asm!(
                    ".balign 64",
                    ".fill {padding}, 1, 0x90",
                    padding = const ($offset + 64 - LEAD) % 64,
                    options(nomem, nostack, preserves_flags),
                );
            }
            for _ in 0..rounds {
                $body;
                // SAFETY: does nothing. It keeps the compiler from unrolling the loop, which it does
                // with some bodies and not with others.
                unsafe { ::core::arch::asm!("", options(nomem, nostack, preserves_flags)) };
            }
        }
        at as extern "C" fn($type, u32)
    }};
}

/// The number in an environment variable of the build, below 64; 0 without it.
pub const fn lead(text: Option<&str>) -> usize {
    let Some(text) = text else { return 0 };
    match usize::from_str_radix(text, 10) {
        Ok(lead) if lead < 64 => lead,
        _ => panic!("a lead is a number of bytes below 64"),
    }
}

/// How much is measured.
#[derive(Clone, Copy)]
pub struct Samples {
    /// Samples of each loop.
    pub samples: u32,
    /// Rounds of the loop in a sample.
    pub rounds: u32,
    /// Operations in a round.
    pub operations: u32,
}

impl Samples {
    /// Operations of all loops together, the rounds that come before the samples included.
    pub fn total(self) -> u64 {
        LOOPS as u64 * u64::from((1 + self.samples) * self.rounds * self.operations)
    }
}

/// Runs each loop once, and then as often as there are samples; prints nanoseconds an operation: a
/// line for each loop, a column for each sample.
pub fn print_samples<C: Copy>(loops: [extern "C" fn(C, u32); LOOPS], context: C, samples: Samples) {
    let operations = f64::from(samples.rounds) * f64::from(samples.operations);
    for run in loops {
        run(context, samples.rounds);
        for _ in 0..samples.samples {
            let start = nanoseconds();
            run(context, samples.rounds);
            print!("{:.4} ", (nanoseconds() - start) / operations);
        }
        println!("");
    }
}
