// SPDX-License-Identifier: MIT OR Apache-2.0
//! What pools cost in memory, page tables and address space, printed in KiB: `pools_cost HOW`.
//!
//! Allocates two objects as large as an area, and a small one, frees and allocates them again, all
//! without touching them (`untouched_*`); then writes one byte of a large one, which has a pool of its
//! own, and of the small one, which is in the start's, for each area that can be in use
//! (`touched_*`). HOW is `plain`, or what is done first: `future`
//! (mlockall(MCL_FUTURE)), `address_space` (no more of it is given), or after the first object
//! `current` (mlockall(MCL_CURRENT)), `onfault` (the same with MCL_ONFAULT).
#![no_std]
#![no_main]

use linux_raw_sys::general as nr;
use vcpu_rt::{Errno, PerVcpu, Single, areas, found, println, thread};
use vcpu_test_programs::PASSED;
use vcpu_test_programs::arguments::word;
use vcpu_test_programs::pools::{Allocated, resident_kib, status_kib};
use vcpu_test_programs::syscall::syscall;

vcpu_rt::entry!(main);

#[derive(Clone, Copy)]
struct Cost {
    resident: usize,
    page_tables: usize,
    locked: usize,
}

impl Cost {
    fn now() -> Self {
        Self {
            resident: resident_kib(),
            page_tables: status_kib("VmPTE"),
            locked: status_kib("VmLck"),
        }
    }

    fn print_since(self, before: Self, name: &str) {
        let Self {
            resident,
            page_tables,
            locked,
        } = self;
        println!("{name}_rss={}", resident.saturating_sub(before.resident));
        println!(
            "{name}_pte={}",
            page_tables.saturating_sub(before.page_tables)
        );
        println!("{name}_lck={}", locked.saturating_sub(before.locked));
    }
}

fn main() -> i32 {
    // The first look at the file touches what later ones touch too.
    Cost::now();
    let counter = PerVcpu::<Single>::new().expect("the pool has room");
    counter.add(1);
    let before = Cost::now();
    match word(1) {
        "plain" => {}
        "future" => lock(nr::MCL_FUTURE),
        "current" => lock(nr::MCL_CURRENT),
        "onfault" => lock(nr::MCL_CURRENT | nr::MCL_ONFAULT),
        "address_space" => {
            address_space(&counter);
            return PASSED;
        }
        other => panic!("what is {other}?"),
    }
    let stride = found().reservation().stride as usize;
    let allocate = || [stride, stride, 100].map(|size| Allocated::new(size, 64).expect("room"));
    for object in allocate() {
        // SAFETY: nobody uses it.
        unsafe { object.free() }.expect("it is allocated");
    }
    let [_, large, small] = allocate();
    Cost::now().print_since(before, "untouched");
    println!(
        "pools={}",
        areas::statistics().expect("there are areas").pools
    );
    println!("areas={}", found().used_areas().count());
    println!("nr_areas={}", found().nr_areas());
    for area in found().used_areas() {
        for object in [large, small] {
            // SAFETY: one thread.
            let copy = unsafe { object.copy(area) };
            copy[0] = 1;
        }
    }
    Cost::now().print_since(before, "touched");
    assert_eq!(counter.sum(), 1);
    PASSED
}

fn lock(flags: u32) {
    // SAFETY: an integer.
    unsafe { syscall(nr::__NR_mlockall, [flags as usize, 0, 0, 0]) }.expect("it is allowed");
}

/// No room is ENOMEM, each time, and all else goes on.
fn address_space(counter: &PerVcpu<Single>) {
    let stride = found().reservation().stride as usize;
    let first = Allocated::new(stride / 2, 64).expect("the pool has room");
    let limit = [status_kib("VmSize") * 1024 + (1 << 20); 2];
    let limit = (&raw const limit).expose_provenance();
    // SAFETY: the kernel reads one rlimit.
    unsafe { syscall(nr::__NR_setrlimit, [nr::RLIMIT_AS as usize, limit, 0, 0]) }
        .expect("less is always allowed");
    for _ in 0..3 {
        let before = status_kib("VmSize");
        assert_eq!(areas::alloc(stride, 64), Err(Errno::NOMEM));
        assert_eq!(
            status_kib("VmSize"),
            before,
            "of what was tried nothing stays"
        );
        let small = PerVcpu::<[Single; 100]>::new().expect("there is room for this");
        small.at(99).add(1);
        assert_eq!(small.at(99).sum(), 1);
        counter.add(1);
    }
    let builder = thread::Builder::new().stack_size(64 << 10);
    builder
        .spawn(|| areas::alloc(8, 8).map(drop))
        .expect("a thread")
        .join()
        .expect("there is room for this");
    // SAFETY: nobody uses it.
    unsafe { first.free() }.expect("it is allocated");
    let again = Allocated::new(stride / 2, 64).expect("there is room again");
    assert_eq!(again.first, first.first);
    let statistics = areas::statistics().expect("there are areas");
    assert_eq!((statistics.pools, counter.sum()), (1, 4));
    println!("refused");
}
