// SPDX-License-Identifier: MIT OR Apache-2.0
//! Measures the runtime's memory functions against the C library's, in one process.
//!
//! One alternation times three batches of the same calls, in an order that rotates: the C library,
//! the runtime, the C library again. `ratio` is the runtime's time over the C library's, `A/A` the C
//! library's second time over its first. Alternations rotate over eight placements of the operands.
//! Printed: the median over all, the middle 90% of the A/A ratios, and the median of the placement
//! that suits the runtime least.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::hint::black_box;
use std::time::{Duration, Instant};

vcpu_rt::__vcpu_rt_memory_functions!("vcpu_rt_");

unsafe extern "C" {
    fn vcpu_rt_memcpy(destination: *mut c_void, source: *const c_void, size: usize) -> *mut c_void;
    fn vcpu_rt_memmove(destination: *mut c_void, source: *const c_void, size: usize)
    -> *mut c_void;
    fn vcpu_rt_memset(destination: *mut c_void, value: c_int, size: usize) -> *mut c_void;
    fn vcpu_rt_memcmp(left: *const c_void, right: *const c_void, size: usize) -> c_int;
    fn vcpu_rt_strlen(string: *const c_char) -> usize;
}

const SIZES: [usize; 4] = [16, 256, 4 << 10, 1 << 20];
const ALTERNATIONS: usize = 50;
const BATCH: Duration = Duration::from_micros(50);
const PAGE: usize = 4096;
/// Offsets from a page's start of the destination (or left operand) and of the source.
const PLACEMENTS: [(usize, usize); 8] = [
    (0, 0),
    (0, 64),
    (64, 0),
    (0, 1),
    (1, 0),
    (7, 2083),
    (2064, 16),
    (4000, 33),
];
/// How far apart overlapping operands lie, at most half their size.
const DISTANCES: [usize; 8] = [1, 8, 24, 64, 100, 1024, 4096, 5000];

type Move = unsafe extern "C" fn(*mut c_void, *const c_void, usize) -> *mut c_void;
type Set = unsafe extern "C" fn(*mut c_void, c_int, usize) -> *mut c_void;
type Compare = unsafe extern "C" fn(*const c_void, *const c_void, usize) -> c_int;
type Length = unsafe extern "C" fn(*const c_char) -> usize;

/// One implementation of one function.
#[derive(Clone, Copy)]
enum Function {
    Move(Move),
    Set(Set),
    Compare(Compare),
    Length(Length),
}

/// How the two operands of a row lie.
#[derive(Clone, Copy)]
enum Layout {
    /// In memory that they do not share.
    Apart,
    /// Overlapping, the destination below the source: copied from the first byte on.
    Forward,
    /// Overlapping, the destination above the source: copied from the last byte on.
    Backward,
}

struct Row {
    name: &'static str,
    layout: Layout,
    c_library: Function,
    runtime: Function,
}

fn rows() -> [Row; 6] {
    use Function::{Compare, Length, Move, Set};
    let row = |name, layout, c_library, runtime| Row {
        name,
        layout,
        c_library,
        runtime,
    };
    [
        row(
            "memcpy",
            Layout::Apart,
            Move(libc::memcpy),
            Move(vcpu_rt_memcpy),
        ),
        row(
            "memmove forward",
            Layout::Forward,
            Move(libc::memmove),
            Move(vcpu_rt_memmove),
        ),
        row(
            "memmove backward",
            Layout::Backward,
            Move(libc::memmove),
            Move(vcpu_rt_memmove),
        ),
        row(
            "memset",
            Layout::Apart,
            Set(libc::memset),
            Set(vcpu_rt_memset),
        ),
        row(
            "memcmp equal",
            Layout::Apart,
            Compare(libc::memcmp),
            Compare(vcpu_rt_memcmp),
        ),
        row(
            "strlen",
            Layout::Apart,
            Length(libc::strlen),
            Length(vcpu_rt_strlen),
        ),
    ]
}

/// Two operands of `size` bytes in one buffer, and a zero byte after each.
struct Operands {
    buffer: Vec<u8>,
    destination: usize,
    source: usize,
    size: usize,
}

impl Operands {
    fn new(layout: Layout, placement: usize, size: usize) -> Self {
        let room = size.next_multiple_of(PAGE) + 2 * PAGE;
        let mut buffer = vec![1; 2 * room + PAGE];
        let start = buffer.as_ptr().align_offset(PAGE);
        let (first, second) = PLACEMENTS[placement];
        let distance = DISTANCES[placement].min(size / 2);
        let (destination, source) = match layout {
            Layout::Apart => (start + first, start + room + second),
            Layout::Forward => (start + first, start + first + distance),
            Layout::Backward => (start + first + distance, start + first),
        };
        buffer[destination + size] = 0;
        Self {
            buffer,
            destination,
            source,
            size,
        }
    }

