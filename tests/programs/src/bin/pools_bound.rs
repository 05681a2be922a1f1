// SPDX-License-Identifier: MIT OR Apache-2.0
//! Areas for 8192 vCPUs, whatever the machine has (the feature `test-hooks`), and what they cost in
//! KiB, without the largest pools being touched, with one byte a vCPU, and summed over all areas.
#![no_std]
#![no_main]

use vcpu_rt::{PerVcpu, Single, areas, found, println, thread};
use vcpu_test_programs::PASSED;
use vcpu_test_programs::pools::{Allocated, resident_kib, status_kib};

vcpu_rt::entry!(main);

const NR_VCPUS: u32 = 8192;

#[unsafe(no_mangle)]
static vcpu_rt_test_nr_vcpus: u32 = NR_VCPUS;

fn main() -> i32 {
    let cost = || (resident_kib(), status_kib("VmPTE"));
    cost();
    let (resident, page_tables) = cost();
    let print = |name: &str| {
        let (resident_now, page_tables_now) = cost();
        println!("{name}_rss={}", resident_now - resident);
        println!("{name}_pte={}", page_tables_now - page_tables);
    };
    assert_eq!(
        (found().nr_vcpus(), found().nr_areas()),
        (NR_VCPUS, NR_VCPUS + 1)
    );
    let stride = found().reservation().stride;
    println!("stride={stride}");
    println!("gs={:?}", found().gs());
    let counter = PerVcpu::<Single>::new().expect("the pool has room");
    // A pool of its own, 16 GiB.
    let object = Allocated::new(stride as usize, 4096).expect("there is address space");
    print("untouched");
    thread::scope(|scope| {
        for _ in 0..8 {
            scope
                .spawn(|| (0..100_000).for_each(|_| counter.add(1)))
                .expect("a thread");
        }
    });
    assert_eq!(counter.sum(), 800_000);
    let statistics = areas::statistics().expect("there are areas");
    assert_eq!(statistics.pools, 2);
    assert!(statistics.address_space > 2 * stride * u64::from(NR_VCPUS));
    print("used");
    let all = (0..=NR_VCPUS).map(|area| counter.read(area).expect("it exists"));
    assert_eq!(all.sum::<u64>(), 800_000);
    print("read");
    // SAFETY: one thread, and its own object.
    unsafe {
        assert_eq!(object.copy(NR_VCPUS)[stride as usize - 1], 0);
        object.free().expect("it is allocated");
    }
    PASSED
}
