// SPDX-License-Identifier: MIT OR Apache-2.0
//! Caches of pointers: what TCMalloc's per-CPU slab is, for any program.

mod slab;

use core::mem::MaybeUninit;
use core::ptr::{self, NonNull};

use rustix::io::Errno;
use vcpu_abi::Mode;

use self::slab::{Slab, State};
use super::{NotPut, NotTaken};
use crate::access::{ATTEMPTS, Access, Way, own_way, shared_area_offset};
use crate::arch::{self, CPU_ID, MM_CID, Moved, Outcome};
use crate::fence::fence;
use crate::object::{Local, Object};
use crate::process;

/// For each of `CLASSES` classes an array of up to `SLOTS` pointers on each vCPU, last in, first
/// out. What the pointers point to is never touched.
///
/// A class has room for `SLOTS` pointers on each vCPU until [`resize`](Local::resize) says something
/// else. Memory is touched when something is put there.
#[repr(transparent)]
pub struct Cache<T, const CLASSES: usize, const SLOTS: usize> {
    slab: Slab<T, CLASSES, SLOTS>,
}

// SAFETY: all bytes zero: no item, and no room until a slow path makes some.
unsafe impl<T, const CLASSES: usize, const SLOTS: usize> Object for Cache<T, CLASSES, SLOTS> {}

impl<T, const CLASSES: usize, const SLOTS: usize> Local<Cache<T, CLASSES, SLOTS>> {
    /// Puts `item` behind the others of its class on this vCPU.
    ///
    /// # Errors
    /// [`NotPut`]: the item is still the caller's.
    ///
    /// # Panics
    /// When `class` is not below `CLASSES`; when the address of `item` has its highest bit set, as none of a
    /// user's has.
    #[inline(always)]
    pub fn push(&self, class: usize, item: NonNull<T>) -> Result<(), NotPut> {
        assert!(is_address(item), "{NO_ADDRESS}");
        let (current, access) = (self.current(class), self.access());
        let raw = item.as_ptr().expose_provenance() as u64;
        // SAFETY: the object is alive while it is borrowed, and the class one of its classes. Threads of
        // the runtime have its blocks; an object exists only once it started.
        let is_done = unsafe {
            if access.is_gs() {
                arch::cache_push_gs::<CLASSES>(current, raw, access.bound())
            } else {
                arch::cache_push::<CLASSES>(current, raw, access)
            }
        };
        if is_done {
            return Ok(());
        }
        push_one_otherwise(self.first(), current, item)
    }

    /// Takes the last item of a class on this vCPU.
    ///
    /// # Errors
    /// [`NotTaken`].
    ///
    /// # Panics
    /// When `class` is not below `CLASSES`.
    #[inline(always)]
    pub fn pop(&self, class: usize) -> Result<NonNull<T>, NotTaken> {
        let (current, access) = (self.current(class), self.access());
        // SAFETY: as for `push`.
        let raw = unsafe {
            if access.is_gs() {
                arch::cache_pop_gs(current, access.bound())
            } else {
                arch::cache_pop(current, access)
            }
        };
        match NonNull::new(ptr::with_exposed_provenance_mut(raw as usize)) {
            Some(item) => Ok(item),
            None => {
                let (item, reason) = pop_one_otherwise(self.first(), current);
                item.ok_or(reason)
            }
        }
    }

    /// Puts items behind the others of their class on this vCPU, from the first of `items` on, and
    /// returns how many: as many as there is room for.
    ///
    /// # Errors
    /// [`NotPut`], when it is none of at least one.
    ///
    /// # Panics
    /// As for [`push`](Self::push).
    pub fn push_batch(&self, class: usize, items: &[NonNull<T>]) -> Result<usize, NotPut> {
        assert!(class < CLASSES, "there is no such class");
        assert!(items.iter().copied().all(is_address), "{NO_ADDRESS}");
        if items.is_empty() {
            return Ok(0);
        }
        push_items(self.first(), class, items)
    }

