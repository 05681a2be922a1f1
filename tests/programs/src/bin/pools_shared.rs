// SPDX-License-Identifier: MIT OR Apache-2.0
//! Objects allocated and freed by several at once, scenario by scenario; see `main`.
#![no_std]
#![no_main]

use core::ffi::{c_int, c_void};
use core::sync::atomic::{AtomicUsize, Ordering};

use linux_raw_sys::general as nr;
use vcpu_rt::process::{Fork, exit_group, fork};
use vcpu_rt::{Errno, areas, found, println, thread};
use vcpu_test_programs::PASSED;
use vcpu_test_programs::arguments::{number, word};
use vcpu_test_programs::pools::{Allocated, Numbers, status_kib};
use vcpu_test_programs::signal::{alarm_every, at_every_instruction, on_alarm};
use vcpu_test_programs::syscall::{sched_yield, syscall};

vcpu_rt::entry!(main);

fn main() -> i32 {
    match word(1) {
        "oracle" => oracle(number(2), number(3)),
        "storm" => storm(number(2)),
        "step" => step(number(2)),
        "race" => race(number(2)),
        "grow" => grow(number(2)),
        "fork" => fork_meanwhile(number(2)),
        other => panic!("what is {other}?"),
    }
    PASSED
}

/// Objects of one owner: he fills what he gets with his own byte, and whoever else had it too would
/// find that, or spoil it.
struct Owner {
    objects: [Option<Allocated>; 24],
    numbers: Numbers,
    byte: u8,
    allocated: usize,
}

impl Owner {
    const fn new(byte: u8) -> Self {
        Self {
            objects: [None; 24],
            numbers: Numbers(byte as u32),
            byte,
            allocated: 0,
        }
    }

    /// Frees one of his objects, or allocates one, small or large.
    fn step(&mut self) {
        let largest = found().reservation().stride as usize;
        let place = self.numbers.below(self.objects.len());
        if let Some(object) = self.objects[place].take() {
            // SAFETY: his own object, which nobody else knows of.
            unsafe {
                assert!(object.is_full_of(self.byte), "somebody else wrote there");
                object.free().expect("it is allocated");
            }
            return;
        }
        let bound = if self.numbers.below(8) == 0 {
            3000
        } else {
            200
        };
        let size = (1 + self.numbers.below(bound)).min(largest);
        let object = match Allocated::new(size, 1 << self.numbers.below(9)) {
            Ok(object) => object,
            Err(errno) => panic!("{size} bytes: {errno}"),
        };
        // SAFETY: as above.
        unsafe {
            assert!(object.is_full_of(0), "not zeroed");
            object.fill(self.byte);
        }
        self.objects[place] = Some(object);
        self.allocated += 1;
    }

    fn end(&mut self) -> usize {
        for object in &mut self.objects {
            if let Some(object) = object.take() {
                // SAFETY: as in `step`.
                unsafe {
                    assert!(object.is_full_of(self.byte), "somebody else wrote there");
                    object.free().expect("it is allocated");
                }
            }
        }
        self.allocated
    }
}

/// Nothing is left behind: neither objects, nor units that nobody owns.
fn assert_empty() {
    let statistics = areas::statistics().expect("there are areas");
    assert_eq!((statistics.objects, statistics.used), (0, 0));
}

fn oracle(threads: usize, steps: usize) {
    let allocated = AtomicUsize::new(0);
    thread::scope(|scope| {
        for index in 0..threads {
            let allocated = &allocated;
            let work = move || {
                let mut owner = Owner::new(index as u8 + 1);
                (0..steps).for_each(|_| owner.step());
                allocated.fetch_add(owner.end(), Ordering::Relaxed);
            };
            scope.spawn(work).expect("a thread");
        }
    });
    assert_empty();
    println!("allocated={}", allocated.into_inner());
    println!(
        "pools={}",
        areas::statistics().expect("there are areas").pools
    );
}

static mut HANDLER: Owner = Owner::new(0xee);
static HANDLED: AtomicUsize = AtomicUsize::new(0);

unsafe extern "C" fn handler(_: c_int, _: *mut c_void, _: *mut c_void) {
    let owner = &raw mut HANDLER;
    // SAFETY: the signal is blocked in its own handler, and the program has one thread.
    unsafe { (*owner).step() };
    HANDLED.fetch_add(1, Ordering::Relaxed);
}

/// A handler that allocates and frees, by a timer, in the middle of the same in the program.
fn storm(signals: usize) {
    let mut owner = Owner::new(0x11);
    // SAFETY: the handler does what may be done between any two instructions, as this shows.
    unsafe { on_alarm(handler) };
    alarm_every(50);
    while HANDLED.load(Ordering::Relaxed) < signals {
        owner.step();
    }
    alarm_every(0);
    end_both(&mut owner);
}

/// The same after every single instruction of allocations and frees, of one word and of several.
fn step(steps: usize) {
    let mut objects = [None; 8];
    let work = || {
        for index in 0..steps {
            let place = &mut objects[index % 8];
            *place = match *place {
                None => Some(Allocated::new(1 + 1200 * (index % 2), 16).expect("there is room")),
                Some(object) => {
                    let Allocated { first, size } = object;
                    // SAFETY: its own object: nobody else writes there.
                    unsafe {
                        assert_eq!(first.read(), 0, "somebody else wrote there");
                        areas::free(first, size).expect("it is allocated");
                    }
                    None
                }
            };
        }
    };
    // SAFETY: as above.
    unsafe { at_every_instruction(handler, work) };
    // An allocation or a free is more than 50 instructions.
    assert!(HANDLED.load(Ordering::Relaxed) > 50 * steps);
    for object in objects.into_iter().flatten() {
        // SAFETY: its own object.
        unsafe { object.free() }.expect("it is allocated");
    }
    end_both(&mut Owner::new(0x11));
}

