// SPDX-License-Identifier: MIT OR Apache-2.0
//! A program with std that counts by per-vCPU words and structures of every kind, from many threads:
//! `hosted_rust all`, `hosted_rust thread`, `hosted_rust fast_paths`; with a C library on the table of another runtime in the same process:
//! `hosted_rust users LIBRARY`. It prints what it counted.

mod fast_paths;
mod users;

use std::process::ExitCode;
use std::ptr::NonNull;
use std::thread;

use vcpu_rt_hosted::abi::Mode;
use vcpu_rt_hosted::{
    Cache, Counter, NotPut, NotTaken, Pair, PerVcpu, Section, Single, found, mode_name, per_vcpu,
    vcpu,
};

per_vcpu! {
    static HITS: Single;
    static SMALL: Single<u32>;
    static TOTAL: Section<u64>;
    static PAIR: Pair;
    static REQUESTS: Counter;
    static ITEMS: Cache<u64, 2, 16>;
    static EARLY: Single;
}

/// In the program's own constructor: behind the runtime's.
#[used]
#[unsafe(link_section = ".init_array")]
static CONSTRUCTOR: extern "C" fn() = early;

extern "C" fn early() {
    EARLY.inc();
}

/// The exit status that says that all checks held.
const PASSED: u8 = 93;
const THREADS: u64 = 16;
const ROUNDS: u64 = 20_000;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    println!("mode={}", mode_name(found().mode));
    println!("state={:?}", found().rseq);
    match arguments.get(1).map(String::as_str) {
        Some("all") => all(),
        Some("thread") => one_thread(),
        Some("fast_paths") => fast_paths::run(),
        Some("users") => users::run(&arguments[2]),
        _ => return ExitCode::FAILURE,
    }
    ExitCode::from(PASSED)
}

/// What a thread moved through the caches.
#[derive(Default)]
struct Moved {
    put: u64,
    taken: u64,
}

fn all() {
    let allocated = PerVcpu::<[Single; 3]>::new().expect("the pool has room");
    let moved: Vec<Moved> = thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|_| {
                scope.spawn(|| {
                    (0..ROUNDS).map(|round| step(round, &allocated)).fold(
                        Moved::default(),
                        |sum, moved| Moved {
                            put: sum.put + moved.put,
                            taken: sum.taken + moved.taken,
                        },
                    )
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("no panic"))
            .collect()
    });
    let count = THREADS * ROUNDS;
    assert_eq!(EARLY.sum(), 1);
    assert_eq!(HITS.sum(), count);
    assert_eq!(u64::from(SMALL.sum()), count);
    assert_eq!(TOTAL.sum(), 3 * count);
    assert_eq!(REQUESTS.sum(), 2 * count);
    let halves = vcpu::areas().filter_map(|area| PAIR.read(area));
    let halves = halves.fold([0; 2], |sum, pair| [sum[0] + pair[0], sum[1] + pair[1]]);
    assert_eq!(halves, [count, 2 * count]);
    let thirds: u64 = (0..3).map(|index| allocated.at(index).sum()).sum();
    assert_eq!(thirds, count);
    let held: usize = vcpu::areas()
        .flat_map(|area| (0..2).filter_map(move |class| ITEMS.held(area, class)))
        .map(|(items, _)| items)
        .sum();
    let put: u64 = moved.iter().map(|moved| moved.put).sum();
    let taken: u64 = moved.iter().map(|moved| moved.taken).sum();
    assert_eq!(put, taken + held as u64);
    println!("count={count}\nput={put}");
}

fn step(round: u64, allocated: &PerVcpu<[Single; 3]>) -> Moved {
    static ITEM: u64 = 7;
    let class = round as usize % 2;
    HITS.inc();
    SMALL.inc();
    TOTAL.add(3);
    REQUESTS.add(2);
    allocated.at(round as usize % 3).inc();
    let mut old = PAIR.load();
    while let Err(seen) = PAIR.compare_exchange(old, [old[0] + 1, old[1] + 2]) {
        old = seen;
    }
    let mut moved = Moved::default();
    match ITEMS.push(class, NonNull::from(&ITEM)) {
        Ok(()) => moved.put = 1,
        Err(NotPut::Full | NotPut::Busy) => {}
    }
    match ITEMS.pop(class) {
        Ok(item) => {
            assert_eq!(item, NonNull::from(&ITEM));
            moved.taken = 1;
        }
        Err(NotTaken::Empty | NotTaken::Busy) => {}
    }
    moved
}

/// What a thread is before its first operation, and afterwards.
fn one_thread() {
    let thread = thread::spawn(|| {
        HITS.inc();
        (vcpu::id(), vcpu::current_mode())
    });
    let (id, mode) = thread.join().expect("no panic");
    assert_eq!(mode, found().mode);
    assert_eq!(id.is_some(), found().mode != Mode::Shared);
    assert_eq!(HITS.sum(), 1);
    // By a section, where there is a registration.
    let last = HITS.read(found().nr_vcpus());
    println!("last_area={}", last.expect("there is such an area"));
}