    /// Takes the last items of a class on this vCPU, as many as there are and `items` has room for, and
    /// returns them in the order in which they were put there.
    ///
    /// # Errors
    /// [`NotTaken`], when it is none although there is room for one.
    ///
    /// # Panics
    /// When `class` is not below `CLASSES`.
    pub fn pop_batch<'a>(
        &self,
        class: usize,
        items: &'a mut [MaybeUninit<NonNull<T>>],
    ) -> Result<&'a mut [NonNull<T>], NotTaken> {
        assert!(class < CLASSES, "there is no such class");
        if items.is_empty() {
            return Ok(&mut []);
        }
        let count = pop_items(self.first(), class, items)?;
        // SAFETY: so many were taken, from the first on.
        Ok(unsafe { slab::written(items, count) })
    }

    /// Takes the last items of a class out of one area: a vCPU's below `nr_vcpus`, or the last one; as
    /// many as there are and `items` has room for, in the order in which they were put there. Operations
    /// of that vCPU on the class are busy meanwhile.
    ///
    /// # Errors
    /// EINVAL: there is no such area. EBUSY: somebody else drains or resizes it, or is in the middle of
    /// an operation on a shared area. ENOSYS, EPERM: [`fence`]'s. Nothing was changed.
    ///
    /// # Panics
    /// When `class` is not below `CLASSES`.
    pub fn drain<'a>(
        &self,
        area: u32,
        class: usize,
        items: &'a mut [MaybeUninit<NonNull<T>>],
    ) -> Result<&'a mut [NonNull<T>], Errno> {
        let room = items.len();
        self.change(area, class, items, |held, capacity| {
            Ok((held.min(room), capacity))
        })
    }

    /// Gives a class in one area room for `capacity` items. What there is no more room for goes to
    /// `items`, as by [`drain`](Self::drain).
    ///
    /// # Errors
    /// As for [`drain`](Self::drain); EINVAL also: `capacity` is above `SLOTS`; ENOBUFS: `items` has no room
    /// for what must go. Nothing was changed.
    ///
    /// # Panics
    /// When `class` is not below `CLASSES`.
    pub fn resize<'a>(
        &self,
        area: u32,
        class: usize,
        capacity: usize,
        items: &'a mut [MaybeUninit<NonNull<T>>],
    ) -> Result<&'a mut [NonNull<T>], Errno> {
        if capacity > SLOTS {
            return Err(Errno::INVAL);
        }
        let room = items.len();
        self.change(area, class, items, |held, _| {
            let excess = held.saturating_sub(capacity);
            if excess > room {
                return Err(Errno::NOBUFS);
            }
            Ok((excess, capacity))
        })
    }

    /// How many items of a class an area holds, and for how many it has room, at some time. `None`
    /// above the last area.
    ///
    /// # Panics
    /// When `class` is not below `CLASSES`.
    #[must_use]
    pub fn held(&self, area: u32, class: usize) -> Option<(usize, usize)> {
        assert!(class < CLASSES, "there is no such class");
        // SAFETY: the copy is alive as the object is.
        let cache = unsafe { self.copy(area)?.as_ref() };
        Some((cache.slab.held(class), cache.slab.capacity(class)))
    }

    /// The word `current` of a class in vCPU 0's copy.
    #[inline(always)]
    fn current(&self, class: usize) -> NonNull<u64> {
        assert!(class < CLASSES, "there is no such class");
        // SAFETY: a class's, so inside the object.
        unsafe { self.first().cast::<u64>().add(class) }
    }

    /// Takes items out of one area, and sets its capacity: `decide` says how many, and which, from how
    /// many there are and what it is.
    fn change<'a>(
        &self,
        area: u32,
        class: usize,
        items: &'a mut [MaybeUninit<NonNull<T>>],
        decide: impl FnOnce(usize, usize) -> Result<(usize, usize), Errno>,
    ) -> Result<&'a mut [NonNull<T>], Errno> {
        assert!(class < CLASSES, "there is no such class");
        let copy = self.copy(area).ok_or(Errno::INVAL)?;
        let found = process::found();
        let has_sections = found.mode != Mode::Shared && area < found.nr_vcpus;
        // SAFETY: the copy is alive as the object is.
        let slab = unsafe { &copy.as_ref().slab };
        let stop = || if has_sections { fence(-1) } else { Ok(()) };
        let change = || {
            slab.close(class, stop)?;
            let decided = decide(slab.held(class), slab.capacity(class));
            let (count, capacity) = decided.inspect_err(|_| slab.open(class))?;
            slab.take(class, count, capacity, items, stop)?;
            Ok(count)
        };
        let count = slab
            .lock(class)
            .attempt(change)
            .unwrap_or(Err(Errno::BUSY))?;
        // SAFETY: so many were taken, from the first on.
        Ok(unsafe { slab::written(items, count) })
    }
}

