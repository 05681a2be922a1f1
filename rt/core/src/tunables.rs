// SPDX-License-Identifier: MIT OR Apache-2.0
//! The four environment variables, parsed where they lie: nothing is copied or allocated.
//!
//! Of duplicates the first wins, as with getenv(3). A value that is not allowed is reported and
//! the default taken. The caller passes no entries at all when AT_SECURE is set.
#![forbid(unsafe_code)]

use vcpu_abi::{
    STRIDE_DEFAULT, STRIDE_MAXIMUM, STRIDE_MINIMUM, TUNABLE_DEBUG, TUNABLE_GS, TUNABLE_RSEQ,
    TUNABLE_STRIDE,
};

/// VCPU_RT_GS: whether to ask the kernel for the GS mode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GsChoice {
    /// `auto`, the default: the owner of the process decides (on in no_std, off in the hosted form).
    #[default]
    Auto,
    /// `on`.
    On,
    /// `off`.
    Off,
}

/// VCPU_RT_RSEQ: whose rseq registration to use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RseqChoice {
    /// `auto` or `on`, the default. `own` and `adopt` mean the same where there is no libc.
    #[default]
    Auto,
    /// `own`: register, whatever libc did.
    Own,
    /// `adopt`: use libc's registration.
    Adopt,
    /// `off`: no rseq; shared mode.
    Off,
}

/// What the environment asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tunables {
    /// VCPU_RT_STRIDE in bytes, a power of two; `None` when not given or not allowed.
    pub stride: Option<u64>,
    /// VCPU_RT_GS.
    pub gs: GsChoice,
    /// VCPU_RT_RSEQ.
    pub rseq: RseqChoice,
    /// VCPU_RT_DEBUG=1: one line on stderr with what was found and chosen.
    pub debug: bool,
}

/// A value that is not allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Complaint<'a> {
    /// The variable's name.
    pub variable: &'static str,
    /// What was given.
    pub value: &'a [u8],
    /// What is allowed, for people.
    pub allowed: &'static str,
    /// What is taken instead.
    pub taken: &'static str,
}

const STRIDE_ALLOWED: &str = "a power of two from 4K to 1G, decimal, with an optional K, M or G";

/// Parses the environment's entries, each `NAME=VALUE` without its terminator.
pub fn parse<'a>(
    entries: impl Iterator<Item = &'a [u8]>,
    mut complain: impl FnMut(Complaint<'a>),
) -> Tunables {
    let mut seen = Seen::default();
    let mut tunables = Tunables::default();
    for entry in entries {
        let mut bad = |variable, value, allowed, taken| {
            complain(Complaint {
                variable,
                value,
                allowed,
                taken,
            });
        };
        if let Some(value) = first(&mut seen.stride, entry, TUNABLE_STRIDE) {
            tunables.stride = parse_stride(value);
            if tunables.stride.is_none() {
                bad(TUNABLE_STRIDE, value, STRIDE_ALLOWED, "2M");
            }
        } else if let Some(value) = first(&mut seen.gs, entry, TUNABLE_GS) {
            match value {
                b"auto" => tunables.gs = GsChoice::Auto,
                b"on" => tunables.gs = GsChoice::On,
                b"off" => tunables.gs = GsChoice::Off,
                _ => bad(TUNABLE_GS, value, "auto, on, off", "auto"),
            }
        } else if let Some(value) = first(&mut seen.rseq, entry, TUNABLE_RSEQ) {
            match value {
                b"auto" | b"on" => tunables.rseq = RseqChoice::Auto,
                b"own" => tunables.rseq = RseqChoice::Own,
                b"adopt" => tunables.rseq = RseqChoice::Adopt,
                b"off" => tunables.rseq = RseqChoice::Off,
                _ => bad(TUNABLE_RSEQ, value, "auto, on, own, adopt, off", "auto"),
            }
        } else if let Some(value) = first(&mut seen.debug, entry, TUNABLE_DEBUG) {
            match value {
                b"0" => tunables.debug = false,
                b"1" => tunables.debug = true,
                _ => bad(TUNABLE_DEBUG, value, "0, 1", "0"),
            }
        }
    }
    tunables
}

