// SPDX-License-Identifier: MIT OR Apache-2.0
//! What each operation says, from one thread that stays where it is.

use core::mem::MaybeUninit;
use core::ptr::NonNull;

use linux_raw_sys::general::{__NR_membarrier, __NR_prctl};
use vcpu_rt::{Counter, Errno, Histogram, NotPut, NotTaken, PerVcpu, Snapshot, found, vcpu};
use vcpu_test_programs::syscall::{affinity, pin, processors, syscall};

use crate::targets::{CACHE, CLASSES, ITEMS, Item, Items, SLOTS, Target, item, number};

const NOTHING: Items = [MaybeUninit::uninit(); ITEMS];

/// Stays on one processor, and returns the area of this thread's operations.
fn stay() -> u32 {
    let allowed = affinity();
    pin(processors(&allowed).next().expect("there is one")).expect("it is allowed");
    CACHE.push(0, item(0)).expect("it is empty");
    let holds = |area: &u32| CACHE.held(*area, 0).expect("it exists").0 == 1;
    let area = vcpu::areas().find(holds).expect("it is somewhere");
    CACHE.pop(0).expect("it is there");
    area
}

fn numbers(items: &[NonNull<Item>]) -> impl Iterator<Item = usize> + '_ {
    items.iter().map(|item| number(*item))
}

fn items<const N: usize>(first: usize) -> [NonNull<Item>; N] {
    core::array::from_fn(|index| item(first + index * CLASSES))
}

pub fn counter() {
    let counter = PerVcpu::<Counter>::new().expect("room");
    counter.inc();
    counter.add(41);
    assert_eq!(counter.sum(), 42);
    counter.add(u64::MAX);
    assert_eq!(counter.sum(), 41);
}

pub fn histogram() {
    let histogram = PerVcpu::<Histogram>::new().expect("room");
    assert_eq!(histogram.snapshot().quantile(0.5), None);
    for value in 0..1000 {
        histogram.record(value);
    }
    let first: Snapshot = histogram.snapshot();
    assert_eq!(first.count(), 1000);
    let median = first.quantile(0.5).expect("there are values");
    assert!(median.contains(&499), "{median:?}");
    histogram.record(u64::MAX);
    let since = histogram.snapshot().since(&first);
    assert_eq!(since.count(), 1);
    let (values, count) = since.buckets().next().expect("one");
    assert_eq!((*values.end(), count), (u64::MAX, 1));
}

pub fn stack() {
    let area = stay();
    let (stack, mut taken) = (Target::Stack, NOTHING);
    assert_eq!(stack.pop(0, 1, &mut taken), Err(NotTaken::Empty));
    for number in 0..3 {
        assert_eq!(stack.push(0, &[item(number)]), Ok(1));
    }
    assert_eq!(stack.push(1, &[item(5)]), Ok(1));
    let last = stack.pop(0, 1, &mut taken).expect("it has three");
    assert!(numbers(last).eq([2]));
    let rest = stack.drain(area, 0, &mut taken).expect("nobody is there");
    assert!(numbers(rest).eq([1, 0]));
    assert_eq!(stack.pop(0, 1, &mut taken), Err(NotTaken::Empty));
    let other = stack.pop(1, 1, &mut taken).expect("it has one");
    assert!(numbers(other).eq([5]));
    for area in vcpu::areas() {
        assert_eq!(stack.drain(area, 0, &mut taken), Ok(&[][..]));
    }
    let beyond = found().nr_areas();
    assert_eq!(stack.drain(beyond, 0, &mut taken), Err(Errno::INVAL));
}

pub fn cache() {
    let area = stay();
    let mut taken = NOTHING;
    assert_eq!(CACHE.pop(0), Err(NotTaken::Empty));
    assert_eq!(CACHE.pop(3), Err(NotTaken::Empty));
    // Last in, first out; a batch comes out as it went in.
    CACHE.push(0, item(4)).expect("room");
    CACHE.push(0, item(8)).expect("room");
    assert_eq!(CACHE.push_batch(0, &items::<3>(12)), Ok(3));
    assert_eq!(CACHE.held(area, 0), Some((5, SLOTS)));
    let batch = CACHE.pop_batch(0, &mut taken[..2]).expect("five");
    assert!(numbers(batch).eq([16, 20]));
    assert_eq!(CACHE.pop(0).map(number), Ok(12));
    let batch = CACHE.pop_batch(0, &mut taken).expect("two");
    assert!(numbers(batch).eq([4, 8]));
    assert!(CACHE.pop_batch(0, &mut taken).is_err());
    assert!(
        CACHE
            .pop_batch(0, &mut [])
            .expect("nothing is asked")
            .is_empty()
    );
    assert_eq!(CACHE.push_batch(0, &[]), Ok(0));
    // Up to the capacity, and no further.
    let many = items::<{ SLOTS + 1 }>(1);
    assert_eq!(CACHE.push_batch(1, &many), Ok(SLOTS));
    assert_eq!(CACHE.push(1, many[SLOTS]), Err(NotPut::Full));
    assert_eq!(CACHE.push_batch(1, &many[SLOTS..]), Err(NotPut::Full));
    capacities(area);
    let beyond = found().nr_areas();
    assert_eq!(CACHE.drain(beyond, 0, &mut taken), Err(Errno::INVAL));
    assert_eq!(CACHE.held(beyond, 0), None);
    // A class that nobody used yet.
    assert!(
        CACHE
            .resize(area, 2, 1, &mut [])
            .expect("it is empty")
            .is_empty()
    );
    assert_eq!(CACHE.push_batch(2, &items::<2>(2)), Ok(1));
    assert_eq!(CACHE.pop(2).map(number), Ok(2));
    assert_eq!(CACHE.pop(2), Err(NotTaken::Empty));
}

