// SPDX-License-Identifier: MIT OR Apache-2.0
//! The first process of a machine, which it switches to overcommit mode 2: memory that is not there
//! is not promised, MAP_NORESERVE or not. Pools are refused, and all else goes on; a program that is
//! started then, with an argument, takes a smaller stride.
#![no_std]
#![no_main]

use core::ptr::null;

use vcpu_rt::process::Command;
use vcpu_rt::{Errno, PerVcpu, Single, areas, env, found, println, thread};
use vcpu_test_programs::PASSED;
use vcpu_test_programs::machine::{assert_first_process, mount_proc, power_off, set};
use vcpu_test_programs::pools::Allocated;

vcpu_rt::entry!(main);

fn main() -> i32 {
    if env::args_len() > 1 {
        println!("child_asked={}", found().reservation().asked);
        println!("child_stride={}", found().reservation().stride);
        println!("child_pools={}", grow_until_refused());
        return PASSED;
    }
    assert_first_process();
    mount_proc();
    set(c"/proc/sys/vm/overcommit_memory", "2");
    let pools = grow_until_refused();
    println!("pools={pools}");
    let arguments = [c"/init".as_ptr(), c"child".as_ptr(), null()];
    let environment = [c"VCPU_RT_STRIDE=1G".as_ptr(), null()];
    // SAFETY: terminated strings, which live as long as the program.
    let child = unsafe { Command::new(c"/init", &arguments, &environment) };
    let child = child.expect("the vectors end").spawn().expect("a child");
    println!("child={:?}", child.wait());
    println!("end=reached");
    power_off()
}

/// Allocates objects as large as an area until it is told that there is no memory, and sees that
/// everything else goes on. Returns how many pools there are.
fn grow_until_refused() -> usize {
    let stride = found().reservation().stride as usize;
    let counter = PerVcpu::<Single>::new().expect("the pool has room");
    let mut last = None;
    let refused = loop {
        match Allocated::new(stride, 4096) {
            // SAFETY: its own object.
            Ok(object) => unsafe {
                object.fill(1);
                last = Some(object);
            },
            Err(errno) => break errno,
        }
    };
    assert_eq!(refused, Errno::NOMEM);
    let pools = areas::statistics().expect("there are areas").pools;
    for _ in 0..10 {
        assert_eq!(areas::alloc(stride, 1), Err(Errno::NOMEM));
        counter.add(1);
        let small = PerVcpu::<[Single; 10]>::new().expect("there is room for this");
        small.at(9).add(1);
        assert_eq!(small.at(9).sum(), 1);
        let stack = thread::Builder::new().stack_size(64 << 10);
        stack.spawn(|| ()).expect("a thread").join();
    }
    assert_eq!(counter.sum(), 10);
    if let Some(object) = last {
        // SAFETY: nobody uses it.
        unsafe { object.free() }.expect("it is allocated");
        let again = Allocated::new(stride, 1).expect("there is room again");
        assert_eq!(again.first, object.first);
        // SAFETY: its own object.
        assert!(unsafe { again.is_full_of(0) });
    }
    assert_eq!(areas::statistics().expect("there are areas").pools, pools);
    pools
}
