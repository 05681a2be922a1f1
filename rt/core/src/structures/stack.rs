// SPDX-License-Identifier: MIT OR Apache-2.0
//! Lists of nodes, last in, first out.

use core::cell::UnsafeCell;
use core::marker::PhantomData;
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicPtr, Ordering};

use rustix::io::Errno;
use vcpu_abi::Mode;

use super::{NotPut, NotTaken};
use crate::access::{ATTEMPTS, Access, TryLock, Way, own_way, shared_area_offset};
use crate::arch::{self, CPU_ID, MM_CID, Miss};
use crate::fence::fence;
use crate::object::{Local, Object};
use crate::process;

/// The field of a node by which it hangs in a list. It is the list's while the node is in one.
#[repr(transparent)]
#[derive(Debug, Default)]
pub struct Link(AtomicPtr<()>);

impl Link {
    /// Of a node that is in no list.
    #[must_use]
    pub const fn new() -> Self {
        Self(AtomicPtr::new(ptr::null_mut()))
    }
}

/// A type with a [`Link`].
///
/// # Safety
/// At `LINK` bytes from the start of each value is a field of type [`Link`] that nothing but lists
/// uses.
pub unsafe trait Node {
    /// `offset_of!(Self, field)`.
    const LINK: usize;
}

/// A list of nodes on each vCPU, last in, first out. The nodes are the caller's memory: nothing is
/// allocated, and there is no limit.
#[repr(C)]
pub struct Stack<T> {
    head: UnsafeCell<*mut T>,
    /// Sections test it, so whoever holds it has the list to himself after a fence.
    lock: TryLock,
}

// SAFETY: all bytes zero: an empty list that nobody holds.
unsafe impl<T: Node> Object for Stack<T> {}

impl<T: Node> Local<Stack<T>> {
    fn head(&self) -> NonNull<u64> {
        self.first().cast()
    }

    /// Puts `node` in front of this vCPU's list. On a shared area it may be [`NotPut::Busy`]; it is
    /// never full.
    ///
    /// # Errors
    /// [`NotPut::Busy`]: the node is still the caller's.
    ///
    /// # Safety
    /// The node is in no list and nobody else's. It stays where it is, and alive, until it is taken
    /// out.
    #[inline]
    pub unsafe fn push(&self, node: NonNull<T>) -> Result<(), NotPut> {
        let (head, raw) = (self.head(), node.as_ptr().expose_provenance() as u64);
        // SAFETY: the object is alive while it is borrowed. The node is the caller's.
        match unsafe { arch::stack_push::<MM_CID>(head, raw, T::LINK, self.access()) } {
            Ok(()) => Ok(()),
            Err(_) => push_otherwise(self.first(), node),
        }
    }

    /// Takes the node in front of this vCPU's list.
    ///
    /// # Errors
    /// [`NotTaken`].
    #[inline]
    pub fn pop(&self) -> Result<NonNull<T>, NotTaken> {
        // SAFETY: the object is alive while it is borrowed. Its nodes are, by the contract of `push`.
        match unsafe { arch::stack_pop::<MM_CID>(self.head(), T::LINK, self.access()) } {
            Ok(node) => Ok(node_at(node)),
            Err(Miss::Empty) => Err(NotTaken::Empty),
            Err(_) => pop_otherwise(self.first()),
        }
    }

    /// Takes the whole list of one area: a vCPU's below `nr_vcpus`, or the last one. Operations of
    /// that vCPU are busy meanwhile.
    ///
    /// # Errors
    /// EINVAL: there is no such area. EBUSY: somebody else drains it, or is in the middle of an operation
    /// on a shared area. ENOSYS, EPERM: [`fence`]'s. Nothing was changed.
    pub fn drain(&self, area: u32) -> Result<Chain<T>, Errno> {
        let copy = self.copy(area).ok_or(Errno::INVAL)?;
        let found = process::found();
        let has_sections = found.mode != Mode::Shared && area < found.nr_vcpus;
        // SAFETY: the copy is alive as the object is.
        let stack = unsafe { copy.as_ref() };
        let take = || {
            if has_sections {
                // Every section that found the lock free has ended or is restarted.
                fence(-1)?;
            }
            let first = stack.load();
            stack.store(ptr::null_mut());
            Ok(Chain {
                next: first,
                nodes: PhantomData,
            })
        };
        stack.lock.attempt(take).unwrap_or(Err(Errno::BUSY))
    }
}

impl<T> Stack<T> {
    fn head(&self) -> &AtomicPtr<T> {
        // SAFETY: a word of this copy, which sections change by whole stores.
        unsafe { AtomicPtr::from_ptr(self.head.get()) }
    }

