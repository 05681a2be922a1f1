// SPDX-License-Identifier: MIT OR Apache-2.0
//! A program with `alloc`: the global allocator is its own, a bump allocator over static memory.
#![no_std]
#![no_main]

extern crate alloc;

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::alloc::{GlobalAlloc, Layout};
use core::cell::UnsafeCell;
use core::ptr::null_mut;
use core::sync::atomic::{AtomicUsize, Ordering};

use vcpu_rt::{env, println, thread};
use vcpu_test_programs::PASSED;

vcpu_rt::entry!(main);

const BYTES: usize = 1 << 20;

/// Hands out memory in order and never takes it back.
#[repr(align(4096))]
struct Bump {
    memory: UnsafeCell<[u8; BYTES]>,
    used: AtomicUsize,
}

// SAFETY: ranges of the memory are handed out once, by an atomic counter.
unsafe impl Sync for Bump {}

// SAFETY: each answer is an aligned range within the memory that no other answer overlaps.
unsafe impl GlobalAlloc for Bump {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let place = |used: usize| {
            let start = used.checked_next_multiple_of(layout.align())?;
            start.checked_add(layout.size()).filter(|&end| end <= BYTES)
        };
        match self
            .used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, place)
        {
            // SAFETY: the rounded start is within the memory, because the end is.
            Ok(used) => unsafe {
                self.memory
                    .get()
                    .cast::<u8>()
                    .add(used.next_multiple_of(layout.align()))
            },
            Err(_) => null_mut(),
        }
    }

    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
}

#[global_allocator]
static ALLOCATOR: Bump = Bump {
    memory: UnsafeCell::new([0; BYTES]),
    used: AtomicUsize::new(0),
};

fn main() -> i32 {
    let words: Vec<String> = env::args()
        .map(|word| String::from_utf8_lossy(word.to_bytes()).into_owned())
        .collect();
    let mut lengths = BTreeMap::new();
    for word in &words[1..] {
        *lengths.entry(word.len()).or_insert(0) += 1;
    }
    let shouted = words[1..].join(" ").to_uppercase();
    let doubled = thread::spawn(move || alloc::format!("{shouted} {shouted}")).expect("a thread");
    println!("doubled={}", doubled.join());
    println!("lengths={lengths:?}");
    PASSED
}
