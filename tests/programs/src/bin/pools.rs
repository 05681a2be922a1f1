// SPDX-License-Identifier: MIT OR Apache-2.0
//! Objects allocated and freed by one thread, scenario by scenario; see `main`.
#![no_std]
#![no_main]

use core::ptr;

use linux_raw_sys::general as nr;
use vcpu_rt::process::{Fork, exit_group, fork};
use vcpu_rt::{Errno, areas, found, println};
use vcpu_test_programs::PASSED;
use vcpu_test_programs::arguments::{number, word};
use vcpu_test_programs::pools::{Allocated, Numbers};
use vcpu_test_programs::syscall::{affinity, pin, processors, syscall};

vcpu_rt::entry!(main);

const MOST: usize = 256;

fn main() -> i32 {
    match word(1) {
        "grow" => grow(number(2)),
        "reuse" => reuse(),
        "zeroed" => zeroed(),
        "errors" => errors(),
        "idle" => idle(),
        "statistics" => statistics(),
        "discard" => discard(),
        "fork" => in_a_fork_child(),
        other => panic!("what is {other}?"),
    }
    PASSED
}

fn alloc(size: usize, align: usize) -> Allocated {
    Allocated::new(size, align).expect("there is room")
}

fn free(object: Allocated) {
    // SAFETY: this program has one thread, and forgets the object here.
    unsafe { object.free() }.expect("it is allocated");
}

fn fill(object: &Allocated, byte: u8) {
    // SAFETY: one thread, and an object that is allocated.
    unsafe { object.fill(byte) };
}

fn is_full_of(object: &Allocated, byte: u8) -> bool {
    // SAFETY: as above.
    unsafe { object.is_full_of(byte) }
}

fn pools() -> usize {
    areas::statistics().expect("there are areas").pools
}

/// Objects as large as an area: a pool each. Freed, the same places serve the same requests.
fn grow(count: usize) {
    let stride = found().reservation().stride as usize;
    let mut places = [[0; MOST]; 2];
    for (round, places) in places.iter_mut().enumerate() {
        let mut objects = [None; MOST];
        for (index, object) in objects.iter_mut().enumerate().take(count) {
            let allocated = alloc(stride, areas::MAX_ALIGN);
            assert!(is_full_of(&allocated, 0), "round {round}, object {index}");
            fill(&allocated, index as u8 + 1);
            *object = Some(allocated);
        }
        assert_eq!(pools(), count);
        for (index, object) in objects.iter().flatten().enumerate() {
            assert!(is_full_of(object, index as u8 + 1), "object {index}");
            places[index] = object.first.addr();
            free(*object);
        }
        places.sort_unstable();
    }
    assert_eq!(places[0], places[1]);
    println!("pools={}", pools());
}

/// Objects of many sizes; every other one is freed, and the holes serve again.
fn reuse() {
    let mut numbers = Numbers(1);
    let mut objects = [None; MOST];
    for object in &mut objects {
        let align = 1 << numbers.below(9);
        *object = Some((alloc(1 + numbers.below(5000), align), align));
    }
    let before = areas::statistics().expect("there are areas");
    for (object, align) in objects.iter().flatten().step_by(2) {
        free(*object);
        let again = alloc(object.size, *align);
        assert_eq!(again.first, object.first, "the one hole of this size");
    }
    assert_eq!(areas::statistics(), Ok(before));
    for (object, _) in objects.iter().flatten().step_by(2) {
        free(*object);
    }
    for (object, align) in objects.iter().flatten().step_by(2) {
        alloc(object.size, *align);
    }
    assert_eq!(pools(), before.pools);
    println!("pools={}", before.pools);
}

