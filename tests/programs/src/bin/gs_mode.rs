// SPDX-License-Identifier: MIT OR Apache-2.0
//! The GS mode from inside a program that the runtime started. It checks itself, so that it can run
//! where nobody reads what it prints: exit status 0 when all held, 4 with a line `SKIP: ..` where
//! the kernel lacks the prctl, anything else is a failure. See `main` for the scenarios.
#![no_std]
#![no_main]

use core::ptr::null;

use linux_raw_sys::general as nr;
use vcpu_abi::{FEATURE_GS_MODE, FEATURE_RSEQ, GS_INDEX_MODE_MM_VCPU, MODE_GS, PrctlSetGsMode};
use vcpu_rt::process::{self, Command, ExitStatus, Fork};
use vcpu_rt::vcpu_process::mode_name;
use vcpu_rt::{Found, PerVcpu, Single, env, found, println, rseq, thread};
use vcpu_test_programs::arguments::{argument, number, word};
use vcpu_test_programs::gs::{self, AreaNumber};
use vcpu_test_programs::syscall::{affinity, pin, processors, restrict, syscall};
use vcpu_test_programs::table::abi;

vcpu_rt::entry!(main);

const SKIP: i32 = 4;
const EINVAL: i32 = 22;

fn main() -> i32 {
    if word(1) != "facts" && gs::get() == Err(EINVAL) {
        println!("SKIP: this kernel has no PR_SET_GS_MODE");
        return SKIP;
    }
    match word(1) {
        // What the other side shall compare.
        "facts" => facts(),
        // The mode has this name, and everything agrees with it; with a stride behind it.
        "is" => is(word(2), argument(3)),
        // Threads on their way through the processors: where %gs: leads, and that sums are exact.
        "threads" => threads(number(2)),
        // Threads that leave rseq.
        "unregistered" => unregistered(),
        "fork" => fork(),
        // Another program starts without the mode: the runtime in it is told to leave it so.
        "exec" => exec(),
        "fresh" => fresh(),
        other => panic!("what is {other}?"),
    }
    println!("done");
    0
}

/// The mode that this runtime sets.
fn ours() -> PrctlSetGsMode {
    PrctlSetGsMode {
        index_mode: GS_INDEX_MODE_MM_VCPU,
        flags: 0,
        stride: abi().stride,
    }
}

fn facts() {
    let found: &Found = found();
    println!("mode={}", mode_name(found.mode));
    println!("features={}", abi().features);
    println!("table_mode={}", abi().mode);
    println!("stride={}", abi().stride);
    println!("index_offset={}", abi().index_offset);
    println!("rseq_size={}", abi().rseq_size);
    println!("registered={}", rseq::is_registered());
    println!("base={}", gs::base());
    println!("selector={}", gs::selector());
    let Ok(counter) = PerVcpu::<Single>::new() else {
        println!("areas=none");
        return;
    };
    (0..1000).for_each(|_| counter.add(3));
    println!("sum={}", counter.sum());
    for area in 0..abi().nr_areas {
        let count = counter.read(area).expect("it exists");
        if count > 0 {
            println!("area[{area}]={count}");
        }
    }
}

fn is(mode: &str, stride: Option<&str>) {
    let found = found();
    assert_eq!(mode_name(found.mode), mode);
    assert_eq!(abi().mode, found.mode as u32);
    assert_eq!(abi().features & FEATURE_GS_MODE != 0, mode == "gs");
    assert_eq!(
        abi().features & FEATURE_RSEQ != 0,
        rseq::is_registered(),
        "the rseq fields are true in every mode"
    );
    assert_eq!(abi().rseq_size != 0, rseq::is_registered());
    if let Some(stride) = stride {
        assert_eq!(Ok(abi().stride), stride.parse());
    }
    if mode == "gs" {
        assert_eq!(gs::get(), Ok(ours()));
        assert_eq!(gs::selector(), 0);
        assert_eq!(gs::base() % abi().stride, 0);
    } else {
        assert_eq!(gs::get(), Ok(PrctlSetGsMode::default()));
        assert_eq!(gs::base(), 0);
    }
    let counter = PerVcpu::<Single>::new().expect("the pool has room");
    thread::scope(|scope| {
        for _ in 0..8 {
            let count = || (0..20_000).for_each(|_| counter.add(1));
            scope.spawn(count).expect("a thread");
        }
    });
    assert_eq!(counter.sum(), 8 * 20_000);
}

