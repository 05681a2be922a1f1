// SPDX-License-Identifier: MIT OR Apache-2.0
//! Per-vCPU objects: what may be one, and where its copies are.

use core::marker::PhantomData;
use core::ops::Deref;
use core::ptr::NonNull;

use rustix::io::Errno;

use crate::access::Access;
use crate::{areas, process};

/// What may live in the areas.
///
/// # Safety
/// All bytes zero is a valid value, which needs no drop; the type consists of words that know how
/// to be updated ([`crate::single::Single`], [`crate::section::Section`], structures of those); its
/// alignment is at most `areas::MAX_ALIGN`.
pub unsafe trait Object {
    /// Whether this machine has the instructions that it needs.
    #[must_use]
    fn is_supported() -> bool {
        true
    }
}

// SAFETY: as its elements.
unsafe impl<T: Object, const N: usize> Object for [T; N] {
    fn is_supported() -> bool {
        T::is_supported()
    }
}

/// An object of type `T` on every vCPU. Its methods, which depend on `T`, act on the copy of the
/// vCPU that the thread runs on.
///
/// Any thread and any signal handler may use it at the same time. It is reached through
/// [`PerVcpu`] (allocated) and [`Declared`](crate::declared::Declared), which it cannot outlive.
#[repr(C)]
pub struct Local<T> {
    /// vCPU 0's copy.
    first: NonNull<T>,
}

// SAFETY: it is an address; all access goes through sections and atomics.
unsafe impl<T: Object> Send for Local<T> {}
// SAFETY: as above.
unsafe impl<T: Object> Sync for Local<T> {}

impl<T> Local<T> {
    /// Before the start.
    pub(crate) const NONE: Self = Self {
        first: NonNull::dangling(),
    };

    /// The object whose vCPU 0's copy is at `first`: for objects of other languages, and of
    /// [`crate::areas`].
    ///
    /// # Safety
    /// `first` is not null, and inside an object of [`crate::areas`] that lives as long as the handle. What
    /// changes it keeps to the kinds of words that `T` has.
    #[inline(always)]
    #[must_use]
    pub const unsafe fn from_ptr(first: *mut T) -> Self {
        // SAFETY: by the caller's word.
        let first = unsafe { NonNull::new_unchecked(first) };
        Self { first }
    }

    /// vCPU 0's copy, by which other languages know the object.
    #[inline(always)]
    #[must_use]
    pub const fn as_ptr(&self) -> *mut T {
        self.first.as_ptr()
    }

    /// vCPU 0's copy.
    #[inline(always)]
    pub(crate) fn first(&self) -> NonNull<T> {
        self.first
    }

    /// How the copies are reached.
    #[inline(always)]
    pub(crate) fn access(&self) -> Access {
        Access::current()
    }

    /// The address of the copy in one area: a vCPU's below `nr_vcpus`, or the last one. `None`
    /// above. Others may change it at any time, so it is read by atomics only.
    #[must_use]
    pub fn copy(&self, area: u32) -> Option<NonNull<T>> {
        let found = process::found();
        if area >= found.nr_areas() {
            return None;
        }
        let offset = area as usize * found.reservation.stride as usize;
        // SAFETY: the area exists, and has a copy of the object.
        Some(unsafe { self.first.byte_add(offset) })
    }

    /// The areas that can hold anything, each with the address of its copy. It visits every vCPU that
    /// can exist on the machine, and so touches the page tables of each.
    pub fn copies(&self) -> impl Iterator<Item = (u32, NonNull<T>)> {
        let found = process::found();
        found.used_areas().map(move |area| {
            let offset = area as usize * found.reservation.stride as usize;
            // SAFETY: the area exists, and has a copy of the object.
            (area, unsafe { self.first.byte_add(offset) })
        })
    }

    /// A part of the object: `select` turns the address of a copy into that of its part.
    ///
    /// # Safety
    /// The part is inside the object, whichever copy it is.
    #[doc(hidden)]
    #[inline(always)]
    pub unsafe fn part<U>(&self, select: impl FnOnce(*mut T) -> *mut U) -> Part<'_, U> {
        // SAFETY: by the caller's word not null.
        let first = unsafe { NonNull::new_unchecked(select(self.first.as_ptr())) };
        Part {
            local: Local { first },
            whole: PhantomData,
        }
    }
}

impl<T: Object, const N: usize> Local<[T; N]> {
    /// The element at `index`.
    ///
    /// # Panics
    /// When `index` is not below `N`.
    #[inline(always)]
    pub fn at(&self, index: usize) -> Part<'_, T> {
        assert!(index < N, "the index is not below the number of elements");
        // SAFETY: inside the object.
        unsafe { self.part(|array| array.cast::<T>().add(index)) }
    }
}

/// An element or a field of a per-vCPU object.
pub struct Part<'a, T> {
    local: Local<T>,
    whole: PhantomData<&'a T>,
}

impl<T> Deref for Part<'_, T> {
    type Target = Local<T>;

    #[inline(always)]
    fn deref(&self) -> &Local<T> {
        &self.local
    }
}

/// The field of a per-vCPU struct, as a per-vCPU object: `field!(object, name)`.
#[macro_export]
macro_rules! field {
    ($object:expr, $field:ident) => {
        match &$object {
            // SAFETY: a field is inside its struct.
            object => unsafe { object.part(|copy| &raw mut (*copy).$field) },
        }
    };
}

/// One object of type `T` per vCPU, freed when the handle is dropped.
pub struct PerVcpu<T: Object> {
    local: Local<T>,
}

impl<T: Object> PerVcpu<T> {
    /// A new object, zero on every vCPU.
    ///
    /// # Errors
    /// See [`areas::alloc`]. EOPNOTSUPP: the processor lacks an instruction that `T` needs.
    pub fn new() -> Result<Self, Errno> {
        if !T::is_supported() {
            return Err(Errno::OPNOTSUPP);
        }
        let first = areas::alloc(size_of::<T>(), align_of::<T>())?.cast();
        let local = Local { first };
        Ok(Self { local })
    }
}

impl<T: Object> PerVcpu<T> {
    /// Makes one area's copy zero and gives its whole pages back to the kernel. That nobody uses the
    /// object meanwhile is what `&mut` says.
    ///
    /// # Errors
    /// EINVAL: there is no such area.
    pub fn discard(&mut self, area: u32) -> Result<(), Errno> {
        let first = self.local.first.as_ptr().cast();
        // SAFETY: allocated by `new` with this size; nobody else has a reference.
        unsafe { areas::discard(first, size_of::<T>(), area) }
    }
}

impl<T: Object> Deref for PerVcpu<T> {
    type Target = Local<T>;

    #[inline(always)]
    fn deref(&self) -> &Local<T> {
        &self.local
    }
}

impl<T: Object> Drop for PerVcpu<T> {
    fn drop(&mut self) {
        // SAFETY: allocated by `new` with this size. The handle is owned, and parts borrow it, so
        // nobody uses the object.
        let freed = unsafe { areas::free(self.local.first.as_ptr().cast(), size_of::<T>()) };
        debug_assert!(freed.is_ok());
    }
}
