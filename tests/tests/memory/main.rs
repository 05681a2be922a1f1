// SPDX-License-Identifier: MIT OR Apache-2.0
//! The runtime's memory functions under the prefix `vcpu_rt_`, beside the C library's, which the
//! test itself runs on. What they must do is said by Rust's slices; that they touch nothing else,
//! by canaries around what they write and by pages without access at both ends.

mod calls;

use std::ffi::{c_int, c_void};

use proptest::prelude::*;

use calls::*;

/// Every size up to here is tried: four times the largest that is not a loop.
const SMALL: usize = 512;
/// Alignments that matter are below 16; the next 16 tell 16 from 32.
const ALIGNMENTS: usize = 32;
const CANARY: usize = 64;
const LARGEST: usize = (1 << 20) + 100;

/// Sizes above `SMALL`: around the threshold of the string instructions, a page, and 1 MiB.
fn large_sizes() -> impl Iterator<Item = usize> {
    let around = |size: usize| (size - 66..=size + 66).step_by(3);
    around(1024)
        .chain(2048 - 66..=2048 + 66)
        .chain(around(PAGE))
        .chain([1 << 16, (1 << 16) + 1, (1 << 20) - 1, 1 << 20, LARGEST])
}

/// Bytes that never are zero and do not repeat with a power of two as their period.
fn pattern(size: usize, seed: usize) -> Vec<u8> {
    (0..size)
        .map(|index| ((index + seed) % 251) as u8 + 1)
        .collect()
}

/// A copy between `from` and `to` in buffers of which the rest must stay what it was.
fn check_copy(source: &[u8], window: &mut [u8], from: usize, to: usize, size: usize) {
    window.fill(0);
    copy(&mut window[to..to + size], &source[from..from + size]);
    let context = (from, to, size);
    assert!(
        window[..to].iter().all(|byte| *byte == 0),
        "before: {context:?}"
    );
    assert!(
        window[to..to + size] == source[from..from + size],
        "copied: {context:?}"
    );
    assert!(
        window[to + size..].iter().all(|byte| *byte == 0),
        "after: {context:?}"
    );
}

/// The same move by slices; `buffer` is restored for the next.
fn check_move(original: &[u8], buffer: &mut [u8], source: usize, destination: usize, size: usize) {
    let mut expected = original.to_vec();
    expected.copy_within(source..source + size, destination);
    move_within(buffer, source, destination, size);
    assert!(
        *buffer == expected,
        "from {source} to {destination}, {size} bytes"
    );
    buffer.copy_from_slice(original);
}

#[test]
fn memcpy_of_every_small_size_and_alignment() {
    let source = pattern(SMALL + ALIGNMENTS, 0);
    for size in 0..=SMALL {
        let mut window = vec![0; size + ALIGNMENTS + 2 * CANARY];
        for from in 0..ALIGNMENTS {
            for to in 0..ALIGNMENTS {
                check_copy(&source, &mut window, from, CANARY + to, size);
            }
        }
    }
}

#[test]
fn memcpy_of_large_sizes() {
    let mut from = Guarded::new(LARGEST + PAGE);
    let mut to = Guarded::new(LARGEST + PAGE);
    let bytes = pattern(from.all().len(), 0);
    from.all().copy_from_slice(&bytes);
    // Where the two start in a page, and how far apart that is, decides between the loop and the
    // string instruction.
    let pairs = [(64, 64), (64, 65), (64, 127), (64, 128), (65, 64)];
    for size in large_sizes() {
        for (source, destination) in pairs.into_iter().chain([(7, 2083), (2083, 7)]) {
            let window = &mut to.all()[..destination + size + CANARY];
            check_copy(from.all(), window, source, destination, size);
        }
    }
}

#[test]
fn memcpy_onto_itself() {
    let original = pattern(LARGEST, 1);
    let mut buffer = original.clone();
    for size in (0..=SMALL).chain(large_sizes()) {
        let start: *mut c_void = buffer.as_mut_ptr().cast();
        // SAFETY: `size` bytes of the buffer; compilers emit such calls for `*a = *a`.
        unsafe { vcpu_rt_memcpy(start, start, size) };
        assert!(buffer == original, "{size} bytes");
    }
}

