// SPDX-License-Identifier: MIT OR Apache-2.0
//! The environment variables that the runtime reads at start, and their limits. It ignores all
//! of them in a process with AT_SECURE.

use static_assertions::const_assert;

/// Bytes between areas: a power of two, decimal, with an optional K, M or G.
pub const TUNABLE_STRIDE: &str = "VCPU_RT_STRIDE";
/// GS mode: auto, on, off.
pub const TUNABLE_GS: &str = "VCPU_RT_GS";
/// Registration of rseq: auto (or on), own, adopt, off.
pub const TUNABLE_RSEQ: &str = "VCPU_RT_RSEQ";
/// 1: one line on stderr says what was found and chosen. 0: silence.
pub const TUNABLE_DEBUG: &str = "VCPU_RT_DEBUG";

/// Least stride in bytes: a page, which is what the GS mode takes.
pub const STRIDE_MINIMUM: u64 = 4 << 10;
/// Largest stride in bytes.
pub const STRIDE_MAXIMUM: u64 = 1 << 30;
/// Stride in bytes when nothing is said.
pub const STRIDE_DEFAULT: u64 = 2 << 20;

const_assert!(STRIDE_MINIMUM.is_power_of_two());
const_assert!(STRIDE_MAXIMUM.is_power_of_two());
const_assert!(STRIDE_DEFAULT.is_power_of_two());
const_assert!(STRIDE_MINIMUM <= STRIDE_DEFAULT && STRIDE_DEFAULT <= STRIDE_MAXIMUM);
