// SPDX-License-Identifier: MIT OR Apache-2.0
//! ERANGE: all areas, the last one too, must lie below TASK_SIZE_MAX.

use rustix::io::Errno;
use vcpu_guest_programs::base::{fsgsbase, observe_whole, prepare};
use vcpu_guest_programs::gs::{NONE, PAGE, get, mm_vcpu, set};
use vcpu_guest_programs::machine::{nr_cpu_ids, task_size_max};
use vcpu_guest_programs::syscall::{arch, arch_get};
use vcpu_guest_programs::{check_eq, machine};
use vcpu_rt::{println, thread};

pub fn edges() {
    let (areas, limit) = (nr_cpu_ids() as u64, task_size_max());
    let page = PAGE as u64;
    let largest = limit / areas / page * page;
    println!("nr_cpu_ids={areas} TASK_SIZE_MAX={limit:#x} largest stride={largest:#x}");
    prepare();
    for before in [NONE, mm_vcpu(page)] {
        check_eq!(set(before), Ok(()), "SET {before:?}");
        let refused = |stride: u64| {
            let found = set(mm_vcpu(stride));
            check_eq!(found, Err(Errno::RANGE), "SET with stride {stride:#x}");
            check_eq!(get(), Ok(before), "GET after stride {stride:#x}");
        };
        refused(largest + page);
        refused(limit + page);
        // A product that overflows: to something above the limit, to 0, to one page per CPU.
        refused(page.wrapping_neg());
        refused(1 << 63);
        if areas.is_power_of_two() && areas > 1 {
            refused((1 << 63) / areas * 2);
            refused((1 << 63) / areas * 2 + page);
        }
        // Above 47 bits a kernel with four levels refuses, whatever the number of CPUs.
        refused((1 << 56) / areas.min(2) + page);
    }
    check_eq!(set(mm_vcpu(largest)), Ok(()), "SET with the largest stride");
    check_eq!(get(), Ok(mm_vcpu(largest)), "GET after the largest stride");
    reaches_every_area(largest);
}

/// With the largest stride every thread has its base too, the one with the highest mm_cid as well.
fn reaches_every_area(stride: u64) {
    let cpus = machine::allowed_cpus();
    let rounds = 200;
    thread::scope(|scope| {
        for cpu in machine::numbers(&cpus) {
            let work = move || {
                machine::move_to(0, cpu).expect("the CPU is online");
                for _ in 0..rounds {
                    check_base(stride);
                    thread::yield_now();
                }
            };
            scope.spawn(work).expect("a thread");
        }
    });
}

fn check_base(stride: u64) {
    if fsgsbase() {
        let found = observe_whole();
        check_eq!(found.fits(stride), true, "base of {found:x?}");
    } else {
        // What a load would reach is far away; the kernel reads the register.
        let found = arch_get(arch::GET_GS).expect("the address is good") as u64;
        check_eq!(found % stride, 0, "remainder of base {found:#x}");
        assert!(found / stride < nr_cpu_ids() as u64, "base {found:#x}");
    }
}
