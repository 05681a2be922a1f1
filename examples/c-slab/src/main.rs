// SPDX-License-Identifier: MIT OR Apache-2.0
//! A C library's per-vCPU cache of pointers under a storm of threads, one of which is not registered,
//! while another drains all areas: in the end each item is somewhere once.
#![cfg_attr(not(test), no_std)]
#![cfg_attr(not(test), no_main)]

use core::ffi::c_int;
use core::ptr::null_mut;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use vcpu_rt::{eprintln, println, rseq, thread, vcpu};

vcpu_rt::entry!(main);

/// What the cache holds the addresses of.
#[repr(transparent)]
struct Item {
    /// Whether a thread has it. It must be false in the cache, true outside.
    is_taken: AtomicBool,
}

static ITEMS: [Item; COUNT] = [const {
    Item {
        is_taken: AtomicBool::new(true),
    }
}; COUNT];

const COUNT: usize = 96;
const THREADS: usize = 16;
const TURNS: usize = 50_000;
const CLASSES: u32 = 8;
const BATCH: usize = 8;
const EBUSY: c_int = -16;

unsafe extern "C" {
    safe fn slab_start() -> c_int;
    fn slab_push(class: u32, item: *mut Item) -> u32;
    safe fn slab_pop(class: u32) -> *mut Item;
    fn slab_push_batch(class: u32, items: *const *mut Item, count: u32) -> u32;
    fn slab_pop_batch(class: u32, items: *mut *mut Item, count: u32) -> u32;
    fn slab_drain(area: u32, class: u32, items: *mut *mut Item, count: u32) -> c_int;
    safe fn slab_areas() -> u32;
    safe fn slab_next_area(area: u32) -> u32;
}

/// Items that a thread has in hand.
struct Hand {
    items: [*mut Item; COUNT],
    count: usize,
}

/// What is found wrong.
static WRONG: AtomicU64 = AtomicU64::new(0);
static DRAINED: AtomicU64 = AtomicU64::new(0);
static POPPED: AtomicU64 = AtomicU64::new(0);

fn main() -> i32 {
    let status = slab_start();
    if status != 0 {
        eprintln!(
            "c-slab: the C library got no per-vCPU memory: errno {}",
            -status
        );
        return 1;
    }
    let is_over = AtomicBool::new(false);
    let mut started = 0;
    thread::scope(|scope| {
        let mut workers = [const { None }; THREADS];
        for (index, worker) in workers.iter_mut().enumerate() {
            match scope.spawn(move || work(index)) {
                Ok(handle) => {
                    *worker = Some(handle);
                    started += 1;
                }
                Err(error) => eprintln!("c-slab: {error}"),
            }
        }
        let drainer = scope.spawn(|| drain_until(&is_over));
        workers
            .into_iter()
            .flatten()
            .for_each(|worker| worker.join());
        is_over.store(true, Ordering::Relaxed);
        if let Ok(drainer) = drainer {
            drainer.join();
        }
    });
    // All that is still there: exactly what nobody has.
    let mut hand = Hand::EMPTY;
    hand.drain_all();
    let taken = ITEMS
        .iter()
        .filter(|item| item.is_taken.load(Ordering::Relaxed));
    let (taken, wrong) = (taken.count(), WRONG.load(Ordering::Relaxed));
    let (popped, drained) = (
        POPPED.load(Ordering::Relaxed),
        DRAINED.load(Ordering::Relaxed),
    );
    println!(
        "mode {:?}: {taken} of {COUNT} items, {wrong} wrong, {popped} popped, {drained} drained",
        vcpu::current_mode()
    );
    i32::from(taken != COUNT || wrong != 0 || started != THREADS || popped == 0 || drained == 0)
}

impl Hand {
    const EMPTY: Self = Self {
        items: [null_mut(); COUNT],
        count: 0,
    };

    /// Takes what the cache gave: an item that nobody else has.
    fn take(&mut self, item: *mut Item) {
        // SAFETY: only addresses of the static array are put there.
        let item_is_taken = unsafe { &(*item).is_taken };
        if item_is_taken.swap(true, Ordering::Relaxed) || self.count == COUNT {
            WRONG.fetch_add(1, Ordering::Relaxed);
            return;
        }
        self.items[self.count] = item;
        self.count += 1;
    }