/// Whatever was written, and on whichever processor, the next owner finds zeroes.
fn zeroed() {
    let stride = found().reservation().stride as usize;
    let mut numbers = Numbers(2);
    for round in 0..8 {
        for cpu in processors(&affinity()) {
            pin(cpu).expect("it is allowed");
            for size in [1, 8, 16, 17, 4096, 5000, 65_536, 70_000, stride] {
                // Beside it others live, which nothing of this may touch.
                let neighbour = alloc(16 + numbers.below(64), 1);
                fill(&neighbour, 0xaa);
                let object = alloc(size.min(stride), 1 << numbers.below(13));
                assert!(is_full_of(&object, 0), "{size} bytes, round {round}");
                fill(&object, 0x55);
                free(object);
                assert!(is_full_of(&neighbour, 0xaa));
                free(neighbour);
            }
        }
    }
    assert_eq!(areas::statistics().expect("there are areas").objects, 0);
    println!("zeroed");
}

/// A copy that was never touched stays so: reuse does not even read it.
fn idle() {
    let stride = found().reservation().stride as usize;
    let last = found().nr_areas() - 1;
    for size in [16, 5000, 100_000, stride] {
        let object = alloc(size, 1);
        // SAFETY: one thread.
        let first = unsafe { object.copy(0) };
        first.fill(1);
        free(object);
        let again = alloc(size, 1);
        assert_eq!(again.first, object.first);
        assert!(first.iter().all(|&byte| byte == 0));
        free(again);
        for area in [1, last] {
            assert_eq!(areas::resident(area), Ok(0), "{size} bytes, area {area}");
        }
    }
    println!("idle");
}

fn errors() {
    let stride = found().reservation().stride as usize;
    for (size, align) in [
        (0, 1),
        (stride + 1, 1),
        (usize::MAX, 1),
        (8, 0),
        (8, 3),
        (8, 8192),
    ] {
        assert_eq!(
            areas::alloc(size, align),
            Err(Errno::INVAL),
            "{size} {align}"
        );
    }
    let (one, two) = (alloc(32, 1), alloc(32, 1));
    assert_eq!(two.first.addr(), one.first.addr() + 32);
    fill(&one, 1);
    fill(&two, 2);
    let before = areas::statistics();
    let mut on_the_stack = [0_u64; 2];
    let at = |offset: usize| one.first.wrapping_add(offset);
    for (what, place, size) in [
        ("null", ptr::null_mut(), 32),
        ("the stack", on_the_stack.as_mut_ptr().cast(), 16),
        (
            "the end of memory",
            ptr::without_provenance_mut(usize::MAX - 15),
            16,
        ),
        (
            "before the areas",
            at(0_usize.wrapping_sub(one.first.addr() % 4096 + 16)),
            16,
        ),
        ("no unit", at(8), 16),
        ("the middle", at(16), 16),
        ("the middle, to the next one's end", at(16), 48),
        ("another vCPU's copy", at(stride), 32),
        (
            "the last area's copy",
            at(stride * (found().nr_areas() as usize - 1)),
            32,
        ),
        (
            "behind the areas",
            at(stride * found().nr_areas() as usize),
            32,
        ),
        ("too small", at(0), 16),
        ("nothing", at(0), 0),
        ("too large", at(0), 33),
        ("both", at(0), 64),
        ("all", at(0), stride),
        ("more than all", at(0), usize::MAX),
        ("never allocated", at(64), 16),
    ] {
        // SAFETY: refused, which is what this is about.
        let (freed, discarded) =
            unsafe { (areas::free(place, size), areas::discard(place, size, 0)) };
        assert_eq!(freed, Err(Errno::INVAL), "{what}");
        assert_eq!(discarded, Err(Errno::INVAL), "{what}");
        assert_eq!(areas::statistics(), before, "{what}");
    }
    // SAFETY: one thread.
    let no_area = unsafe { areas::discard(one.first, 32, found().nr_areas()) };
    assert_eq!(no_area, Err(Errno::INVAL));
    assert_eq!(areas::resident(found().nr_areas()), Err(Errno::INVAL));
    assert!(is_full_of(&one, 1) && is_full_of(&two, 2));
    free(one);
    // SAFETY: refused.
    assert_eq!(unsafe { one.free() }, Err(Errno::INVAL), "double free");
    assert!(is_full_of(&two, 2));
    free(two);
    println!("errors");
}