/// Which variables were met already.
#[derive(Default)]
struct Seen {
    stride: bool,
    gs: bool,
    rseq: bool,
    debug: bool,
}

/// The value, when `entry` is the first one named `name`.
fn first<'a>(seen: &mut bool, entry: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let value = entry.strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
    if core::mem::replace(seen, true) {
        None
    } else {
        Some(value)
    }
}

/// Bytes, or `None` when the text is not an allowed stride.
fn parse_stride(text: &[u8]) -> Option<u64> {
    let (digits, unit_shift) = match text {
        [digits @ .., b'K'] => (digits, 10),
        [digits @ .., b'M'] => (digits, 20),
        [digits @ .., b'G'] => (digits, 30),
        digits => (digits, 0),
    };
    if digits.is_empty() {
        return None;
    }
    let mut number: u64 = 0;
    for digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        number = number
            .checked_mul(10)?
            .checked_add(u64::from(digit - b'0'))?;
    }
    let bytes = number.checked_mul(1 << unit_shift)?;
    (bytes.is_power_of_two() && (STRIDE_MINIMUM..=STRIDE_MAXIMUM).contains(&bytes)).then_some(bytes)
}

/// The stride to ask for: the tunable's or the default, raised to what the program declares,
/// which is rounded up to a power of two and bounded by the largest allowed stride.
pub fn stride(tunable: Option<u64>, declared_minimum: u64) -> u64 {
    let minimum = declared_minimum
        .clamp(STRIDE_MINIMUM, STRIDE_MAXIMUM)
        .next_power_of_two();
    tunable.unwrap_or(STRIDE_DEFAULT).max(minimum)
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::vec::Vec;

    fn parsed(entries: &[&'static str]) -> (Tunables, Vec<Complaint<'static>>) {
        let mut complaints = Vec::new();
        let tunables = parse(entries.iter().map(|entry| entry.as_bytes()), |c| {
            complaints.push(c)
        });
        (tunables, complaints)
    }

    #[test]
    fn strides() {
        for (text, bytes) in [
            ("4096", Some(4096)),
            ("4K", Some(4096)),
            ("2M", Some(2 << 20)),
            ("1G", Some(1 << 30)),
            ("1024M", Some(1 << 30)),
            ("02M", Some(2 << 20)),
            ("2048", None),
            ("2G", None),
            ("3M", None),
            ("0", None),
            ("", None),
            ("K", None),
            ("2m", None),
            ("2MB", None),
            ("+2M", None),
            (" 2M", None),
            ("18446744073709551616", None),
            ("18014398509481984K", None),
        ] {
            assert_eq!(parse_stride(text.as_bytes()), bytes, "{text}");
        }
    }

    #[test]
    fn the_first_duplicate_wins_even_when_it_is_bad() {
        let (tunables, complaints) = parsed(&["VCPU_RT_GS=never", "VCPU_RT_GS=off"]);
        assert_eq!(tunables.gs, GsChoice::Auto);
        assert_eq!(complaints.len(), 1);
        let (tunables, complaints) = parsed(&["VCPU_RT_RSEQ=off", "VCPU_RT_RSEQ=auto"]);
        assert_eq!((tunables.rseq, complaints.len()), (RseqChoice::Off, 0));
    }

    #[test]
    fn a_name_that_only_begins_alike_is_another_variable() {
        let (tunables, complaints) = parsed(&[
            "VCPU_RT_STRIDE2=4K",
            "XVCPU_RT_DEBUG=1",
            "VCPU_RT_DEBUG",
            "VCPU_RT_GS==off",
        ]);
        assert_eq!(tunables, Tunables::default());
        assert_eq!(complaints[0].value, b"=off");
    }

    #[test]
    fn the_declared_minimum_raises_and_never_lowers() {
        assert_eq!(stride(Some(4096), 0), 4096);
        assert_eq!(stride(Some(4096), 5000), 8192);
        assert_eq!(stride(None, 8192), STRIDE_DEFAULT);
        assert_eq!(stride(None, u64::MAX), STRIDE_MAXIMUM);
    }
}