/// Class 1 is full in that area.
fn capacities(area: u32) {
    let mut taken = NOTHING;
    let too_many = CACHE.resize(area, 1, SLOTS + 1, &mut taken);
    assert_eq!(too_many.err(), Some(Errno::INVAL));
    let too_few = CACHE.resize(area, 1, 3, &mut taken[..SLOTS - 4]);
    assert_eq!(too_few.err(), Some(Errno::NOBUFS));
    assert_eq!(CACHE.held(area, 1), Some((SLOTS, SLOTS)));
    let excess = CACHE.resize(area, 1, 3, &mut taken).expect("room");
    let last = 1 + 3 * CLASSES;
    assert!(numbers(excess).eq((last..).step_by(CLASSES).take(SLOTS - 3)));
    assert_eq!(CACHE.held(area, 1), Some((3, 3)));
    assert_eq!(CACHE.push(1, item(last)), Err(NotPut::Full));
    assert_eq!(CACHE.pop(1).map(number), Ok(1 + 2 * CLASSES));
    assert_eq!(CACHE.push(1, item(last)), Ok(()));
    // A drain takes the last, as many as it is asked for.
    let drained = CACHE.drain(area, 1, &mut taken[..1]).expect("three");
    assert!(numbers(drained).eq([last]));
    let none = CACHE.resize(area, 1, 0, &mut taken).expect("room");
    assert!(numbers(none).eq([1, 1 + CLASSES]));
    assert_eq!(CACHE.push(1, item(1)), Err(NotPut::Full));
    assert_eq!(CACHE.pop(1), Err(NotTaken::Empty));
    assert!(
        CACHE
            .resize(area, 1, SLOTS, &mut [])
            .expect("room")
            .is_empty()
    );
    assert_eq!(CACHE.push_batch(1, &items::<4>(1)), Ok(4));
}

/// Without the fence, by `errno`: the sandbox's own, or EPERM by a filter from here on. What is inside
/// stays, and the vCPU's own operations go on.
pub fn refused(target: Target, errno: usize) {
    const EPERM: usize = 1;
    let area = stay();
    if errno == EPERM {
        deny_membarrier();
    }
    let errno = Errno::from_raw_os_error(errno as i32);
    let mut taken = NOTHING;
    for number in [0, 4] {
        assert_eq!(target.push(0, &[item(number)]), Ok(1));
    }
    let mut refusals = 0;
    for each in vcpu::areas() {
        // Where no section runs, none needs a fence.
        if each == found().nr_vcpus() {
            assert_eq!(target.drain(each, 0, &mut taken), Ok(&[][..]));
            continue;
        }
        assert_eq!(target.drain(each, 0, &mut taken), Err(errno));
        if target == Target::Cache {
            assert_eq!(target.resize(each, 0, 0, &mut taken), Err(errno));
            let held = usize::from(each == area) * 2;
            assert_eq!(CACHE.held(each, 0), Some((held, SLOTS)));
        }
        refusals += 1;
    }
    assert!(refusals > 0);
    assert_eq!(target.push(0, &[item(8)]), Ok(1));
    for expected in [8, 4, 0] {
        let item = target.pop(0, 1, &mut taken).expect("there are three");
        assert!(numbers(item).eq([expected]));
    }
    assert_eq!(target.pop(0, 1, &mut taken), Err(NotTaken::Empty));
}

/// A seccomp filter that answers EPERM to membarrier(2).
fn deny_membarrier() {
    const PR_SET_NO_NEW_PRIVS: usize = 38;
    const PR_SET_SECCOMP: usize = 22;
    const SECCOMP_MODE_FILTER: usize = 2;
    // struct sock_filter: BPF_LD|BPF_W|BPF_ABS, BPF_JMP|BPF_JEQ|BPF_K, BPF_RET|BPF_K (twice).
    let filter: [(u16, u8, u8, u32); 4] = [
        (0x20, 0, 0, 0),
        (0x15, 0, 1, __NR_membarrier),
        (0x06, 0, 0, 0x0005_0000 | 1),
        (0x06, 0, 0, 0x7fff_0000),
    ];
    let filter = filter.map(|(code, yes, no, value)| {
        u64::from(code) | u64::from(yes) << 16 | u64::from(no) << 24 | u64::from(value) << 32
    });
    // struct sock_fprog: the length, and a pointer at offset 8.
    let program = [filter.len(), filter.as_ptr().expose_provenance()];
    let program = program.as_ptr();
    // SAFETY: integers only.
    let answer = unsafe { syscall(__NR_prctl, [PR_SET_NO_NEW_PRIVS, 1, 0, 0]) };
    answer.expect("it has no errors");
    let arguments = [
        PR_SET_SECCOMP,
        SECCOMP_MODE_FILTER,
        program.expose_provenance(),
        0,
    ];
    // SAFETY: the kernel reads a struct sock_fprog and its filter.
    unsafe { syscall(__NR_prctl, arguments) }.expect("the filter is well formed");
}