    fn load(&self) -> *mut T {
        self.head().load(Ordering::Acquire)
    }

    fn store(&self, first: *mut T) {
        self.head().store(first, Ordering::Release);
    }
}

/// The link of a node.
///
/// # Safety
/// The node is alive.
unsafe fn link<'a, T: Node>(node: NonNull<T>) -> &'a AtomicPtr<T> {
    // SAFETY: by the caller's word, and by the contract of `Node`.
    unsafe { node.byte_add(T::LINK).cast::<AtomicPtr<T>>().as_ref() }
}

/// What a section took.
fn node_at<T>(address: u64) -> NonNull<T> {
    let node = ptr::with_exposed_provenance_mut(address as usize);
    // SAFETY: sections give addresses of nodes, which are not null.
    unsafe { NonNull::new_unchecked(node) }
}

#[cold]
#[inline(never)]
fn push_otherwise<T: Node>(first: NonNull<Stack<T>>, node: NonNull<T>) -> Result<(), NotPut> {
    let (head, raw) = (first.cast(), node.as_ptr().expose_provenance() as u64);
    let section = |way, access| {
        // SAFETY: as for `push`.
        unsafe {
            match way {
                Way::CpuId => arch::stack_push::<CPU_ID>(head, raw, T::LINK, access),
                _ => arch::stack_push::<MM_CID>(head, raw, T::LINK, access),
            }
        }
    };
    let locked = |stack: &Stack<T>| {
        // SAFETY: the node is the caller's.
        unsafe { link(node) }.store(stack.load(), Ordering::Relaxed);
        stack.store(node.as_ptr());
        Ok(())
    };
    otherwise(first, section, locked).map_err(|_| NotPut::Busy)
}

#[cold]
#[inline(never)]
fn pop_otherwise<T: Node>(first: NonNull<Stack<T>>) -> Result<NonNull<T>, NotTaken> {
    let section = |way, access| {
        // SAFETY: as for `pop`.
        let node = unsafe {
            match way {
                Way::CpuId => arch::stack_pop::<CPU_ID>(first.cast(), T::LINK, access),
                _ => arch::stack_pop::<MM_CID>(first.cast(), T::LINK, access),
            }
        };
        node.map(node_at)
    };
    let locked = |stack: &Stack<T>| {
        let node = NonNull::new(stack.load()).ok_or(Miss::Empty)?;
        // SAFETY: a node of the list, which nobody else takes: the caller holds its lock.
        stack.store(unsafe { link(node) }.load(Ordering::Relaxed));
        Ok(node)
    };
    otherwise(first, section, locked).map_err(|miss| match miss {
        Miss::Empty => NotTaken::Empty,
        _ => NotTaken::Busy,
    })
}

/// Tries sections, and then `locked` under the lock of a shared area.
fn otherwise<T, O>(
    first: NonNull<Stack<T>>,
    section: impl Fn(Way, Access) -> Result<O, Miss>,
    locked: impl FnOnce(&Stack<T>) -> Result<O, Miss>,
) -> Result<O, Miss> {
    for _ in 0..ATTEMPTS {
        let Some((way, access)) = own_way() else {
            break;
        };
        match section(way, access) {
            Err(Miss::Refused) => {}
            Err(Miss::Stopped(offset)) => {
                // SAFETY: the copy that the section looked at.
                let stack = unsafe { first.byte_add(offset).as_ref() };
                // Where this succeeds, what stopped it is over, or stayed behind in the parent.
                if stack.lock.attempt(|| ()).is_none() {
                    return Err(Miss::Stopped(offset));
                }
            }
            result => return result,
        }
    }
    let offset = shared_area_offset(process::found());
    // SAFETY: that area exists, and has a copy.
    let stack = unsafe { first.byte_add(offset).as_ref() };
    let result = stack.lock.attempt(|| locked(stack));
    result.unwrap_or(Err(Miss::Stopped(offset)))
}

/// The nodes of a list that was drained, first the one that was in front. They are the caller's; what
/// is left when it is dropped is lost.
#[must_use = "what is left when it is dropped is lost"]
pub struct Chain<T> {
    next: *mut T,
    nodes: PhantomData<*mut T>,
}

impl<T: Node> Iterator for Chain<T> {
    type Item = NonNull<T>;

    fn next(&mut self) -> Option<NonNull<T>> {
        let node = NonNull::new(self.next)?;
        // SAFETY: it was put into the list alive, and is this chain's since.
        self.next = unsafe { link(node) }.load(Ordering::Relaxed);
        Some(node)
    }
}