    /// Gives items from the end on to `put`, which says how many it kept from the first on.
    fn put(&mut self, count: usize, put: impl FnOnce(&[*mut Item]) -> usize) {
        let start = self.count - count.min(self.count);
        let items = &self.items[start..self.count];
        for item in items {
            // SAFETY: as above. Before it is there: who pops it finds it so.
            unsafe { (**item).is_taken.store(false, Ordering::Relaxed) };
        }
        let kept = put(items);
        for item in &items[kept..] {
            // SAFETY: as above.
            unsafe { (**item).is_taken.store(true, Ordering::Relaxed) };
        }
        self.items.copy_within(start + kept..self.count, start);
        self.count -= kept;
    }

    /// Drains every class of every area, what is busy again.
    fn drain_all(&mut self) {
        let mut area = 0;
        while area < slab_areas() {
            for class in 0..CLASSES {
                let mut items = [null_mut(); 32];
                // SAFETY: room for so many.
                let drained = unsafe { slab_drain(area, class, items.as_mut_ptr(), 32) };
                match usize::try_from(drained) {
                    Ok(drained) => items[..drained].iter().for_each(|item| self.take(*item)),
                    Err(_) if drained == EBUSY => {}
                    Err(_) => _ = WRONG.fetch_add(1, Ordering::Relaxed),
                }
            }
            area = slab_next_area(area);
        }
    }
}

/// Drains, and puts back what came of it.
fn drain_until(is_over: &AtomicBool) {
    let mut hand = Hand::EMPTY;
    let mut turn = 0;
    while !is_over.load(Ordering::Relaxed) {
        hand.drain_all();
        DRAINED.fetch_add(hand.count as u64, Ordering::Relaxed);
        while hand.count > 0 && !is_over.load(Ordering::Relaxed) {
            turn += 1;
            hand.push(turn);
        }
        thread::yield_now();
    }
    hand.give_back();
}

impl Hand {
    /// Puts one item, or several, into a class.
    fn push(&mut self, turn: usize) {
        let class = turn as u32 % CLASSES;
        if turn.is_multiple_of(3) {
            // SAFETY: items of the static array, so many as the slice has.
            self.put(BATCH, |items| unsafe {
                slab_push_batch(class, items.as_ptr(), items.len() as u32) as usize
            });
        } else {
            self.put(1, |items| match items {
                // SAFETY: an item of the static array.
                [item] => unsafe { slab_push(class, *item) as usize },
                _ => 0,
            });
        }
    }

    /// Puts all into the cache, whichever class has room: there are fewer items than one area has room
    /// for, and nobody is busy for long.
    fn give_back(&mut self) {
        let mut turn = 0;
        while self.count > 0 {
            turn += 1;
            self.push(turn);
        }
    }
}

/// Takes and gives.
fn work(index: usize) {
    if index == 0 && rseq::is_registered() {
        // It uses the last area.
        let _is_registered_at_worst = thread::unregister();
    }
    let mut hand = Hand::EMPTY;
    // Its share of the items, to begin with.
    for item in ITEMS.iter().skip(index).step_by(THREADS) {
        hand.items[hand.count] = (&raw const *item).cast_mut();
        hand.count += 1;
    }
    for turn in 0..TURNS {
        hand.push(turn + index);
        let class = (turn / 2) as u32 % CLASSES;
        let before = hand.count;
        if turn % 3 == 1 {
            let mut items = [null_mut(); BATCH];
            // SAFETY: room for so many.
            let count = unsafe { slab_pop_batch(class, items.as_mut_ptr(), BATCH as u32) };
            items[..count as usize]
                .iter()
                .for_each(|item| hand.take(*item));
        } else {
            let item = slab_pop(class);
            if !item.is_null() {
                hand.take(item);
            }
        }
        POPPED.fetch_add((hand.count - before) as u64, Ordering::Relaxed);
    }
    hand.give_back();
}
