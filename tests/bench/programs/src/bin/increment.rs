// SPDX-License-Identifier: MIT OR Apache-2.0
//! Increments in a loop at each of eight places of a 64-byte line: `bench-increment MODE LOOP`. Prints
//! nanoseconds an increment, a line for each place, a column for each sample.
//!
//! The loops increment one word, once or eight times a round, or sixteen, each on a cache line of its own: plain memory by one instruction, `plain` or `lock`ed; per-vCPU data by one `%gs:`
//! instruction, `gs`, with the same operand but for the segment; and by the public functions, of
//! `allocated` objects and of `declared` variables.

#![no_std]
#![no_main]

use core::arch::asm;

use vcpu_bench_programs::{
    Samples, aligned_loops, eight_times, expect_mode, leave_vcpu_0, print_samples, word,
};
use vcpu_rt::{Object, PerVcpu, Single, field, per_vcpu};

vcpu_rt::entry!(main);

/// A bound for programs with the feature `test-hooks`, which other programs do not ask for: whatever
/// the machine has.
#[cfg(feature = "test-hooks")]
#[unsafe(no_mangle)]
static vcpu_rt_test_nr_vcpus: u32 = 8192;

/// A counter that shares its cache line with nothing.
#[repr(C, align(64))]
struct Line {
    word: Single,
}

// SAFETY: one word.
unsafe impl Object for Line {}

macro_rules! declare {
    ($($name:ident)+) => {
        per_vcpu! {
            $(static $name: Line;)+
        }
        macro_rules! increment_declared {
            () => {
                $(field!($name, word).inc();)+
            };
        }
        fn declared_sum() -> u64 {
            0 $(+ field!($name, word).sum())+
        }
    };
}

declare!(A B C D E F G H I J K L M N O P);

/// What is incremented besides the declared variables.
struct Words {
    one: PerVcpu<Single>,
    sixteen: PerVcpu<[Line; 16]>,
    /// For `%gs:`.
    raw: PerVcpu<[Line; 16]>,
    /// The address of its copy on vCPU 0.
    raw_first: usize,
    /// The address of 16 lines that are not per-vCPU.
    plain: usize,
}

/// One instruction on a word of 16 lines.
macro_rules! on_one {
    ($prefix:literal, $segment:literal, $words:expr) => {
        // SAFETY: the word is alive. No stack; flags are clobbered by default.
        unsafe {
            asm!(
                concat!($prefix, "inc qword ptr ", $segment, "[{words}]"),
                words = in(reg) $words,
                options(nostack),
            )
        }
    };
}

/// The same on each of 16 words, `$bytes` bytes from one to the next.
macro_rules! on_sixteen {
    ($segment:literal, $bytes:literal, $words:expr) => {
        // SAFETY: as for one word.
        unsafe {
            asm!(
                ".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15",
                concat!("inc qword ptr ", $segment, "[{words} + \\n * ", $bytes, "]"),
                ".endr",
                words = in(reg) $words,
                options(nostack),
            )
        }
    };
}

/// The public function on each of 16 elements.
macro_rules! increment_allocated {
    ($lines:expr; $($index:literal)+) => {{
        $(
            let line = $lines.at($index);
            field!(line, word).inc();
        )+
    }};
}

type Loops = [extern "C" fn(&Words, u32); 8];

/// The loops of a name, and increments in a round.
fn loops(name: &str) -> (Loops, u32) {
    match name {
        "plain_one" => (
            aligned_loops!("plain_one", |words: &Words| on_one!("", "", words.plain)),
            1,
        ),
        "lock_one" => (
            aligned_loops!("lock_one", |words: &Words| on_one!(
                "lock ",
                "",
                words.plain
            )),
            1,
        ),
        "gs_one" => (
            aligned_loops!("gs_one", |words: &Words| on_one!(
                "",
                "gs:",
                words.raw_first
            )),
            1,
        ),
        "allocated_one" => (
            aligned_loops!("allocated_one", |words: &Words| words.one.inc()),
            1,
        ),
        "declared_one" => (
            aligned_loops!("declared_one", |_words: &Words| field!(A, word).inc()),
            1,
        ),
        "allocated_eight" => (
            aligned_loops!("allocated_eight", |words: &Words| eight_times!(
                words.one.inc()
            )),
            8,
        ),
        "declared_eight" => (
            aligned_loops!("declared_eight", |_words: &Words| eight_times!(
                field!(A, word).inc()
            )),
            8,
        ),
        "plain_16words" => (
            aligned_loops!("plain_16words", |words: &Words| on_sixteen!(
                "",
                64,
                words.plain
            )),
            16,
        ),
        "gs_16words" => (
            aligned_loops!("gs_16words", |words: &Words| on_sixteen!(
                "gs:",
                64,
                words.raw_first
            )),
            16,
        ),
        "allocated_16words" => (
            aligned_loops!("allocated_16words", |words: &Words| {
                increment_allocated!(words.sixteen; 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15)
            }),
            16,
        ),
        "declared_16words" => (
            aligned_loops!("declared_16words", |_words: &Words| increment_declared!()),
            16,
        ),
        _ => panic!("there is no such loop"),
    }
}

fn main() {
    expect_mode(word(1));
    let name = word(2);
    let (loops, operations) = loops(name);
    let samples = Samples {
        samples: 15,
        calls: 1,
        rounds: 60_000 / operations,
        operations,
    };
    let mut plain = [PlainLine(0); 16];
    let raw = allocate::<[Line; 16]>();
    let words = Words {
        one: allocate(),
        sixteen: allocate(),
        raw_first: raw
            .copy(0)
            .map_or(0, |copy| copy.as_ptr().expose_provenance()),
        raw,
        plain: (&raw mut plain).expose_provenance(),
    };
    leave_vcpu_0();
    print_samples(loops, &words, samples);
    let per_vcpu = words.one.sum() + sum(&words.sixteen) + sum(&words.raw) + declared_sum();
    let plain: u64 = plain.iter().map(|line| line.0).sum();
    assert!(
        per_vcpu + plain == samples.total(),
        "{per_vcpu} and {plain} of {} increments were counted",
        samples.total()
    );
}

/// A word of plain memory on a cache line of its own.
#[repr(C, align(64))]
#[derive(Clone, Copy)]
struct PlainLine(u64);

fn allocate<T: Object>() -> PerVcpu<T> {
    match PerVcpu::new() {
        Ok(object) => object,
        Err(errno) => panic!("no object: {errno:?}"),
    }
}

fn sum(lines: &PerVcpu<[Line; 16]>) -> u64 {
    (0..16)
        .map(|index| {
            let line = lines.at(index);
            field!(line, word).sum()
        })
        .sum()
}
