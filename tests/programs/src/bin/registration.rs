// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a thread's rseq registration must be, from inside: `facts` prints it, `busy` registers
//! again, `ids` compares ids with the affinity, `ended` looks at a block after its thread, `fork`
//! looks at a child, `threads` at unregistering and registering by hand.
#![no_std]
#![no_main]

use linux_raw_sys::general as nr;
use vcpu_abi::{FEATURE_FENCE, MODE_GS, RSEQ_FLAG_UNREGISTER, RSEQ_OFFSET, RSEQ_SIG, Rseq};
use vcpu_rt::process::{self, Fork};
use vcpu_rt::{PerVcpu, Single, println, rseq, thread};
use vcpu_test_programs::PASSED;
use vcpu_test_programs::arguments::word;
use vcpu_test_programs::syscall;
use vcpu_test_programs::syscall::{affinity, pin, processors, thread_pointer};
use vcpu_test_programs::table::abi;

vcpu_rt::entry!(main);

const EPERM: i32 = 1;
const EBUSY: i32 = 16;
const EINVAL: i32 = 22;

fn main() -> i32 {
    match word(1) {
        "facts" => facts(),
        "busy" => {
            busy();
            thread::spawn(busy).expect("a thread").join();
        }
        "ids" => {
            ids();
            thread::spawn(ids).expect("a thread").join();
        }
        "fork" => fork(),
        "by-hand" => {
            by_hand();
            thread::spawn(by_hand).expect("a thread").join();
        }
        "unregistered" => unregistered(),
        other => panic!("what is {other}?"),
    }
    PASSED
}

/// The calling thread's area, by the documented offset.
fn area() -> *const Rseq {
    core::ptr::with_exposed_provenance(thread_pointer() + RSEQ_OFFSET)
}

fn length() -> usize {
    abi().rseq_len as usize
}

fn facts() {
    println!("registered={}", rseq::is_registered());
    println!("offset={}", abi().rseq_offset);
    println!("length={}", abi().rseq_len);
    println!("feature_size={}", abi().rseq_size);
    println!("aligned={}", area().addr().is_multiple_of(64));
    // SAFETY: the calling thread's own area; the kernel changes it only as volatile reads allow.
    let (cpu, cid) = unsafe {
        (
            (&raw const (*area()).cpu_id).read_volatile(),
            (&raw const (*area()).mm_cid).read_volatile(),
        )
    };
    println!("cpu_id={}", cpu.cast_signed());
    println!("mm_cid={cid}");
    println!("nr_vcpus={}", abi().nr_vcpus);
}

/// The kernel knows this very area, with this length and signature.
fn busy() {
    let address = area().addr();
    // SAFETY: every one of these calls is refused, or it is undone before the next one.
    unsafe {
        assert_eq!(syscall::rseq(address, length(), 0, RSEQ_SIG), Err(EBUSY));
        assert_eq!(syscall::rseq(address, length(), 0, !RSEQ_SIG), Err(EPERM));
        assert_eq!(
            syscall::rseq(address + 64, length(), 0, RSEQ_SIG),
            Err(EINVAL)
        );
    }
    assert!(rseq::is_registered());
}

/// Pinned to a processor, the ids are that processor's, and mm_cid is below the bound.
fn ids() {
    for cpu in processors(&affinity()) {
        pin(cpu).expect("it is allowed");
        assert_eq!(rseq::cpu_id() as usize, cpu);
        assert_eq!(rseq::cpu_id_start() as usize, cpu);
        assert_eq!(node_of_this_cpu(), rseq::node_id());
        assert!(rseq::mm_cid() < abi().nr_vcpus);
        assert!((cpu as u32) < abi().nr_vcpus);
    }
    println!("checked");
}

/// getcpu(2)'s node, by system call.
fn node_of_this_cpu() -> u32 {
    let mut node = 0_u32;
    // SAFETY: the kernel writes one u32; the processor is not asked for.
    let answer = unsafe {
        syscall::syscall(
            nr::__NR_getcpu,
            [0, (&raw mut node).expose_provenance(), 0, 0],
        )
    };
    answer.expect("the address is good");
    node
}

/// A child keeps its parent's registration, counts in its own copy of the data, and makes threads.
fn fork() {
    let counter = PerVcpu::<Single>::new().expect("the pool has room");
    counter.add(5);
    fence();
    // SAFETY: this process has no other thread.
    match unsafe { process::fork() }.expect("a child") {
        Fork::Child => {
            busy();
            // membarrier's registration is the parent's alone; the child makes its own.
            fence();
            counter.add(1);
            thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| counter.add(10)).expect("a thread");
                }
            });
            println!("child={}", counter.sum());
            assert_eq!(counter.sum(), 46);
            process::exit(PASSED - 1);
        }
        Fork::Parent(child) => {
            let mut status = 0_i32;
            let place = (&raw mut status).expose_provenance();
            // SAFETY: wait4(2) writes one int.
            let waited = unsafe { syscall::syscall(nr::__NR_wait4, [child as usize, place, 0, 0]) };
            assert_eq!(waited, Ok(child as usize));
            println!("status={status:#x}");
            println!("parent={}", counter.sum());
            assert_eq!((counter.sum(), status >> 8), (5, PASSED - 1));
        }
    }
}

fn fence() {
    let offered = abi().features & FEATURE_FENCE != 0;
    assert_eq!(vcpu_rt::fence(-1).is_ok(), offered);
}

/// A thread may leave and come back. Between the two it counts too: in the last area, or in the GS
/// mode as before.
fn by_hand() {
    let counter = PerVcpu::<Single>::new().expect("the pool has room");
    let last = abi().nr_areas - 1;
    assert_eq!(
        thread::register().map_err(|errno| errno.raw_os_error()),
        Err(EBUSY)
    );
    counter.add(1);
    thread::unregister().expect("it was registered");
    assert!(!rseq::is_registered());
    assert_eq!(rseq::cpu_id().cast_signed(), -1);
    assert_eq!(rseq::mm_cid(), u32::MAX);
    // SAFETY: the kernel has no area of this thread any more, so the call changes nothing.
    let answer = unsafe { syscall::rseq(area().addr(), length(), RSEQ_FLAG_UNREGISTER, RSEQ_SIG) };
    assert_eq!(answer, Err(EINVAL));
    assert_eq!(counter.read(last), Some(0));
    counter.add(2);
    let in_last = if abi().mode == MODE_GS { 0 } else { 2 };
    assert_eq!(counter.read(last), Some(in_last));
    assert_eq!(
        thread::unregister().map_err(|errno| errno.raw_os_error()),
        Err(EINVAL)
    );
    thread::register().expect("it is unregistered");
    busy();
    counter.add(4);
    assert_eq!(counter.read(last), Some(in_last));
    assert_eq!(counter.sum(), 7);
    println!("by hand");
}

/// A thread that ended left a block that says so; one stack is always kept for reuse.
fn unregistered() {
    let address = thread::spawn(|| area().expose_provenance())
        .expect("a thread")
        .join();
    let ended: *const Rseq = core::ptr::with_exposed_provenance(address);
    // SAFETY: a joined thread's stack stays mapped until the next thread takes it.
    let (cpu, cid) = unsafe {
        (
            (&raw const (*ended).cpu_id).read_volatile(),
            (&raw const (*ended).mm_cid).read_volatile(),
        )
    };
    println!("cpu_id={}", cpu.cast_signed());
    println!("mm_cid={cid}");
}
