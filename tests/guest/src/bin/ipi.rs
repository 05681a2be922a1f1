// SPDX-License-Identifier: MIT OR Apache-2.0
//! A SET that changes nothing disturbs nobody: 1,000 of them, with threads that run on all CPUs,
//! leave the count of function-call interrupts of /proc/interrupts as it is. Others, which change the
//! stride, raise it, which shows that the count can tell.
#![no_std]
#![no_main]

use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;

use vcpu_guest_programs::base::{prepare, verify_many};
use vcpu_guest_programs::check::skip;
use vcpu_guest_programs::gs::{PAGE, begin, mm_vcpu, set, turn_on};
use vcpu_guest_programs::machine::nr_cpu_ids;
use vcpu_guest_programs::{check_eq, file};
use vcpu_rt::{println, thread};

vcpu_rt::entry!(main);

const CALLS: u64 = 1000;
const CONTROL_CALLS: u64 = 200;
/// What others may cause meanwhile: the kernel's own threads, mostly.
const NOISE: u64 = 50;
const STRIDES: [u64; 2] = [2 * PAGE as u64, 3 * PAGE as u64];

fn main() {
    begin();
    prepare();
    if nr_cpu_ids() < 2 {
        skip("one CPU, which interrupts no other");
    }
    turn_on(STRIDES[0]);
    let stop = AtomicBool::new(false);
    let spin = || {
        while !stop.load(Ordering::Acquire) {
            core::hint::spin_loop();
        }
    };
    let (same, changed) = thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(spin).expect("a thread");
        }
        thread::sleep(Duration::from_millis(100));
        let same = interrupts_during(CALLS, |_| STRIDES[0]);
        let changed = interrupts_during(CONTROL_CALLS, |call| STRIDES[1 - call % 2]);
        stop.store(true, Ordering::Release);
        (same, changed)
    });
    println!("function-call interrupts: {same} by SETs that change nothing, {changed} by others");
    assert!(same < NOISE, "expected fewer than {NOISE}, found {same}");
    let expected = CONTROL_CALLS / 2;
    assert!(
        changed >= expected,
        "control: expected {expected}, found {changed}"
    );
    verify_many(STRIDES[0], 1000, "the main thread at the end");
}

fn interrupts_during(calls: u64, stride: impl Fn(usize) -> u64) -> u64 {
    let before = function_calls();
    for call in 0..calls {
        let stride = stride(call as usize);
        check_eq!(set(mm_vcpu(stride)), Ok(()), "SET, stride {stride}");
    }
    function_calls() - before
}

/// The sum over all CPUs of the line `CAL:`.
fn function_calls() -> u64 {
    let mut text = [0_u8; 16384];
    let text = file::read_into("/proc/interrupts", &mut text).expect("/proc is mounted");
    let line = text
        .split(|byte| *byte == b'\n')
        .find_map(|line| line.trim_ascii_start().strip_prefix(b"CAL:"));
    let line = core::str::from_utf8(line.expect("a line CAL:")).expect("it is text");
    let numbers = line
        .split_ascii_whitespace()
        .map_while(|word| word.parse::<u64>().ok());
    numbers.sum()
}
