// SPDX-License-Identifier: MIT OR Apache-2.0
//! Any bytes, read as `(type, value)` pairs, give an `Auxv` that holds values of the input only.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vcpu_core::auxv::Auxv;

fuzz_target!(|bytes: &[u8]| {
    let word = |bytes: &[u8]| {
        bytes
            .iter()
            .rev()
            .fold(0, |word, &byte| word << 8 | usize::from(byte))
    };
    let pairs = || {
        bytes
            .chunks_exact(16)
            .map(|pair| (word(&pair[..8]), word(&pair[8..])))
    };
    let auxv = Auxv::from_pairs(pairs());
    let known = |value: usize| value == 0 || pairs().any(|pair| pair.1 == value);
    assert!(known(auxv.program_headers) && known(auxv.program_header_count));
    assert!(known(auxv.random) && known(auxv.vdso));
    assert!(known(auxv.rseq_feature_size.unwrap_or(0)) && known(auxv.rseq_align.unwrap_or(0)));
    // Nothing after AT_NULL counts.
    let until_null = pairs().take_while(|pair| pair.0 != 0);
    assert_eq!(auxv, Auxv::from_pairs(until_null));
});
