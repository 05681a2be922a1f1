// SPDX-License-Identifier: MIT OR Apache-2.0
//! Operations over several words: librseq's set, the pair, and pointers.

use core::mem::offset_of;
use core::ptr::{null_mut, with_exposed_provenance_mut};
use core::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

use vcpu_rt::{Pair, Refused, Section, Single, Value, per_vcpu, vcpu};
use vcpu_test_programs::syscall::sched_yield;

use crate::ledger::{Caller, Entry, Subject, mix};

const ROOM: usize = 32;
const LOG_BYTES: usize = 64 << 10;

per_vcpu! {
    static COUNT: Section<u64>;
    static ARRAY: [Section<u64>; ROOM];
    static LENGTH: Section<u64>;
    static LOG: [Section<u8>; LOG_BYTES];
    static HEAD: Section<*mut Node>;
    static TARGET: Section<*mut u64>;
    static TARGET_OF_AREA: Section<u64>;
    static COUNTER: Section<u64>;
    static PAIR: Pair;
    static POINTER: Single<*mut u8>;
    static SECTION_POINTER: Section<*mut u8>;
}

/// The subjects of this module.
pub const SUBJECTS: [&Subject; 7] = [
    &subject("array", array, measure_array),
    &subject("log", log, measure_log),
    &subject("list", list, measure_list),
    &subject("pointee", pointee, measure_pointee),
    &subject("counter", counter, measure_counter),
    &subject("pair", pair, measure_pair),
    &subject("pointers", pointers, measure_pointers),
];

/// A subject by its parts.
pub const fn subject(
    name: &'static str,
    step: fn(&mut Caller, &mut Entry),
    measure: fn() -> Entry,
) -> Subject {
    Subject {
        name,
        step,
        measure,
    }
}

/// Runs `operation` until it is not refused; `None` where the area is busy and the caller may not
/// wait.
pub fn persist<O>(
    caller: &mut Caller,
    mut operation: impl FnMut(&mut Caller) -> Result<O, Refused>,
) -> Option<O> {
    loop {
        match operation(caller) {
            Ok(output) => return Some(output),
            Err(Refused::Different) => {}
            Err(Refused::Busy) if caller.may_wait => sched_yield(),
            Err(Refused::Busy) => return None,
        }
    }
}

/// An array with a count: pushed by compare_equal_store_store, popped by
/// compare_equal_compare_equal_store. Sum 0: the values in it. Sum 1: how many.
fn array(caller: &mut Caller, entry: &mut Entry) {
    let value = caller.next();
    let pushes = value & 1 == 0;
    let done = persist(caller, |caller| {
        let count = caller.by(&COUNT).load();
        if count == 0 || pushes && count < ROOM as u64 {
            let place = ARRAY.at(count as usize);
            caller
                .by(&COUNT)
                .compare_equal_store_store(count, (&place, value), count + 1)
                .map(|()| (value, true))
        } else {
            let place = ARRAY.at(count as usize - 1);
            let top = caller.by(&place).load();
            caller
                .by(&COUNT)
                .compare_equal_compare_equal_store(count, (&place, top), count - 1)
                .map(|()| (top, false))
        }
    });
    match done {
        Some((value, true)) => {
            entry.add(0, mix(value));
            entry.add(1, 1);
        }
        Some((value, false)) => {
            entry.sub(0, mix(value));
            entry.sub(1, 1);
        }
        None => {}
    }
}

fn measure_array() -> Entry {
    let mut entry = Entry::default();
    for (area, count) in COUNT.values() {
        for index in 0..count as usize {
            entry.add(0, mix(ARRAY.at(index).read(area).expect("it exists")));
        }
        entry.add(1, count);
    }
    entry
}

/// Records of two words, appended by compare_equal_copy_store. Sum 0: the records.
fn log(caller: &mut Caller, entry: &mut Entry) {
    let value = caller.next();
    if !value.is_multiple_of(4) {
        // So that it does not fill at once.
        return;
    }
    let mut record = [0; 16];
    record[..8].copy_from_slice(&value.to_ne_bytes());
    record[8..].copy_from_slice(&mix(value).to_ne_bytes());
    let done = persist(caller, |caller| {
        let length = caller.by(&LENGTH).load() as usize;
        if length + record.len() > LOG_BYTES {
            return Ok(false);
        }
        let end = (length + record.len()) as u64;
        caller
            .by(&LENGTH)
            .compare_equal_copy_store(length as u64, (&LOG, length, &record), end)
            .map(|()| true)
    });
    if done == Some(true) {
        entry.add(0, mix(value));
    }
}

fn measure_log() -> Entry {
    let mut entry = Entry::default();
    for (area, length) in LENGTH.values() {
        let log = LOG.copy(area).expect("it exists").cast::<u64>();
        for record in 0..length as usize / 16 {
            // SAFETY: below the length, so inside the buffer; at any alignment.
            let [value, check] =
                [0, 1].map(|word| unsafe { log.add(record * 2 + word).as_ptr().read_unaligned() });
            assert_eq!(check, mix(value), "a record is not whole");
            entry.add(0, mix(value));
        }
    }
    entry
}