const NO_ADDRESS: &str = "an item's address has its highest bit set";

/// Whether the highest bit is free for the cache's own use.
#[inline(always)]
fn is_address<T>(item: NonNull<T>) -> bool {
    item.addr().get() & slab::MARK == 0
}

/// The class whose word `current` this is. What follows a miss is told that word, which the fast path
/// has in a register, so that a loop over classes counts one thing, not two.
fn class_of<T, const CLASSES: usize, const SLOTS: usize>(
    first: NonNull<Cache<T, CLASSES, SLOTS>>,
    current: NonNull<u64>,
) -> usize {
    (current.addr().get() - first.addr().get()) / size_of::<u64>()
}

#[cold]
#[inline(never)]
fn push_one_otherwise<T, const CLASSES: usize, const SLOTS: usize>(
    first: NonNull<Cache<T, CLASSES, SLOTS>>,
    current: NonNull<u64>,
    item: NonNull<T>,
) -> Result<(), NotPut> {
    push_items(first, class_of(first, current), &[item]).map(drop)
}

/// An item, or why there is none: in two registers, which a `Result` of the two is not.
#[cold]
#[inline(never)]
fn pop_one_otherwise<T, const CLASSES: usize, const SLOTS: usize>(
    first: NonNull<Cache<T, CLASSES, SLOTS>>,
    current: NonNull<u64>,
) -> (Option<NonNull<T>>, NotTaken) {
    let mut item = [MaybeUninit::uninit()];
    match pop_items(first, class_of(first, current), &mut item) {
        Ok(_) => {
            let [item] = item;
            // SAFETY: one was taken.
            (Some(unsafe { item.assume_init() }), NotTaken::Empty)
        }
        Err(reason) => (None, reason),
    }
}

/// At least one of `items`.
fn push_items<T, const CLASSES: usize, const SLOTS: usize>(
    first: NonNull<Cache<T, CLASSES, SLOTS>>,
    class: usize,
    items: &[NonNull<T>],
) -> Result<usize, NotPut> {
    // SAFETY: inside the object.
    let current = unsafe { first.cast::<u64>().add(class) };
    let words = ptr::from_ref(items) as *const [u64];
    let section = |way, access| {
        // SAFETY: the object is alive, and there is an item.
        unsafe {
            match way {
                Way::CpuId => arch::cache_push_batch::<CPU_ID, CLASSES>(current, words, access),
                _ => arch::cache_push_batch::<MM_CID, CLASSES>(current, words, access),
            }
        }
    };
    let missed = |slab: &Slab<T, CLASSES, SLOTS>, way, access| {
        // SAFETY: the object is alive.
        let commit = |slots| unsafe { make_current::<CLASSES>(current, way, slots, access) };
        match slab.state(class) {
            State::Open => Some(NotPut::Full),
            State::Fresh if slab.start(class, commit) => None,
            State::Closed if slab.reopen(class, || fence(-1)) => None,
            State::Fresh | State::Closed => Some(NotPut::Busy),
        }
    };
    if let Some(result) = in_sections(first, section, missed) {
        return result;
    }
    let slab = shared_slab(first);
    let put = || slab.put(class, items);
    slab.lock(class).attempt(put).unwrap_or(Err(NotPut::Busy))
}