#[test]
fn nothing_reaches_into_a_closed_page() {
    let (mut first, mut second) = (Guarded::new(LARGEST), Guarded::new(LARGEST));
    let bytes = pattern(first.all().len(), 0);
    first.all().copy_from_slice(&bytes);
    for size in (0..=SMALL).chain(large_sizes()) {
        for (first_end, second_end) in [(false, false), (false, true), (true, false), (true, true)]
        {
            let from = first.part(size, first_end);
            let to = second.part(size, second_end);
            copy(to, from);
            assert!(to == from, "{size} bytes");
            assert_eq!(compare(to, from), std::cmp::Ordering::Equal);
            set(to, 0);
            assert!(to.iter().all(|byte| *byte == 0), "{size} bytes");
        }
        for distance in [1, 63, 64, PAGE].map(|distance: usize| distance.min(size / 2)) {
            let original = pattern(size, distance);
            for at_end in [false, true] {
                let buffer = second.part(size, at_end);
                buffer.copy_from_slice(&original);
                check_move(&original, buffer, 0, distance, size - distance);
                check_move(&original, buffer, distance, 0, size - distance);
            }
        }
    }
}

#[test]
fn memmove_of_every_small_size_and_overlap() {
    for size in 0..=SMALL {
        let original = pattern(4 * CANARY + 2 * size, size);
        let mut buffer = original.clone();
        // Three alignments for each size, and each alignment for many sizes.
        for margin in [0, 1, 7].map(|alignment| CANARY + alignment + size % 16) {
            for distance in 0..=size {
                check_move(&original, &mut buffer, margin, margin + distance, size);
                check_move(&original, &mut buffer, margin + distance, margin, size);
            }
        }
    }
}

#[test]
fn memmove_of_large_sizes() {
    for size in large_sizes() {
        let original = pattern(size + 2 * CANARY + PAGE + 64, size);
        let mut buffer = original.clone();
        for distance in [
            0,
            1,
            7,
            8,
            15,
            16,
            17,
            63,
            64,
            65,
            1000,
            PAGE - 1,
            PAGE,
            PAGE + 63,
        ] {
            for margin in [CANARY, CANARY - 5] {
                check_move(&original, &mut buffer, margin, margin + distance, size);
                check_move(&original, &mut buffer, margin + distance, margin, size);
            }
        }
    }
}

#[test]
fn memset_of_every_small_size_and_of_large_ones() {
    let untouched = vec![0x55; LARGEST + ALIGNMENTS + 2 * CANARY];
    let mut window = untouched.clone();
    for size in (0..=SMALL).chain(large_sizes()) {
        let step = if size <= SMALL { 1 } else { 7 };
        for start in (CANARY..CANARY + ALIGNMENTS).step_by(step) {
            // Only the low eight bits count.
            for value in [0, 0x80, 0x1_23ff, -2] {
                let end = start + size;
                set(&mut window[start..end], value);
                let context = (size, start, value);
                let wanted = vec![value as u8; size];
                assert!(window[start..end] == wanted, "{context:?}");
                window[start..end].fill(0x55);
                let around = start - CANARY..end + CANARY;
                assert!(
                    window[around.clone()] == untouched[around],
                    "around: {context:?}"
                );
            }
        }
    }
}

#[test]
fn memcmp_finds_every_first_difference() {
    let mut left = pattern(LARGEST + ALIGNMENTS, 0);
    for size in (1..=SMALL).chain([2048, PAGE + 1, 1 << 16]) {
        let step = if size <= SMALL { 1 } else { 61 };
        for position in (0..size).step_by(step) {
            let (first, second) = ((size * 7 + position) % ALIGNMENTS, position % ALIGNMENTS);
            let mut right = vec![0; second + size];
            right[second..].copy_from_slice(&left[first..first + size]);
            for (low, high) in [(0, 1), (0x7f, 0x80), (0, 0xff)] {
                let kept = left[first + position];
                left[first + position] = low;
                right[second + position] = high;
                // Later bytes say the opposite, and must not count.
                right[second + position + 1..].fill(0);
                let (a, b) = (&left[first..first + size], &right[second..]);
                assert!(compare(a, b).is_lt(), "{size} bytes, differ at {position}");
                assert!(compare(b, a).is_gt(), "{size} bytes, differ at {position}");
                left[first + position] = kept;
            }
        }
    }
}

