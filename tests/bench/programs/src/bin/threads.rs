// SPDX-License-Identifier: MIT OR Apache-2.0
//! Increments by many threads: `bench-threads MODE WHAT THREADS TOTAL CPU...`. The threads make TOTAL
//! increments together: of one `per_vcpu` counter, of one `atomic`, or each of a `thread_local` word.
//! Where CPUs are named, each is pinned to one of them in turn. Prints the nanoseconds from the moment
//! when all were ready to the end of the last one.

#![no_std]
#![no_main]

use core::arch::asm;
use core::cell::Cell;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use vcpu_bench_programs::{expect_mode, leave_vcpu_0, nanoseconds, number, pin, word};
use vcpu_rt::{PerVcpu, Single, env, println, thread, thread_local};

vcpu_rt::entry!(main);

/// A bound for programs with the feature `test-hooks`, which other programs do not ask for: whatever
/// the machine has.
#[cfg(feature = "test-hooks")]
#[unsafe(no_mangle)]
static vcpu_rt_test_nr_vcpus: u32 = 8192;

static ATOMIC: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static WORD: Cell<u64> = Cell::new(0);
}

/// Where threads wait for each other.
struct Race {
    ready: AtomicU32,
    is_open: AtomicBool,
    /// The latest end of a thread, nanoseconds, as the bits of a positive f64: their order is the same.
    end: AtomicU64,
    counted: AtomicU64,
}

impl Race {
    /// Runs `increment`, when all are ready, and adds what it says that it counted.
    fn run(&self, increment: impl FnOnce() -> u64) {
        self.ready.fetch_add(1, Ordering::AcqRel);
        while !self.is_open.load(Ordering::Acquire) {
            thread::yield_now();
        }
        let counted = increment();
        self.end
            .fetch_max(nanoseconds().to_bits(), Ordering::AcqRel);
        self.counted.fetch_add(counted, Ordering::AcqRel);
    }

    /// Opens it once so many are ready, and returns the time.
    fn open(&self, threads: u32) -> f64 {
        while self.ready.load(Ordering::Acquire) < threads {
            thread::yield_now();
        }
        let start = nanoseconds();
        self.is_open.store(true, Ordering::Release);
        start
    }
}

fn main() {
    expect_mode(word(1));
    let (what, threads, total) = (word(2), number(3), u64::from(number(4)));
    let each = total / u64::from(threads);
    let counter = match PerVcpu::<Single>::new() {
        Ok(counter) => counter,
        Err(errno) => panic!("no counter: {errno:?}"),
    };
    let race = Race {
        ready: AtomicU32::new(0),
        is_open: AtomicBool::new(false),
        end: AtomicU64::new(0),
        counted: AtomicU64::new(0),
    };
    let increment = || race.run(|| increment(what, &counter, each));
    let cpus = env::args_len() - 5;
    let start = if threads == 1 {
        leave_vcpu_0();
        race.is_open.store(true, Ordering::Release);
        let start = nanoseconds();
        increment();
        start
    } else {
        thread::scope(|scope| {
            for index in 0..threads as usize {
                let cpu = (cpus > 0).then(|| number(5 + index % cpus));
                let run = move || {
                    assert!(cpu.is_none_or(|cpu| pin(cpu).is_ok()), "no such CPU");
                    increment();
                };
                assert!(scope.spawn(run).is_ok(), "no thread");
            }
            race.open(threads)
        })
    };
    let counted = ATOMIC.load(Ordering::Acquire) + counter.sum() + race.counted.into_inner();
    assert!(
        counted == each * u64::from(threads),
        "{counted} increments were counted, not {total}"
    );
    println!("{}", f64::from_bits(race.end.into_inner()) - start);
}

/// Makes so many increments; returns those that are only this thread's.
#[inline(never)]
fn increment(what: &str, counter: &PerVcpu<Single>, count: u64) -> u64 {
    match what {
        "per_vcpu" => (0..count).for_each(|_| counter.inc()),
        "atomic" => (0..count).for_each(|_| {
            ATOMIC.fetch_add(1, Ordering::Relaxed);
        }),
        "thread_local" => {
            return WORD.with(|word| {
                // SAFETY: this thread's own word, by an instruction that the compiler cannot merge with
                // the next one. No stack; flags are clobbered by default.
                (0..count).for_each(|_| unsafe {
                    asm!("inc qword ptr [{}]", in(reg) word.as_ptr(), options(nostack));
                });
                word.get()
            });
        }
        _ => panic!("there is no such counter"),
    }
    0
}