fn end_both(owner: &mut Owner) {
    let handlers = &raw mut HANDLER;
    println!("handled={}", HANDLED.load(Ordering::Relaxed));
    println!("allocated={}", owner.end());
    // SAFETY: there are no signals any more.
    println!("allocated_in_handlers={}", unsafe { (*handlers).end() });
    assert_empty();
}

/// Two threads free one object at the same time, and a third one does so with a wrong size.
fn race(rounds: usize) {
    static OBJECT: AtomicUsize = AtomicUsize::new(0);
    static ARRIVED: AtomicUsize = AtomicUsize::new(0);
    static WON: AtomicUsize = AtomicUsize::new(0);
    const THREADS: usize = 3;
    const SIZES: [usize; THREADS] = [100, 100, 80];
    fn meet(count: usize) {
        ARRIVED.fetch_add(1, Ordering::AcqRel);
        for tries in 0_usize.. {
            if ARRIVED.load(Ordering::Acquire) >= count {
                break;
            }
            if tries > 64 {
                sched_yield();
            }
        }
    }
    thread::scope(|scope| {
        for (index, size) in SIZES.into_iter().enumerate() {
            let work = move || {
                for round in 0..rounds {
                    if index == 0 {
                        let object = areas::alloc(SIZES[0], 8).expect("there is room");
                        OBJECT.store(object.as_ptr().expose_provenance(), Ordering::Release);
                    }
                    meet((2 * round + 1) * THREADS);
                    let place = OBJECT.load(Ordering::Acquire);
                    let object = core::ptr::with_exposed_provenance_mut(place);
                    // SAFETY: nobody uses it; that only one of them frees it is what this is about.
                    match unsafe { areas::free(object, size) } {
                        Ok(()) => {
                            assert_eq!(size, SIZES[0], "the wrong size was right");
                            WON.fetch_add(1, Ordering::Relaxed);
                        }
                        Err(errno) => assert_eq!(errno, Errno::INVAL),
                    }
                    meet((2 * round + 2) * THREADS);
                    assert_eq!(WON.load(Ordering::Relaxed), round + 1);
                }
            };
            scope.spawn(work).expect("a thread");
        }
    });
    assert_empty();
    println!("won={}", WON.load(Ordering::Relaxed));
}

/// All threads find no room at once: each gets its own pool, and no other mapping stays.
fn grow(threads: usize) {
    static ARRIVED: AtomicUsize = AtomicUsize::new(0);
    static LEAVE: AtomicUsize = AtomicUsize::new(0);
    const EACH: usize = 8;
    let stride = found().reservation().stride as usize;
    let mut address_space = 0;
    thread::scope(|scope| {
        for index in 0..threads {
            let work = move || {
                ARRIVED.fetch_add(1, Ordering::AcqRel);
                while LEAVE.load(Ordering::Acquire) == 0 {
                    sched_yield();
                }
                let byte = index as u8 + 1;
                let objects = [(); EACH].map(|()| {
                    let object = Allocated::new(stride, 1).expect("there is address space");
                    // SAFETY: its own object.
                    unsafe { object.fill(byte) };
                    object
                });
                for object in objects {
                    // SAFETY: as above.
                    assert!(unsafe { object.is_full_of(byte) });
                }
            };
            scope.spawn(work).expect("a thread");
        }
        while ARRIVED.load(Ordering::Acquire) < threads {
            sched_yield();
        }
        address_space = status_kib("VmSize");
        LEAVE.store(1, Ordering::Release);
    });
    let statistics = areas::statistics().expect("there are areas");
    assert_eq!(statistics.pools, threads * EACH);
    let pool_kib = statistics.address_space as usize / statistics.pools / 1024;
    // What the threads have may have gone meanwhile, so it may be less.
    let more = status_kib("VmSize").saturating_sub(address_space);
    assert!(more <= (statistics.pools - 1) * pool_kib, "{more} KiB");
    println!("pools={}", statistics.pools);
}

/// Children that are made while other threads allocate and free can do so too.
fn fork_meanwhile(children: usize) {
    static LEAVE: AtomicUsize = AtomicUsize::new(0);
    thread::scope(|scope| {
        for index in 0..3 {
            let work = move || {
                let mut owner = Owner::new(index + 1);
                while LEAVE.load(Ordering::Acquire) == 0 {
                    owner.step();
                }
                owner.end();
            };
            scope.spawn(work).expect("a thread");
        }
        for _ in 0..children {
            let mut owner = Owner::new(0xcc);
            (0..20).for_each(|_| owner.step());
            // SAFETY: the child uses what may be used in a signal handler.
            let child = match unsafe { fork() }.expect("a child") {
                Fork::Child => {
                    (0..200).for_each(|_| owner.step());
                    owner.end();
                    exit_group(PASSED)
                }
                Fork::Parent(child) => child,
            };
            let mut status = 0_i32;
            let place = (&raw mut status).expose_provenance();
            // SAFETY: the kernel writes one int.
            unsafe { syscall(nr::__NR_wait4, [child as usize, place, 0, 0]) }.expect("ours");
            assert_eq!(status, PASSED << 8);
            owner.end();
        }
        LEAVE.store(1, Ordering::Release);
    });
    assert_empty();
    println!("children={children}");
}
