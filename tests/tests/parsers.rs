// SPDX-License-Identifier: MIT OR Apache-2.0
//! The parsers of what the kernel and the user hand over, on generated input. The fuzz targets in
//! `tests/fuzz` ask the same of random bytes.

use proptest::prelude::*;
use vcpu_core::auxv::Auxv;
use vcpu_core::tunables::{self, Complaint, GsChoice, RseqChoice, Tunables};

fn parse<'a>(entries: &'a [Vec<u8>]) -> (Tunables, Vec<Complaint<'a>>) {
    let mut complaints = Vec::new();
    let parsed = tunables::parse(entries.iter().map(Vec::as_slice), |c| complaints.push(c));
    (parsed, complaints)
}

/// Entries near the interesting ones: our names, with good, bad and random values.
fn entry() -> impl Strategy<Value = Vec<u8>> {
    let name = prop_oneof![
        Just("VCPU_RT_STRIDE"),
        Just("VCPU_RT_GS"),
        Just("VCPU_RT_RSEQ"),
        Just("VCPU_RT_DEBUG"),
        Just("VCPU_RT_"),
        Just("PATH"),
    ];
    let value = prop_oneof![
        "[0-9]{0,22}[KMG]?",
        "auto|on|off|own|adopt|0|1",
        "[ -~]{0,12}",
    ];
    let near = (name, "=?", value).prop_map(|(name, sign, value)| format!("{name}{sign}{value}"));
    prop_oneof![
        4 => near.prop_map(String::into_bytes),
        1 => prop::collection::vec(any::<u8>(), 0..40),
    ]
}

/// The first value of a variable, by a plain search.
fn first<'a>(entries: &'a [Vec<u8>], name: &str) -> Option<&'a [u8]> {
    let prefix = format!("{name}=");
    entries
        .iter()
        .find_map(|entry| entry.strip_prefix(prefix.as_bytes()))
}

/// What a stride's text means, by the standard library.
fn stride(text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?;
    let (digits, unit) = match text.chars().next_back()? {
        'K' => (&text[..text.len() - 1], 1 << 10),
        'M' => (&text[..text.len() - 1], 1 << 20),
        'G' => (&text[..text.len() - 1], 1 << 30),
        _ => (text, 1_u128),
    };
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let bytes = u64::try_from(u128::from(digits.parse::<u64>().ok()?) * unit).ok()?;
    (bytes.is_power_of_two() && (4096..=1 << 30).contains(&bytes)).then_some(bytes)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn tunables_are_what_a_plain_search_finds(entries in prop::collection::vec(entry(), 0..12)) {
        let (parsed, complaints) = parse(&entries);
        let mut bad = Vec::new();
        let mut judge = |name, known: bool| {
            if let Some(value) = first(&entries, name) && !known {
                bad.push((name, value));
            }
        };
        let expected = first(&entries, "VCPU_RT_STRIDE").and_then(stride);
        prop_assert_eq!(parsed.stride, expected);
        judge("VCPU_RT_STRIDE", expected.is_some());
        let gs = match first(&entries, "VCPU_RT_GS") {
            Some(b"auto") => Some(GsChoice::Auto),
            Some(b"on") => Some(GsChoice::On),
            Some(b"off") => Some(GsChoice::Off),
            _ => None,
        };
        prop_assert_eq!(parsed.gs, gs.unwrap_or_default());
        judge("VCPU_RT_GS", gs.is_some());
        let rseq = match first(&entries, "VCPU_RT_RSEQ") {
            Some(b"auto" | b"on") => Some(RseqChoice::Auto),
            Some(b"own") => Some(RseqChoice::Own),
            Some(b"adopt") => Some(RseqChoice::Adopt),
            Some(b"off") => Some(RseqChoice::Off),
            _ => None,
        };
        prop_assert_eq!(parsed.rseq, rseq.unwrap_or_default());
        judge("VCPU_RT_RSEQ", rseq.is_some());
        let debug = first(&entries, "VCPU_RT_DEBUG");
        prop_assert_eq!(parsed.debug, debug == Some(b"1"));
        judge("VCPU_RT_DEBUG", matches!(debug, Some(b"0" | b"1")));
        let mut told: Vec<_> = complaints.iter().map(|c| (c.variable, c.value)).collect();
        told.sort_unstable();
        bad.sort_unstable();
        prop_assert_eq!(told, bad);
    }

    #[test]
    fn a_stride_to_ask_for_is_allowed_and_large_enough(
        tunable in prop::option::of(12_u32..=30), declared in any::<u64>()
    ) {
        let stride = tunables::stride(tunable.map(|shift| 1 << shift), declared);
        prop_assert!(stride.is_power_of_two());
        prop_assert!((4096..=1 << 30).contains(&stride));
        prop_assert!(stride >= declared.min(1 << 30));
        prop_assert!(tunable.is_none_or(|shift| stride >= 1 << shift));
    }

    #[test]
    fn auxv_takes_known_types_until_the_end(
        pairs in prop::collection::vec((prop_oneof![0_usize..40, any::<usize>()], any::<usize>()), 0..40)
    ) {
        let auxv = Auxv::from_pairs(pairs.iter().copied());
        let end = pairs.iter().position(|&(kind, _)| kind == 0).unwrap_or(pairs.len());
        let last = |kind| pairs[..end].iter().rev().find(|pair| pair.0 == kind).map(|pair| pair.1);
        let value = |kind| last(kind).unwrap_or(0);
        prop_assert_eq!(auxv, Auxv {
            program_headers: value(3),
            program_header_count: value(5),
            random: value(25),
            secure: value(23) != 0,
            fsgsbase: value(26) & 2 != 0,
            rseq_feature_size: last(27),
            rseq_align: last(28),
            minimum_signal_stack: value(51),
            vdso: value(33),
        });
    }
}