#[test]
fn memcmp_of_equal_operands_at_every_alignment() {
    let bytes = pattern(SMALL + ALIGNMENTS, 0);
    for size in 0..=SMALL {
        for first in 0..ALIGNMENTS {
            for second in 0..ALIGNMENTS {
                let mut right = [0xee; SMALL + 2 * ALIGNMENTS];
                right[second..second + size].copy_from_slice(&bytes[first..first + size]);
                let (a, b) = (&bytes[first..first + size], &right[second..second + size]);
                assert!(
                    compare(a, b).is_eq(),
                    "{size} bytes, alignments {first} and {second}"
                );
            }
        }
    }
}

#[test]
fn strlen_up_to_a_closed_page() {
    let mut guarded = Guarded::new(2 * PAGE);
    // Zero bytes before the string must not end it; the bytes in it look like none to a test for
    // the sign or for less than one.
    for filler in [0x01, 0x7f, 0x80, 0xff] {
        for size in 0..=PAGE + 100 {
            let all = guarded.all();
            all.fill(0);
            let start = all.len() - size - 1;
            all[start..start + size].fill(filler);
            assert_eq!(length(&all[start..]), size);
        }
    }
}

#[test]
fn strlen_of_every_small_size_and_alignment() {
    let mut guarded = Guarded::new(PAGE);
    for start in 0..2 * CANARY {
        for size in 0..=SMALL {
            let all = guarded.all();
            all[..start].fill(0);
            all[start..].fill(0xff);
            all[start + size] = 0;
            // A second one, later, must not count.
            all[start + size + 1 + size % 70] = 0;
            assert_eq!(length(&all[start..]), size, "at {start}");
        }
    }
}

#[test]
fn registers_are_kept() {
    let mut buffer = pattern(3 * PAGE, 0);
    buffer[2 * PAGE] = 0;
    let start = buffer.as_mut_ptr().addr();
    for size in [0, 3, 15, 16, 33, 100, 200, PAGE] {
        // Apart, and overlapping in both directions.
        for (first, second) in [
            (start, start + PAGE),
            (start, start + 5),
            (start + 5, start),
        ] {
            check_registers(
                vcpu_rt_memcpy as *const () as usize,
                start,
                start + PAGE,
                size,
            );
            check_registers(vcpu_rt_memmove as *const () as usize, first, second, size);
            check_registers(vcpu_rt_memset as *const () as usize, first, 7, size);
            check_registers(vcpu_rt_memcmp as *const () as usize, first, second, size);
            check_registers(vcpu_rt_bcmp as *const () as usize, first, second, size);
        }
        buffer[2 * PAGE] = 0;
        check_registers(
            vcpu_rt_strlen as *const () as usize,
            start + 2 * PAGE - size,
            0,
            0,
        );
    }
}

proptest! {
    #[test]
    fn memmove_does_what_copy_within_does(
        original in proptest::collection::vec(any::<u8>(), 1..10_000),
        (source, destination, size) in any::<(usize, usize, usize)>(),
    ) {
        let (source, destination) = (source % original.len(), destination % original.len());
        let size = size % (original.len() - source.max(destination) + 1);
        check_move(&original, &mut original.clone(), source, destination, size);
    }

    #[test]
    fn memcmp_orders_as_slices_do(
        left in proptest::collection::vec(any::<u8>(), 0..5000),
        changes in proptest::collection::vec(any::<(usize, u8)>(), 0..4),
    ) {
        let mut right = left.clone();
        for (position, byte) in changes {
            if !left.is_empty() {
                right[position % left.len()] = byte;
            }
        }
        prop_assert_eq!(compare(&left, &right), left.cmp(&right));
    }

    #[test]
    fn strlen_finds_the_first_zero(
        mut string in proptest::collection::vec(any::<u8>(), 0..5000),
        zeros in any::<bool>(),
    ) {
        if !zeros {
            string.iter_mut().for_each(|byte| *byte |= 1);
        }
        string.push(0);
        prop_assert_eq!(Some(length(&string)), string.iter().position(|byte| *byte == 0));
    }

    #[test]
    fn memset_does_what_fill_does(
        mut buffer in proptest::collection::vec(any::<u8>(), 1..10_000),
        (start, size) in any::<(usize, usize)>(),
        value in any::<c_int>(),
    ) {
        let start = start % buffer.len();
        let end = start + size % (buffer.len() - start + 1);
        let mut expected = buffer.clone();
        expected[start..end].fill(value as u8);
        set(&mut buffer[start..end], value);
        prop_assert!(buffer == expected);
    }
}