/// As many as `items` has room for, at least one.
fn pop_items<T, const CLASSES: usize, const SLOTS: usize>(
    first: NonNull<Cache<T, CLASSES, SLOTS>>,
    class: usize,
    items: &mut [MaybeUninit<NonNull<T>>],
) -> Result<usize, NotTaken> {
    // SAFETY: inside the object.
    let current = unsafe { first.cast::<u64>().add(class) };
    let words = ptr::from_mut(items) as *mut [u64];
    let section = |way, access| {
        // SAFETY: the object is alive, and there is room for an item.
        unsafe {
            match way {
                Way::CpuId => arch::cache_pop_batch::<CPU_ID, CLASSES>(current, words, access),
                _ => arch::cache_pop_batch::<MM_CID, CLASSES>(current, words, access),
            }
        }
    };
    let missed = |slab: &Slab<T, CLASSES, SLOTS>, _, _| match slab.state(class) {
        State::Open | State::Fresh => Some(NotTaken::Empty),
        State::Closed if slab.reopen(class, || fence(-1)) => None,
        State::Closed => Some(NotTaken::Busy),
    };
    if let Some(result) = in_sections(first, section, missed) {
        return result;
    }
    let slab = shared_slab(first);
    let take = || {
        let count = slab.held(class).min(items.len());
        if count == 0 {
            return Err(NotTaken::Empty);
        }
        slab.take_locked(class, count, items);
        Ok(count)
    };
    let result = slab.lock(class).attempt(take);
    result.unwrap_or(Err(NotTaken::Busy))
}

/// Tries `section` until it moves items. Where it missed, `missed` says why, or that another try makes
/// sense. `None`: this thread must go to a shared area.
fn in_sections<T, E, const CLASSES: usize, const SLOTS: usize>(
    first: NonNull<Cache<T, CLASSES, SLOTS>>,
    section: impl Fn(Way, Access) -> Moved,
    missed: impl Fn(&Slab<T, CLASSES, SLOTS>, Way, Access) -> Option<E>,
) -> Option<Result<usize, E>> {
    for _ in 0..ATTEMPTS {
        let (way, access) = own_way()?;
        match section(way, access) {
            Moved::Items(count) => return Some(Ok(count)),
            Moved::Refused => {}
            Moved::Missed(offset) => {
                // SAFETY: the copy that the section looked at.
                let slab = unsafe { &first.byte_add(offset).as_ref().slab };
                if let Some(why) = missed(slab, way, access) {
                    return Some(Err(why));
                }
            }
        }
    }
    None
}

/// The copy in the area for this thread's locked operations.
fn shared_slab<'a, T, const CLASSES: usize, const SLOTS: usize>(
    first: NonNull<Cache<T, CLASSES, SLOTS>>,
) -> &'a Slab<T, CLASSES, SLOTS> {
    let offset = shared_area_offset(process::found());
    // SAFETY: that area exists, and has a copy.
    unsafe { &first.byte_add(offset).as_ref().slab }
}

/// Makes this vCPU's `current` of a fresh class the address of its array, `slots`, which stands in
/// `begin` already: by that a section on another vCPU's copy fails.
///
/// # Safety
/// `current` is as for the sections.
unsafe fn make_current<const CLASSES: usize>(
    current: NonNull<u64>,
    way: Way,
    slots: u64,
    access: Access,
) -> bool {
    // SAFETY: by the caller's word; `begin` is inside the object too.
    let outcome = unsafe {
        let begin = (current.add(2 * CLASSES), slots);
        match way {
            Way::CpuId => {
                arch::compare_equal_compare_equal_store::<CPU_ID>(current, 0, begin, slots, access)
            }
            _ => {
                arch::compare_equal_compare_equal_store::<MM_CID>(current, 0, begin, slots, access)
            }
        }
    };
    outcome == Outcome::Committed
}
