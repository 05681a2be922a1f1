// SPDX-License-Identifier: MIT OR Apache-2.0
//! The worked examples of critical sections of one's own.

use vcpu_rt::{per_vcpu, vcpu};
use vcpu_test_programs::free_list::{self, Head, Node};
use vcpu_test_programs::trace::{self, Trace};

use crate::ledger::{Caller, Entry, Subject, mix};
use crate::several::{persist, subject};

per_vcpu! {
    static TRACE: Trace;
    static LIST: Head;
}

/// The subjects of this module.
pub const SUBJECTS: [&Subject; 2] = [
    &subject("trace", append, measure_trace),
    &subject("free list", take_and_give, measure_list),
];

/// Sum 0: records. Those that are still there are whole.
fn append(caller: &mut Caller, entry: &mut Entry) {
    let value = caller.next();
    let done = persist(caller, |_| trace::append(&TRACE, [value, mix(value)]));
    entry.add(0, u64::from(done.is_some()));
}

fn measure_trace() -> Entry {
    let mut entry = Entry::default();
    for area in vcpu::areas() {
        let (appended, records) = trace::read(&TRACE, area).expect("it exists");
        entry.add(0, appended);
        for [value, check] in records {
            assert_eq!(check, mix(value), "a record is not whole");
        }
    }
    entry
}

static NODES: [Node; 64] = [const { Node::new() }; 64];

fn number_of(node: &Node) -> u64 {
    let distance = (&raw const *node).addr() - NODES.as_ptr().addr();
    (distance / size_of::<Node>()) as u64 + 1
}

/// Sum 0: the nodes in lists.
fn take_and_give(caller: &mut Caller, entry: &mut Entry) {
    if let Some(Some(node)) = persist(caller, |_| free_list::pop(&LIST))
        && persist(caller, |_| free_list::push(&LIST, node)).is_none()
    {
        entry.sub(0, mix(number_of(node)));
    }
}

fn measure_list() -> Entry {
    let mut entry = Entry::default();
    for area in vcpu::areas() {
        // One more than there are: a list that goes round.
        for (index, node) in free_list::nodes(&LIST, area).take(65).enumerate() {
            assert!(index < NODES.len(), "a list goes round");
            entry.add(0, mix(number_of(node)));
        }
    }
    entry
}

/// Before the first step.
pub fn prepare() {
    for node in &NODES {
        assert_eq!(free_list::push(&LIST, node), Ok(()));
    }
}