fn statistics() {
    let empty = areas::statistics().expect("there are areas");
    assert_eq!((empty.pools, empty.objects, empty.used), (1, 0, 0));
    assert_eq!(empty.stride, found().reservation().stride);
    assert_eq!(empty.nr_areas, found().nr_areas());
    assert_eq!(empty.free, empty.stride);
    let areas_bytes = empty.stride * u64::from(empty.nr_areas);
    assert!((areas_bytes..areas_bytes + empty.stride.max(8192)).contains(&empty.address_space));
    let large = alloc(empty.stride as usize, 1);
    let small = alloc(17, 1);
    let full = areas::statistics().expect("there are areas");
    assert_eq!((full.pools, full.objects), (2, 2));
    assert_eq!(full.used, empty.stride + 32);
    assert_eq!(full.free, empty.stride - 32);
    assert_eq!(full.address_space, 2 * empty.address_space);
    let last = found().nr_areas() - 1;
    assert_eq!(areas::resident(last), Ok(0));
    // SAFETY: one thread.
    unsafe {
        large.copy(last)[0] = 1;
        large.copy(last)[large.size - 1] = 1;
        small.copy(last)[0] = 1;
    }
    let pages = if large.size > 4096 { 3 } else { 2 };
    assert_eq!(areas::resident(last), Ok(pages * 4096));
    free(large);
    free(small);
    println!("statistics");
}

/// What it takes away is the object's alone, and one area's.
fn discard() {
    let neighbours = [alloc(48, 1), alloc(100_000, 1), alloc(48, 1)];
    for object in &neighbours {
        fill(object, 7);
    }
    let [before, object, behind] = neighbours;
    let resident = areas::resident(1).expect("it exists");
    // SAFETY: one thread.
    unsafe { areas::discard(object.first, object.size, 1) }.expect("it is allocated");
    // 24 whole pages of 100,000 bytes that begin at 48.
    assert_eq!(areas::resident(1), Ok(resident - 23 * 4096));
    for area in found().used_areas() {
        let expected = if area == 1 { 0 } else { 7 };
        // SAFETY: one thread.
        let copy = unsafe { object.copy(area) };
        assert!(copy.iter().all(|&byte| byte == expected), "area {area}");
    }
    assert!(is_full_of(&before, 7) && is_full_of(&behind, 7));
    neighbours.into_iter().for_each(free);
    println!("discard");
}

/// A child has its own copies of everything: what it frees and where it grows is its own.
fn in_a_fork_child() {
    let stride = found().reservation().stride as usize;
    let objects = [alloc(100, 1), alloc(stride, 1), alloc(100, 1)];
    objects.iter().for_each(|object| fill(object, 9));
    // SAFETY: one thread.
    let child = match unsafe { fork() }.expect("a child") {
        Fork::Child => {
            let [first, second, third] = objects;
            assert!(is_full_of(&second, 9));
            free(first);
            free(second);
            let again = alloc(stride, 1);
            assert_eq!(again.first, second.first);
            assert!(is_full_of(&again, 0));
            let more = alloc(stride, 1);
            fill(&more, 3);
            fill(&again, 4);
            assert!(is_full_of(&third, 9) && is_full_of(&more, 3));
            assert_eq!(pools(), 3);
            exit_group(PASSED)
        }
        Fork::Parent(child) => child,
    };
    let mut status = 0_i32;
    let place = (&raw mut status).expose_provenance();
    // SAFETY: the kernel writes one int.
    unsafe { syscall(nr::__NR_wait4, [child as usize, place, 0, 0]) }.expect("it is ours");
    assert_eq!(status, PASSED << 8);
    assert!(objects.iter().all(|object| is_full_of(object, 9)));
    assert_eq!(pools(), 2);
    objects.into_iter().for_each(free);
    println!("fork");
}
