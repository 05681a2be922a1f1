// SPDX-License-Identifier: MIT OR Apache-2.0
//! Threads, scenario by scenario; see `main`.
#![no_std]
#![no_main]

use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use core::time::Duration;

use linux_raw_sys::general as nr;
use vcpu_rt::{println, rseq, thread};
use vcpu_test_programs::PASSED;
use vcpu_test_programs::arguments::{number, word};
use vcpu_test_programs::syscall::{gettid, syscall};

vcpu_rt::entry!(main);

fn main() -> i32 {
    match word(1) {
        "turn" => turn(number(2)),
        "alive" => alive(number(2)),
        "detached" => detached(number(2)),
        "until-refused" => until_refused(number(2)),
        "results" => results(),
        "name" => name(),
        "robust" => robust(),
        "scope" => scope(),
        "signals" => signals(),
        other => panic!("what is {other}?"),
    }
    PASSED
}

/// Creates and joins one thread after the other.
fn turn(count: usize) {
    let mut sum = 0;
    for index in 0..count {
        sum += thread::spawn(move || index).expect("a thread").join();
    }
    println!("sum={sum}");
}

/// Has `count` threads alive at once, each of them registered.
fn alive(count: usize) {
    static ARRIVED: AtomicUsize = AtomicUsize::new(0);
    static LEAVE: AtomicBool = AtomicBool::new(false);
    let registered = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..count {
            let work = || {
                registered.fetch_add(usize::from(rseq::is_registered()), Ordering::Relaxed);
                ARRIVED.fetch_add(1, Ordering::Release);
                while !LEAVE.load(Ordering::Acquire) {
                    thread::sleep(Duration::from_millis(10));
                }
            };
            scope.spawn(work).expect("a thread");
        }
        while ARRIVED.load(Ordering::Acquire) < count {
            thread::sleep(Duration::from_millis(1));
        }
        LEAVE.store(true, Ordering::Release);
    });
    println!("registered={}", registered.into_inner());
}

/// Threads that nobody joins: their stacks must go without them. Every other one has a stack that
/// is too large to be kept for reuse, so it is unmapped by the thread itself.
fn detached(count: usize) {
    static ENDED: AtomicUsize = AtomicUsize::new(0);
    for started in 0..count {
        let stack_bytes = if started % 2 == 0 { 64 << 10 } else { 64 << 20 };
        let builder = thread::Builder::new().stack_size(stack_bytes);
        let thread = builder.spawn(|| ENDED.fetch_add(1, Ordering::Release));
        drop(thread.expect("a thread"));
        // At most 64 on their way, so that the test is about their ends and not about memory.
        while started.saturating_sub(ENDED.load(Ordering::Acquire)) > 64 {
            thread::yield_now();
        }
    }
    while ENDED.load(Ordering::Acquire) < count {
        thread::yield_now();
    }
    // The last of them may still be between the count and its exit.
    thread::sleep(Duration::from_millis(100));
    println!("ended={}", ENDED.load(Ordering::Acquire));
}

/// Creates threads until the kernel refuses one, then lets all go and creates one again.
fn until_refused(limit: usize) {
    static LEAVE: AtomicBool = AtomicBool::new(false);
    static ALIVE: AtomicUsize = AtomicUsize::new(0);
    for _ in 0..limit {
        let work = || {
            while !LEAVE.load(Ordering::Acquire) {
                thread::sleep(Duration::from_millis(1));
            }
            ALIVE.fetch_sub(1, Ordering::Release);
        };
        ALIVE.fetch_add(1, Ordering::Relaxed);
        if let Err(error) = thread::spawn(work).map(drop) {
            ALIVE.fetch_sub(1, Ordering::Relaxed);
            println!("refused={error}");
            LEAVE.store(true, Ordering::Release);
            while ALIVE.load(Ordering::Acquire) > 0 {
                thread::sleep(Duration::from_millis(1));
            }
            break;
        }
    }
    for attempt in 0.. {
        match thread::spawn(|| 7) {
            Ok(thread) => return println!("again={}", thread.join()),
            // The kernel counts a thread until it is gone, a little after its last instruction.
            Err(error) => assert!(attempt < 1000, "{error}"),
        }
        thread::sleep(Duration::from_millis(1));
    }
}

