// SPDX-License-Identifier: MIT OR Apache-2.0
//! Counting: by threads into per-vCPU words, and by one thread into plain ones.

use core::sync::atomic::{AtomicU64, Ordering};

use vcpu_rt::{Errno, PerVcpu, Single, eprintln, found, thread};

use crate::output::say;

use crate::input::{Input, Problem};

/// Bytes that a thread takes at a time.
const CHUNK_BYTES: u64 = 1 << 20;
/// Bytes that are copied at a time, onto the stack.
const BUFFER_BYTES: usize = 16 << 10;

/// The per-vCPU counts.
pub struct Counts {
    bytes: PerVcpu<[Single; 256]>,
    lines: PerVcpu<Single>,
}

/// Sums, or a one-thread count.
#[derive(Clone, PartialEq, Eq)]
pub struct Plain {
    pub bytes: [u64; 256],
    pub lines: u64,
}

impl Plain {
    pub const ZERO: Self = Self {
        bytes: [0; 256],
        lines: 0,
    };

    /// Counts a file by this thread alone.
    pub fn of(input: &Input) -> Self {
        let mut plain = Self::ZERO;
        let mut buffer = [0; BUFFER_BYTES];
        let mut offset = 0;
        loop {
            let length = input.read(offset, &mut buffer);
            if length == 0 {
                return plain;
            }
            for &byte in buffer.iter().take(length) {
                plain.bytes[usize::from(byte)] += 1;
            }
            offset += length as u64;
            plain.lines = plain.bytes[usize::from(b'\n')];
        }
    }

    /// What was added since `before`.
    pub fn since(&self, before: &Self) -> Self {
        let mut difference = self.clone();
        for (after, before) in difference.bytes.iter_mut().zip(&before.bytes) {
            *after -= before;
        }
        difference.lines -= before.lines;
        difference
    }
}

impl Counts {
    pub fn new() -> Result<Self, Errno> {
        Ok(Self {
            bytes: PerVcpu::new()?,
            lines: PerVcpu::new()?,
        })
    }

    /// The sums over all areas: exact, since nobody counts meanwhile.
    pub fn totals(&self) -> Plain {
        let mut totals = Plain::ZERO;
        for (value, total) in totals.bytes.iter_mut().enumerate() {
            *total = self.bytes.at(value).sum();
        }
        totals.lines = self.lines.sum();
        totals
    }

    fn add(&self, bytes: &[u8]) {
        let mut lines = 0;
        for &byte in bytes {
            self.bytes.at(usize::from(byte)).add(1);
            lines += u64::from(byte == b'\n');
        }
        if lines > 0 {
            self.lines.add(lines);
        }
    }

    /// One line per area that counted anything.
    pub fn print_shares(&self, total: u64) {
        for area in found().used_areas() {
            let bytes: u64 = (0..256)
                .filter_map(|value| self.bytes.at(value).read(area))
                .sum();
            if bytes == 0 {
                continue;
            }
            // Right below 18 petabytes.
            let permille = bytes.saturating_mul(1000) / total.max(1);
            let (percent, tenth) = (permille / 10, permille % 10);
            if area == found().nr_vcpus() {
                say!("unregistered  {bytes:>14} bytes  {percent:>3}.{tenth}%");
            } else {
                say!("vCPU {area:<7}  {bytes:>14} bytes  {percent:>3}.{tenth}%");
            }
        }
    }
}

/// Counts a file with `threads` threads, or as many of them as can be started, and returns how many
/// counted.
pub fn in_threads(counts: &Counts, input: &Input, threads: u32) -> Result<u32, Problem> {
    let (next, counted) = (AtomicU64::new(0), AtomicU64::new(0));
    let work = || take_chunks(counts, input, &next, &counted);
    // This thread counts as well: with a refused thread there is still somebody to do it.
    let mut started = 1;
    thread::scope(|scope| {
        while started < threads {
            if let Err(error) = scope.spawn(work) {
                eprintln!("histogram: {error}; going on with fewer threads");
                break;
            }
            started += 1;
        }
        work();
    });
    let counted = counted.into_inner();
    if counted == input.size && input.is_whole() {
        Ok(started)
    } else {
        let size = input.size;
        Err(Problem::Truncated { counted, size })
    }
}

fn take_chunks(counts: &Counts, input: &Input, next: &AtomicU64, counted: &AtomicU64) {
    let mut buffer = [0; BUFFER_BYTES];
    loop {
        let start = next.fetch_add(CHUNK_BYTES, Ordering::Relaxed);
        let end = start.saturating_add(CHUNK_BYTES).min(input.size);
        let mut offset = start;
        while offset < end {
            let length = input.read(offset, &mut buffer);
            counts.add(buffer.get(..length).unwrap_or(&[]));
            counted.fetch_add(length as u64, Ordering::Relaxed);
            offset += length as u64;
            if length == 0 {
                return;
            }
        }
        if end >= input.size {
            return;
        }
    }
}
