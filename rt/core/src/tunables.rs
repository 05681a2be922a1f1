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

/// A value that is not allowed. The default is taken instead, the first of what is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Complaint<'a> {
    /// The variable's name.
    pub variable: &'static str,
    /// What was given.
    pub value: &'a [u8],
    /// What is allowed, for people.
    pub allowed: &'static str,
}

impl Complaint<'_> {
    /// What is used instead.
    pub fn default(&self) -> &'static str {
        let mut end = 0;
        while !matches!(self.allowed.as_bytes().get(end), None | Some(b',')) {
            end += 1;
        }
        self.allowed.get(..end).unwrap_or(self.allowed)
    }
}

/// What every variable's name begins with.
pub const PREFIX: &str = "VCPU_RT_";

/// A variable and what it may hold: a list, or for the stride a description. The first is the
/// default.
struct Variable {
    name: &'static str,
    allowed: &'static str,
}

const STRIDE: usize = 0;
static VARIABLES: [Variable; 4] = [
    Variable {
        name: TUNABLE_STRIDE,
        allowed: "2M, or another power of two from 4K to 1G",
    },
    Variable {
        name: TUNABLE_GS,
        allowed: "auto, on, off",
    },
    Variable {
        name: TUNABLE_RSEQ,
        allowed: "auto, on, own, adopt, off",
    },
    Variable {
        name: TUNABLE_DEBUG,
        allowed: "0, 1",
    },
];

/// Parses the environment's entries, each `NAME=VALUE` without its terminator.
#[inline(never)]
pub fn parse<'a>(
    entries: impl Iterator<Item = &'a [u8]>,
    mut complain: impl FnMut(Complaint<'a>),
) -> Tunables {
    let mut seen = [false; VARIABLES.len()];
    // 0 is the default.
    let mut chosen = [0; VARIABLES.len()];
    for entry in entries {
        for index in 0..VARIABLES.len() {
            let variable = &VARIABLES[index];
            let Some([b'=', value @ ..]) = after(entry, variable.name.as_bytes()) else {
                continue;
            };
            if seen[index] {
                continue;
            }
            seen[index] = true;
            let choice = if index == STRIDE {
                parse_stride(value)
            } else {
                place_in(variable.allowed.as_bytes(), value)
            };
            match choice {
                Some(choice) => chosen[index] = choice,
                None => complain(Complaint {
                    variable: variable.name,
                    value,
                    allowed: variable.allowed,
                }),
            }
        }
    }
    let [stride, gs, rseq, debug] = chosen;
    Tunables {
        stride: if stride == 0 { None } else { Some(stride) },
        gs: match gs {
            1 => GsChoice::On,
            2 => GsChoice::Off,
            _ => GsChoice::Auto,
        },
        rseq: match rseq {
            2 => RseqChoice::Own,
            3 => RseqChoice::Adopt,
            4 => RseqChoice::Off,
            _ => RseqChoice::Auto,
        },
        debug: debug == 1,
    }
}

/// What follows `start` in `text`, if it begins so. Byte by byte: comparing slices would link
/// memcmp into programs that have no other use for it.
#[inline(never)]
fn after<'a>(text: &'a [u8], start: &[u8]) -> Option<&'a [u8]> {
    for index in 0..start.len() {
        if text.get(index) != start.get(index) {
            return None;
        }
    }
    text.get(start.len()..)
}

/// The place of `value` in a list such as `auto, on, off`.
#[inline(never)]
fn place_in(list: &[u8], value: &[u8]) -> Option<u64> {
    let (mut place, mut start, mut end) = (0, 0, 0);
    while end <= list.len() {
        if matches!(list.get(end), None | Some(b',')) {
            if let Some([]) = after(list.get(start..end)?, value) {
                return Some(place);
            }
            place += 1;
            // Behind comma and space.
            start = end + 2;
        }
        end += 1;
    }
    None
}

/// Bytes, or `None` when the text is not an allowed stride.
#[inline(never)]
fn parse_stride(text: &[u8]) -> Option<u64> {
    let (mut number, mut rest) = (0_u64, text);
    while let [digit @ b'0'..=b'9', behind @ ..] = rest {
        number = number * 10 + u64::from(digit - b'0');
        // This bound also keeps the sums from overflowing.
        if number > STRIDE_MAXIMUM {
            return None;
        }
        rest = behind;
    }
    let unit_shift = match rest {
        [] => 0,
        [b'K'] => 10,
        [b'M'] => 20,
        [b'G'] => 30,
        _ => return None,
    };
    let bytes = number << unit_shift;
    // No digits at all are 0, which is below the minimum.
    (bytes.is_power_of_two() && (STRIDE_MINIMUM..=STRIDE_MAXIMUM).contains(&bytes)).then_some(bytes)
}

/// The stride to ask for: the tunable's or the default, raised to what the program declares,
/// which is rounded up to a power of two and bounded by the largest allowed stride.
pub fn stride(tunable: Option<u64>, declared_minimum: u64) -> u64 {
    let mut stride = tunable.unwrap_or(STRIDE_DEFAULT);
    if stride < STRIDE_MINIMUM {
        stride = STRIDE_MINIMUM;
    }
    // Doubled from one power of two to the next, up to the largest.
    while stride < declared_minimum && stride < STRIDE_MAXIMUM {
        stride *= 2;
    }
    stride
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
    fn places_in_a_list() {
        let list = "auto, on, off";
        for (value, place) in [("auto", Some(0)), ("on", Some(1)), ("off", Some(2))] {
            assert_eq!(place_in(list.as_bytes(), value.as_bytes()), place);
        }
        for value in [
            "", "aut", "autoo", "o", "of", "offf", ",", " on", "auto,", "on, off",
        ] {
            assert_eq!(place_in(list.as_bytes(), value.as_bytes()), None, "{value}");
        }
    }

    #[test]
    fn every_name_has_the_prefix() {
        for variable in &VARIABLES {
            assert!(variable.name.starts_with(PREFIX));
        }
    }

    #[test]
    fn the_declared_minimum_raises_and_never_lowers() {
        assert_eq!(stride(Some(4096), 0), 4096);
        assert_eq!(stride(Some(4096), 5000), 8192);
        assert_eq!(stride(None, 8192), STRIDE_DEFAULT);
        assert_eq!(stride(None, u64::MAX), STRIDE_MAXIMUM);
    }
}
