// SPDX-License-Identifier: MIT OR Apache-2.0
//! The runtime's own thread-locals, in stable Rust.
#![no_std]
#![no_main]

use core::cell::{Cell, RefCell};

use vcpu_rt::{println, thread};
use vcpu_test_programs::PASSED;

vcpu_rt::entry!(main);

#[repr(align(512))]
struct Aligned(Cell<u64>);

vcpu_rt::thread_local! {
    static NUMBER: Cell<u64> = const { Cell::new(41) };
}
vcpu_rt::thread_local! {
    static LIST: RefCell<[u8; 300]> = const { RefCell::new([7; 300]) };
}
vcpu_rt::thread_local! {
    static ALIGNED: Aligned = const { Aligned(Cell::new(3)) };
}

fn main() -> i32 {
    check(1);
    for round in 0..3 {
        thread::scope(|scope| {
            for index in 0..4 {
                scope
                    .spawn(move || check(10 * (round + 1) + index))
                    .expect("a thread");
            }
        });
    }
    assert_eq!(NUMBER.with(Cell::get), 1, "the threads have their own");
    println!("checked");
    PASSED
}

fn check(mark: u8) {
    assert_eq!(NUMBER.with(|number| number.replace(u64::from(mark))), 41);
    assert!(LIST.with(|list| list.borrow().iter().all(|&byte| byte == 7)));
    LIST.with(|list| list.borrow_mut().fill(mark));
    ALIGNED.with(|aligned| {
        assert_eq!((&raw const *aligned).addr() % 512, 0);
        assert_eq!(aligned.0.replace(u64::from(mark)), 3);
    });
    for _ in 0..10 {
        thread::yield_now();
    }
    assert_eq!(NUMBER.with(Cell::get), u64::from(mark));
    assert!(LIST.with(|list| list.borrow().iter().all(|&byte| byte == mark)));
    assert_eq!(ALIGNED.with(|aligned| aligned.0.get()), u64::from(mark));
}