/// Results of several sizes and alignments come back; ids are the kernel's and differ.
fn results() {
    #[derive(Clone, Copy, PartialEq, Debug)]
    #[repr(align(64))]
    struct Wide([u64; 100]);
    let wide = Wide(core::array::from_fn(|index| index as u64 * 3));
    let back = thread::spawn(move || wide).expect("a thread").join();
    assert_eq!(back, wide);
    thread::spawn(|| ()).expect("a thread").join();
    let (id, tid) = thread::spawn(|| (thread::current().id(), gettid()))
        .expect("a thread")
        .join();
    assert_eq!(id as usize, tid);
    assert_eq!(thread::current().id() as usize, gettid());
    assert_ne!(tid, gettid());
    println!("results");
}

/// The name is the kernel's too: the test reads it from /proc while the thread waits for stdin.
fn name() {
    let thread = thread::Builder::new().name("night-shift").spawn(|| {
        thread::current().with_name(|name| println!("name={name}"));
        let mut byte = 0_u8;
        // SAFETY: the kernel writes at most the one byte.
        let answer = unsafe {
            syscall(
                nr::__NR_read,
                [0, (&raw mut byte).expose_provenance(), 1, 0],
            )
        };
        assert_eq!(answer, Ok(0), "the test closes stdin");
    });
    thread.expect("a thread").join();
}

/// A robust list is registered only where it was asked for.
fn robust() {
    fn has_list() -> bool {
        let (mut head, mut length) = (0_usize, 0_usize);
        let (head_place, length_place) = (
            (&raw mut head).expose_provenance(),
            (&raw mut length).expose_provenance(),
        );
        let out = [0, head_place, length_place, 0];
        // SAFETY: the kernel writes two words.
        unsafe { syscall(nr::__NR_get_robust_list, out) }.expect("one may ask for one's own");
        head != 0
    }
    println!(
        "plain={}",
        thread::spawn(has_list).expect("a thread").join()
    );
    let asked = thread::Builder::new().robust_list(true).spawn(has_list);
    println!("asked={}", asked.expect("a thread").join());
    println!(
        "after={}",
        thread::spawn(has_list).expect("a thread").join()
    );
}

/// Scoped threads borrow, and the scope waits for those whose handles were dropped.
fn scope() {
    let mut values = [0_u32; 16];
    let answer = thread::scope(|scope| {
        for (index, value) in values.iter_mut().enumerate() {
            let work = move || {
                thread::sleep(Duration::from_millis(20));
                *value = index as u32 + 1;
            };
            drop(scope.spawn(work).expect("a thread"));
        }
        "answer"
    });
    println!("sum={} {answer}", values.iter().sum::<u32>());
}

/// A thread starts with its parent's signal mask, not with that of the time of its creation.
fn signals() {
    fn mask(how: usize, set: Option<u64>) -> u64 {
        let mut old = 0_u64;
        let set = set
            .as_ref()
            .map_or(0, |set| (&raw const *set).expose_provenance());
        // SAFETY: the kernel reads and writes eight bytes each.
        let answer = unsafe {
            syscall(
                nr::__NR_rt_sigprocmask,
                [how, set, (&raw mut old).expose_provenance(), 8],
            )
        };
        answer.expect("the masks are well formed");
        old
    }
    const USR1: u64 = 1 << 9;
    assert_eq!(thread::spawn(|| mask(0, None)).expect("a thread").join(), 0);
    mask(nr::SIG_BLOCK as usize, Some(USR1));
    assert_eq!(
        thread::spawn(|| mask(0, None)).expect("a thread").join(),
        USR1
    );
    assert_eq!(mask(0, None), USR1);
    println!("signals");
}