fn threads(count: usize) {
    const TURNS: usize = 2000;
    const ADDS: usize = 20;
    assert_eq!(abi().mode, MODE_GS);
    let counter = PerVcpu::<Single>::new().expect("the pool has room");
    let number = AreaNumber::new();
    let allowed = affinity();
    thread::scope(|scope| {
        for index in 0..count {
            let (counter, number) = (&counter, &number);
            let work = move || {
                let mut next = processors(&allowed).cycle().skip(index);
                for turn in 0..TURNS {
                    if turn % 16 == 0 {
                        pin(next.next().expect("it may run somewhere")).expect("it is allowed");
                    }
                    (0..ADDS).for_each(|_| counter.add(1));
                    agree(number);
                }
                restrict(&allowed).expect("it was allowed");
            };
            scope.spawn(work).expect("a thread");
        }
    });
    assert_eq!(counter.sum(), (count * TURNS * ADDS) as u64);
    assert_eq!(counter.read(abi().nr_vcpus), Some(0), "the last area");
    let all: u64 = (0..abi().nr_areas)
        .filter_map(|area| counter.read(area))
        .sum();
    assert_eq!(
        all,
        counter.sum(),
        "sums leave out an area that counted something"
    );
}

/// `%gs:` leads to the area of mm_cid, where the thread is registered; to some vCPU's in any case.
fn agree(number: &AreaNumber) {
    let before = rseq::mm_cid();
    let area = number.by_gs();
    let after = rseq::mm_cid();
    assert!(area < u64::from(abi().nr_vcpus), "area {area}");
    if rseq::is_registered() && before == after {
        assert_eq!(area, u64::from(before));
    }
}

/// A thread without registration adds to its vCPU's area as every other one, and loses nothing.
fn unregistered() {
    const ADDS: u64 = 100_000;
    assert_eq!(abi().mode, MODE_GS);
    let counter = PerVcpu::<Single>::new().expect("the pool has room");
    let number = AreaNumber::new();
    thread::scope(|scope| {
        for index in 0..16 {
            let (counter, number) = (&counter, &number);
            let work = move || {
                if index % 2 == 0 && rseq::is_registered() {
                    thread::unregister().expect("it is registered");
                    assert_eq!(rseq::mm_cid(), u32::MAX);
                }
                for _ in 0..ADDS {
                    counter.add(1);
                }
                agree(number);
            };
            scope.spawn(work).expect("a thread");
        }
    });
    assert_eq!(counter.sum(), 16 * ADDS);
    assert_eq!(counter.read(abi().nr_vcpus), Some(0), "the last area");
}

/// The child goes on in the mode, on its own copies of the areas.
fn fork() {
    assert_eq!(abi().mode, MODE_GS);
    let counter = PerVcpu::<Single>::new().expect("the pool has room");
    let number = AreaNumber::new();
    counter.add(5);
    // SAFETY: this process has no other thread.
    match unsafe { process::fork() }.expect("a child") {
        Fork::Child => {
            assert_eq!(gs::get(), Ok(ours()));
            thread::scope(|scope| {
                for _ in 0..8 {
                    let work = || {
                        (0..10_000).for_each(|_| counter.add(1));
                        agree(&number);
                    };
                    scope.spawn(work).expect("a thread");
                }
            });
            assert_eq!(counter.sum(), 80_005);
            process::exit(0);
        }
        Fork::Parent(child) => {
            let mut status = 0_i32;
            let place = (&raw mut status).expose_provenance();
            // SAFETY: wait4(2) writes one int.
            let waited = unsafe { syscall(nr::__NR_wait4, [child as usize, place, 0, 0]) };
            assert_eq!((waited, status), (Ok(child as usize), 0));
        }
    }
    assert_eq!(counter.sum(), 5);
    assert_eq!(gs::get(), Ok(ours()));
}

/// Starts itself, by vfork, while threads count.
fn exec() {
    assert_eq!(abi().mode, MODE_GS);
    let counter = PerVcpu::<Single>::new().expect("the pool has room");
    let path = env::args().next().expect("a program has a path");
    let arguments = [path.as_ptr(), c"fresh".as_ptr(), null()];
    let environment = [c"VCPU_RT_GS=off".as_ptr(), null()];
    thread::scope(|scope| {
        for _ in 0..4 {
            let count = || (0..200_000).for_each(|_| counter.add(1));
            scope.spawn(count).expect("a thread");
        }
        for _ in 0..10 {
            // SAFETY: strings that live as long as the process.
            let command = unsafe { Command::new(path, &arguments, &environment) };
            let child = command.and_then(|command| command.spawn());
            counter.add(1);
            let ended = child.and_then(|child| child.wait());
            assert_eq!(ended, Ok(ExitStatus::Exited(0)));
        }
    });
    assert_eq!(counter.sum(), 800_010);
    assert_eq!(gs::get(), Ok(ours()), "a child's exec left it alone");
}

/// Where nobody sets the mode, an exec'ed program has none.
fn fresh() {
    assert_eq!(gs::get(), Ok(PrctlSetGsMode::default()));
    assert_eq!((gs::base(), gs::selector()), (0, 0));
}
