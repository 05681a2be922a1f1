// SPDX-License-Identifier: MIT OR Apache-2.0
//! The two structures that hold pointers, as one: `CLASSES` lists of items each.

use core::mem::MaybeUninit;
use core::mem::offset_of;
use core::ptr::NonNull;
use core::slice;

use vcpu_rt::{Cache, Errno, Link, Node, NotPut, NotTaken, Stack, per_vcpu};

/// Lists, each of which has its own items.
pub const CLASSES: usize = 4;
/// The most items of a class that a vCPU's cache has room for.
pub const SLOTS: usize = 32;
/// All items. Item `n` is of class `n % CLASSES`.
pub const ITEMS: usize = 256;

/// What is put into the structures, and must never be there twice.
pub struct Item {
    link: Link,
    number: u32,
}

// SAFETY: `link` is a link that nothing but lists uses.
unsafe impl Node for Item {
    const LINK: usize = offset_of!(Item, link);
}

static ALL: [Item; ITEMS] = {
    let mut items = [const {
        Item {
            link: Link::new(),
            number: 0,
        }
    }; ITEMS];
    let mut number = 0;
    while number < ITEMS {
        items[number].number = number as u32;
        number += 1;
    }
    items
};

per_vcpu! {
    static STACKS: [Stack<Item>; CLASSES];
    pub static CACHE: Cache<Item, CLASSES, SLOTS>;
}

/// An item's address, by its number.
pub fn item(number: usize) -> NonNull<Item> {
    NonNull::from(&ALL[number])
}

/// An item's number.
pub fn number(item: NonNull<Item>) -> usize {
    // SAFETY: all items are static. One that came out of a structure damaged has another address.
    let number = unsafe { item.as_ref() }.number as usize;
    assert_eq!(self::item(number), item, "no item is there");
    number
}

/// What a list holds is told by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    Stack,
    Cache,
}

/// Room for what a drain takes.
pub type Items = [MaybeUninit<NonNull<Item>>; ITEMS];

impl Target {
    /// Puts some of `items`, from the first on, and returns how many.
    pub fn push(self, class: usize, items: &[NonNull<Item>]) -> Result<usize, NotPut> {
        match self {
            // SAFETY: the item is static and the caller's.
            Self::Stack => unsafe { STACKS.at(class).push(items[0]) }.map(|()| 1),
            Self::Cache if items.len() == 1 => CACHE.push(class, items[0]).map(|()| 1),
            Self::Cache => CACHE.push_batch(class, items),
        }
    }

    /// Takes at most `count` items.
    pub fn pop(
        self,
        class: usize,
        count: usize,
        taken: &mut Items,
    ) -> Result<&[NonNull<Item>], NotTaken> {
        match self {
            Self::Stack => STACKS.at(class).pop().map(|item| one(item, taken)),
            Self::Cache if count == 1 => CACHE.pop(class).map(|item| one(item, taken)),
            Self::Cache => CACHE
                .pop_batch(class, &mut taken[..count])
                .map(|items| &*items),
        }
    }

    /// Takes all items out of an area.
    pub fn drain(
        self,
        area: u32,
        class: usize,
        taken: &mut Items,
    ) -> Result<&[NonNull<Item>], Errno> {
        match self {
            Self::Stack => {
                let mut count = 0;
                for item in STACKS.at(class).drain(area)? {
                    // Out of bounds where a list runs in a circle.
                    taken[count].write(item);
                    count += 1;
                }
                // SAFETY: just written.
                Ok(unsafe { slice::from_raw_parts(taken.as_ptr().cast(), count) })
            }
            Self::Cache => CACHE.drain(area, class, taken).map(|items| &*items),
        }
    }

    /// Changes the capacity, where there is one.
    pub fn resize(
        self,
        area: u32,
        class: usize,
        capacity: usize,
        taken: &mut Items,
    ) -> Result<&[NonNull<Item>], Errno> {
        match self {
            Self::Stack => Ok(&[]),
            Self::Cache => CACHE
                .resize(area, class, capacity, taken)
                .map(|items| &*items),
        }
    }
}

fn one(item: NonNull<Item>, taken: &mut Items) -> &[NonNull<Item>] {
    core::slice::from_ref(taken[0].write(item))
}