    /// The time of `repeats` calls.
    fn time(&mut self, function: Function, repeats: u32) -> Duration {
        let size = self.size;
        let destination: *mut c_void = (&raw mut self.buffer[self.destination]).cast();
        let source: *const c_void = (&raw const self.buffer[self.source]).cast();
        // SAFETY, of all four: both operands have `size` bytes in `buffer`, which outlives the
        // call, and a zero byte follows the string.
        match function {
            // SAFETY: above; operands overlap only for memmove.
            Function::Move(call) => batch(call, repeats, |call| unsafe {
                black_box(call(destination, source, size));
            }),
            // SAFETY: above.
            Function::Set(call) => batch(call, repeats, |call| unsafe {
                black_box(call(destination, 1, size));
            }),
            // SAFETY: above.
            Function::Compare(call) => batch(call, repeats, |call| unsafe {
                black_box(call(destination, source, size));
            }),
            // SAFETY: above.
            Function::Length(call) => batch(call, repeats, |call| unsafe {
                black_box(call(destination.cast()));
            }),
        }
    }
}

/// The time of `repeats` times `once`. The function's address is opaque to the compiler, so that
/// every call is an indirect one, whichever implementation it reaches.
fn batch<F: Copy>(function: F, repeats: u32, once: impl Fn(F)) -> Duration {
    let before = Instant::now();
    for _ in 0..repeats {
        once(black_box(function));
    }
    before.elapsed()
}

/// What one alternation saw.
struct Sample {
    nanoseconds: f64,
    ratio: f64,
    same: f64,
}

fn alternate(operands: &mut Operands, row: &Row, repeats: u32, turn: usize) -> Sample {
    let functions = [row.c_library, row.runtime, row.c_library];
    let mut seconds = [0.0; 3];
    for position in 0..3 {
        let which = (position + turn) % 3;
        seconds[which] = operands.time(functions[which], repeats).as_secs_f64();
    }
    Sample {
        nanoseconds: seconds[1] / f64::from(repeats) * 1e9,
        ratio: seconds[1] / seconds[0],
        same: seconds[2] / seconds[0],
    }
}

/// The value that `part` (0 to 1) of the values lie below.
fn quantile(values: impl Iterator<Item = f64>, part: f64) -> f64 {
    let mut sorted: Vec<f64> = values.collect();
    sorted.sort_by(f64::total_cmp);
    sorted[((sorted.len() - 1) as f64 * part).round() as usize]
}

fn measure(row: &Row, size: usize) {
    let mut worst: f64 = 0.0;
    let mut samples = Vec::new();
    for placement in 0..PLACEMENTS.len() {
        let mut operands = Operands::new(row.layout, placement, size);
        let mut repeats = 1;
        while operands.time(row.c_library, repeats) < BATCH {
            repeats *= 2;
        }
        let here: Vec<Sample> = (0..ALTERNATIONS)
            .map(|turn| alternate(&mut operands, row, repeats, turn))
            .collect();
        worst = worst.max(quantile(here.iter().map(|sample| sample.ratio), 0.5));
        samples.extend(here);
    }
    println!(
        "| {} | {size} | {:.1} | {:.2} | {:.2} to {:.2} | {worst:.2} |",
        row.name,
        quantile(samples.iter().map(|sample| sample.nanoseconds), 0.5),
        quantile(samples.iter().map(|sample| sample.ratio), 0.5),
        quantile(samples.iter().map(|sample| sample.same), 0.05),
        quantile(samples.iter().map(|sample| sample.same), 0.95),
    );
}

/// Keeps the process on the CPU it runs on, so that the batches of an alternation share its caches.
fn pin() {
    // SAFETY: an all-zero cpu_set_t is an empty set, and it outlives the calls.
    let result = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(libc::sched_getcpu() as usize, &mut set);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set)
    };
    assert_eq!(
        result,
        0,
        "sched_setaffinity: {}",
        std::io::Error::last_os_error()
    );
}

fn machine() -> std::io::Result<String> {
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo")?;
    let value = |key| {
        let line = cpuinfo.lines().find(|line| line.starts_with(key));
        line.and_then(|line| line.split(": ").nth(1))
            .unwrap_or("?")
            .to_owned()
    };
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
    // SAFETY: the C library's own constant string.
    let c_library = unsafe { CStr::from_ptr(libc::gnu_get_libc_version()) };
    Ok(format!(
        "{} (family {}, model {}), Linux {}, glibc {}",
        value("model name"),
        value("cpu family"),
        value("model\t"),
        kernel.trim(),
        c_library.to_string_lossy()
    ))
}

fn main() -> std::io::Result<()> {
    pin();
    println!("{}\n", machine()?);
    println!("| function | bytes | ns | ratio | A/A | worst placement |");
    println!("|---|---|---|---|---|---|");
    for row in rows() {
        for size in SIZES {
            measure(&row, size);
        }
    }
    Ok(())
}
