// SPDX-License-Identifier: MIT OR Apache-2.0
//! The same loop at eight places of a 64-byte line: [`aligned_loops!`](crate::aligned_loops!).

use vcpu_rt::{print, println};

use crate::nanoseconds;

/// Places: 0, 8, .. 56 bytes into the line.
pub const LOOPS: usize = 8;

/// An array of eight functions `extern "C" fn(CONTEXT, u32)`, which run `$body` as often as the second
/// argument says, in a loop that begins 0, 8, .. 56 bytes into a 64-byte line. Their symbols are
/// `$name` followed by `_at_0`, `_at_8`, .. `_at_56`.
#[macro_export]
macro_rules! aligned_loops {
    ($name:literal, |$context:ident: $type:ty| $body:expr) => {
        $crate::aligned_functions!($name, |$context: $type, rounds| {
            for _ in 0..rounds {
                $body;
                // SAFETY: does nothing. It keeps the compiler from unrolling the loop, which it does
                // with some bodies and not with others.
                unsafe { ::core::arch::asm!("", options(nomem, nostack, preserves_flags)) };
            }
        })
    };
}

/// The same with a `$body` that has the loops, of which the first one is meant.
///
/// The bytes between the padding and that loop are the compiler's business: the benchmark builds
/// without, looks, and builds again with what it saw in the environment variable
/// `VCPU_RT_BENCH_LEAD_` with the name behind it.
#[macro_export]
macro_rules! aligned_functions {
    ($name:literal, |$context:ident: $type:ty, $rounds:ident| $body:expr) => {
        [
            $crate::aligned_functions!(@at $name, 0, $context, $type, $rounds, $body),
            $crate::aligned_functions!(@at $name, 8, $context, $type, $rounds, $body),
            $crate::aligned_functions!(@at $name, 16, $context, $type, $rounds, $body),
            $crate::aligned_functions!(@at $name, 24, $context, $type, $rounds, $body),
            $crate::aligned_functions!(@at $name, 32, $context, $type, $rounds, $body),
            $crate::aligned_functions!(@at $name, 40, $context, $type, $rounds, $body),
            $crate::aligned_functions!(@at $name, 48, $context, $type, $rounds, $body),
            $crate::aligned_functions!(@at $name, 56, $context, $type, $rounds, $body),
        ]
    };
    (
        @at $name:literal, $offset:literal, $context:ident, $type:ty, $rounds:ident, $body:expr
    ) => {{
        #[unsafe(export_name = concat!($name, "_at_", $offset))]
        #[inline(never)]
        extern "C" fn at($context: $type, $rounds: u32) {
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
            $body
        }
        at as extern "C" fn($type, u32)
    }};
}

/// The body of a round in which the loop's own instructions weigh little: `$operation` eight times.
#[macro_export]
macro_rules! eight_times {
    ($operation:expr) => {{
        $operation;
        $operation;
        $operation;
        $operation;
        $operation;
        $operation;
        $operation;
        $operation;
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
    /// Samples of each function.
    pub samples: u32,
    /// Calls of the function in a sample.
    pub calls: u32,
    /// What it is told.
    pub rounds: u32,
    /// Operations in a round.
    pub operations: u32,
}

impl Samples {
    /// Operations of all functions together, the calls that come before the samples included.
    pub fn total(self) -> u64 {
        let sample = u64::from(self.calls * self.rounds * self.operations);
        LOOPS as u64 * u64::from(1 + self.samples) * sample
    }
}

/// Takes a sample of each function that does not count, and then the others; prints nanoseconds an
/// operation: a line for each function, a column for each sample.
pub fn print_samples<C: Copy>(
    functions: [extern "C" fn(C, u32); LOOPS],
    context: C,
    samples: Samples,
) {
    let operations = f64::from(samples.calls * samples.rounds * samples.operations);
    for run in functions {
        let sample = || {
            let start = nanoseconds();
            for _ in 0..samples.calls {
                run(context, samples.rounds);
            }
            (nanoseconds() - start) / operations
        };
        sample();
        for _ in 0..samples.samples {
            print!("{:.4} ", sample());
        }
        println!("");
    }
}