/// An element of the lists.
pub struct Node {
    number: AtomicU64,
    next: AtomicPtr<Node>,
}

static NODES: [Node; 64] = [const {
    Node {
        number: AtomicU64::new(0),
        next: AtomicPtr::new(null_mut()),
    }
}; 64];

/// Lists: popped by compare_not_equal_load_store, pushed by compare_equal_store. Sum 0: the elements.
fn list(caller: &mut Caller, entry: &mut Entry) {
    let offset = offset_of!(Node, next) as isize;
    let popped = loop {
        // SAFETY: null, or an element of the static array.
        match unsafe {
            caller
                .by(&HEAD)
                .compare_not_equal_load_store(null_mut(), offset)
        } {
            Ok(node) => break node,
            Err(Refused::Busy) if caller.may_wait => sched_yield(),
            // Empty, or somebody else's turn.
            Err(_) => return,
        }
    };
    // SAFETY: as above.
    let node = unsafe { &*popped };
    let pushed = persist(caller, |caller| {
        let head = caller.by(&HEAD).load();
        node.next.store(head, Ordering::Relaxed);
        caller.by(&HEAD).compare_equal_store(head, popped)
    });
    if pushed.is_none() {
        entry.sub(0, mix(node.number.load(Ordering::Relaxed)));
    }
}

fn measure_list() -> Entry {
    let mut entry = Entry::default();
    for (_, head) in HEAD.values() {
        let mut place = head;
        let mut length = 0;
        // SAFETY: null, or an element of the static array.
        while let Some(node) = unsafe { place.as_ref() } {
            entry.add(0, mix(node.number.load(Ordering::Relaxed)));
            place = node.next.load(Ordering::Relaxed);
            length += 1;
            assert!(length <= NODES.len(), "a list goes round");
        }
    }
    entry
}

/// Sum 0: what was added to the word that belongs to the area.
fn pointee(caller: &mut Caller, entry: &mut Entry) {
    let value = caller.next();
    // SAFETY: since `prepare` each copy has the address of the word of its area.
    let add = |caller: &mut Caller| unsafe { caller.by(&TARGET).add_to_pointee(value) };
    if persist(caller, add).is_some() {
        entry.add(0, value);
    }
}

fn measure_pointee() -> Entry {
    let mut entry = Entry::default();
    entry.add(0, TARGET_OF_AREA.sum());
    entry
}

/// Sum 0: increments by compare_equal_store.
fn counter(caller: &mut Caller, entry: &mut Entry) {
    let done = persist(caller, |caller| {
        let seen = caller.by(&COUNTER).load();
        caller.by(&COUNTER).compare_equal_store(seen, seen + 1)
    });
    entry.add(0, u64::from(done.is_some()));
}

fn measure_counter() -> Entry {
    let mut entry = Entry::default();
    entry.add(0, COUNTER.sum());
    entry
}

/// The second half is always three times the first one.
fn pair(caller: &mut Caller, entry: &mut Entry) {
    let mut seen = PAIR.load();
    loop {
        assert_eq!(seen[1], seen[0] * 3, "the halves are out of step");
        let next = [seen[0] + 1, seen[1] + 3];
        match caller.by(&PAIR).compare_exchange(seen, next) {
            Ok(_) => break,
            Err(other) => seen = other,
        }
    }
    entry.add(0, 1);
}

fn measure_pair() -> Entry {
    let mut entry = Entry::default();
    for area in vcpu::areas() {
        let [first, second] = PAIR.read(area).expect("it exists");
        assert_eq!(second, first * 3, "the halves are out of step");
        entry.add(0, first);
    }
    entry
}

/// Sums 0 and 1: addresses that were put and not taken out again.
fn pointers(caller: &mut Caller, entry: &mut Entry) {
    let address = caller.next();
    let pointer = with_exposed_provenance_mut(address as usize);
    let before = [
        caller.by(&POINTER).exchange(pointer),
        caller.by(&SECTION_POINTER).exchange(pointer),
    ];
    for (index, before) in before.into_iter().enumerate() {
        entry.add(index, mix(address));
        entry.sub(index, mix(before.to_raw()));
    }
}

fn measure_pointers() -> Entry {
    let mut entry = Entry::default();
    for (_, pointer) in POINTER.values() {
        entry.add(0, mix(pointer.to_raw()));
    }
    for (_, pointer) in SECTION_POINTER.values() {
        entry.add(1, mix(pointer.to_raw()));
    }
    entry
}

/// Before the first step.
pub fn prepare() {
    for area in vcpu::areas() {
        let target = TARGET_OF_AREA.copy(area).expect("it exists");
        let place = TARGET.copy(area).expect("it exists");
        // SAFETY: before anybody uses the word.
        unsafe { place.cast().write(target.cast::<u64>().as_ptr()) };
    }
    for (index, node) in NODES.iter().enumerate() {
        let head = HEAD.load();
        node.number.store(index as u64 + 1, Ordering::Relaxed);
        node.next.store(head, Ordering::Relaxed);
        HEAD.store((&raw const *node).cast_mut());
    }
}
