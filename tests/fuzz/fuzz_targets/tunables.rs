// SPDX-License-Identifier: MIT OR Apache-2.0
//! Any bytes, split at NUL into entries, give tunables in their bounds; each complaint quotes the
//! input, and at most one is made per variable. An entry that begins with a byte from 1 to 4 gets
//! a variable's name instead, so that the fuzzer need not find the names.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vcpu_core::tunables;

const NAMES: [&str; 4] = [
    "VCPU_RT_STRIDE",
    "VCPU_RT_GS",
    "VCPU_RT_RSEQ",
    "VCPU_RT_DEBUG",
];

fn entry(bytes: &[u8]) -> Vec<u8> {
    match bytes {
        [choice @ 1..=4, value @ ..] => {
            [NAMES[usize::from(*choice) - 1].as_bytes(), b"=", value].concat()
        }
        _ => bytes.to_vec(),
    }
}

fuzz_target!(|bytes: &[u8]| {
    let entries: Vec<_> = bytes.split(|&byte| byte == 0).map(entry).collect();
    let mut complained = Vec::new();
    let parsed = tunables::parse(entries.iter().map(Vec::as_slice), |complaint| {
        let quoted = [complaint.variable.as_bytes(), b"=", complaint.value].concat();
        assert!(entries.contains(&quoted));
        assert!(!complained.contains(&complaint.variable));
        complained.push(complaint.variable);
    });
    let bounds = 4096..=1 << 30;
    let allowed = |stride: u64| stride.is_power_of_two() && bounds.contains(&stride);
    assert!(parsed.stride.is_none_or(allowed));
    assert!(allowed(tunables::stride(parsed.stride, bytes.len() as u64)));
});
