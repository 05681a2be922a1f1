// SPDX-License-Identifier: MIT OR Apache-2.0
//! The critical sections that examples/c-slab has of its own.

use core::ffi::c_int;
use core::ptr::null_mut;
use core::sync::atomic::{AtomicBool, Ordering};

use vcpu_rt::vcpu;

use crate::{Operation, Went, went};

unsafe extern "C" {
    safe fn slab_start() -> c_int;
    fn slab_push(class: u32, item: *mut u8) -> u32;
    safe fn slab_pop(class: u32) -> *mut u8;
    fn slab_push_batch(class: u32, items: *const *mut u8, count: u32) -> u32;
    fn slab_pop_batch(class: u32, items: *mut *mut u8, count: u32) -> u32;
    fn slab_drain(area: u32, class: u32, items: *mut *mut u8, count: u32) -> c_int;
    fn c_slab_fill(items: *mut u8, count: u32);
}

/// Nothing is ever read or written there: items are its addresses.
static ITEMS: [u8; 1 << 15] = [0; 1 << 15];

fn item(index: usize) -> *mut u8 {
    ITEMS.as_ptr().cast_mut().wrapping_add(index)
}

/// Each area holds so many items, other ones in each.
fn fill(count: u32) {
    static STARTED: AtomicBool = AtomicBool::new(false);
    if !STARTED.swap(true, Ordering::Relaxed) {
        assert_eq!(slab_start(), 0);
    }
    // SAFETY: started, and the process has one thread.
    unsafe { c_slab_fill(item(0), count) };
}

/// The one area, by its place among them, that holds `items` now; all others what `fill` put there.
fn judge(count: usize, items: &[*mut u8]) -> Went {
    let mut found = None;
    for (place, area) in vcpu::areas().enumerate() {
        let mut held = [null_mut(); 32];
        // SAFETY: room for so many.
        let drained = unsafe { slab_drain(area, 0, held.as_mut_ptr(), 32) };
        let held = &held[..usize::try_from(drained).expect("nobody else is there")];
        if held
            .iter()
            .copied()
            .eq((0..count).map(|index| item(place * count + index)))
        {
            continue;
        }
        assert_eq!(held, items, "in area {area}");
        assert_eq!(found.replace(place), None, "in two areas");
    }
    went(found.expect("in some area"))
}

/// The place of the area that an item was put into.
fn place_of(taken: *mut u8, count: usize) -> usize {
    assert!(!taken.is_null(), "nothing was taken");
    (taken.addr() - item(0).addr()) / count
}

pub const OPERATIONS: [Operation; 4] = [
    ("slab_push", || {
        fill(0);
        // SAFETY: nobody follows the pointer.
        assert_eq!(unsafe { slab_push(0, item(7)) }, 1);
        judge(0, &[item(7)])
    }),
    ("slab_push_batch", || {
        fill(0);
        let items = [item(7), item(5), item(6)];
        // SAFETY: so many items.
        assert_eq!(unsafe { slab_push_batch(0, items.as_ptr(), 3) }, 3);
        judge(0, &items)
    }),
    ("slab_pop", || {
        fill(2);
        let taken = slab_pop(0);
        let place = place_of(taken, 2);
        assert_eq!(taken, item(2 * place + 1), "not the last one");
        let left = judge(2, &[item(2 * place)]);
        assert!(left == went(place), "from another area");
        left
    }),
    ("slab_pop_batch", || {
        fill(3);
        let mut items = [null_mut(); 2];
        // SAFETY: room for so many.
        assert_eq!(unsafe { slab_pop_batch(0, items.as_mut_ptr(), 2) }, 2);
        let place = place_of(items[0], 3);
        assert_eq!(items, [item(3 * place + 1), item(3 * place + 2)]);
        let left = judge(3, &[item(3 * place)]);
        assert!(left == went(place), "from another area");
        left
    }),
];
