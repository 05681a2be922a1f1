// SPDX-License-Identifier: MIT OR Apache-2.0
//! The list of pools: what several add at once, and what those see who walk it meanwhile.

use loom::sync::Arc;
use loom::sync::atomic::{AtomicU64, Ordering};
use loom::thread;
use vcpu_models::list;

/// Elements 1 to 3, each with its place, and with a word that its owner writes before he adds it.
struct List {
    newest: AtomicU64,
    places: [AtomicU64; 3],
    contents: [AtomicU64; 3],
}

impl List {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            newest: AtomicU64::new(0),
            places: [0; 3].map(AtomicU64::new),
            contents: [0; 3].map(AtomicU64::new),
        })
    }

    /// As the pools grow: adds the element, unless somebody was quicker.
    fn grow(&self, element: u64) -> bool {
        let newest = list::newest(&self.newest);
        let index = element as usize - 1;
        self.contents[index].store(element, Ordering::Relaxed);
        list::add(&self.newest, newest, element, &self.places[index])
    }

    /// The elements from the newest on, each as its owner wrote it.
    fn walk(&self) -> Vec<u64> {
        let mut elements = Vec::new();
        let mut next = list::newest(&self.newest);
        while next != 0 {
            assert!(!elements.contains(&next), "a circle: {elements:?}, {next}");
            let index = next as usize - 1;
            assert_eq!(self.contents[index].load(Ordering::Relaxed), next);
            elements.push(next);
            next = list::before(&self.places[index]);
        }
        elements
    }
}

/// Whoever was told that his element is in the list finds it there, and nobody else's is.
#[test]
fn what_was_added_stays() {
    loom::model(|| {
        let list = List::new();
        let threads = [1, 2].map(|element| {
            let list = Arc::clone(&list);
            thread::spawn(move || {
                let added = list.grow(element);
                assert_eq!(list.walk().contains(&element), added);
                added
            })
        });
        let seen = list.walk();
        let added = threads.map(|thread| thread.join().unwrap());
        assert!(added.contains(&true), "somebody gets on");
        let all = list.walk();
        for (element, added) in [1, 2].into_iter().zip(added) {
            assert_eq!(all.contains(&element), added);
        }
        // What was there is still there, behind what came later.
        assert!(all.ends_with(&seen));
    });
}

/// Elements that are added in turn are all there, in order.
#[test]
fn each_leads_to_the_one_before() {
    loom::model(|| {
        let list = List::new();
        let other = Arc::clone(&list);
        let thread = thread::spawn(move || other.grow(1) && other.grow(2));
        let seen = list.walk();
        assert!([&[][..], &[1], &[2, 1]].contains(&&seen[..]), "{seen:?}");
        assert!(thread.join().unwrap());
        assert!(list.grow(3));
        assert_eq!(list.walk(), [3, 2, 1]);
    });
}
