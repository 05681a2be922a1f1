// SPDX-License-Identifier: MIT OR Apache-2.0
//! The operations of per-vCPU words in two languages: Rust's own, and C's by `vcpu_data.h`
//! (`c/words.c`), with the same names, on the same words. Inlined, so that a program has the critical
//! sections of those operations alone that it uses.

use core::ffi::{c_int, c_void};
use core::ops::Deref;
use core::ptr::null_mut;

use vcpu_abi::{BUSY, DIFFERENT};
use vcpu_rt::{Local, Pair, Refused, Section, Single};

/// A word, and the language in which it is updated.
pub struct By<'a, W> {
    word: &'a Local<W>,
    in_c: bool,
}

impl<'a, W> By<'a, W> {
    /// The word, updated in C or in Rust.
    #[inline]
    pub fn new(word: &'a Local<W>, in_c: bool) -> Self {
        Self { word, in_c }
    }

    /// As C knows it.
    fn as_c<T>(&self) -> *mut T {
        self.word.as_ptr().cast()
    }
}

/// What is no update is Rust's.
impl<W> Deref for By<'_, W> {
    type Target = Local<W>;

    fn deref(&self) -> &Local<W> {
        self.word
    }
}

/// An operation in the language of the word: C has the same words, which live while they are borrowed.
macro_rules! either {
    ($by:ident, $rust:expr, $c:expr) => {
        if $by.in_c {
            // SAFETY: as said above.
            unsafe { $c }
        } else {
            $rust
        }
    };
}

/// A function of `c/words.c`, by the word's type there and the operation.
macro_rules! symbol {
    ($word:literal, $name:ident ($($argument:ident: $type:ty),*) $(-> $output:ty)?) => {
        unsafe extern "C" {
            #[link_name = concat!("c_", $word, "_", stringify!($name))]
            fn $name($($argument: $type),*) $(-> $output)?;
        }
    };
}

macro_rules! values {
    ($kind:ident, $type:ty as $raw:ty, $word:literal $(, $generic:ident)?) => {
        impl$(<$generic>)? By<'_, $kind<$type>> {
            /// See [`Local::load`].
            #[inline]
            pub fn load(&self) -> $type {
                symbol!($word, load(word: *mut $raw) -> $raw);
                either!(self, self.word.load(), load(self.as_c()) as $type)
            }

            /// See [`Local::store`].
            #[inline]
            pub fn store(&self, value: $type) {
                symbol!($word, store(word: *mut $raw, value: $raw));
                either!(self, self.word.store(value), store(self.as_c(), value as $raw))
            }

            /// See [`Local::exchange`].
            #[inline]
            pub fn exchange(&self, value: $type) -> $type {
                symbol!($word, exchange(word: *mut $raw, value: $raw) -> $raw);
                either!(
                    self,
                    self.word.exchange(value),
                    exchange(self.as_c(), value as $raw) as $type
                )
            }

            /// See [`Local::compare_exchange`].
            #[inline]
            pub fn compare_exchange(&self, old: $type, new: $type) -> Result<$type, $type> {
                symbol!($word, compare_exchange(
                    word: *mut $raw, expected: *mut $raw, desired: $raw
                ) -> c_int);
                let mut seen = old as $raw;
                either!(
                    self,
                    self.word.compare_exchange(old, new),
                    match compare_exchange(self.as_c(), &raw mut seen, new as $raw) {
                        0 => Err(seen as $type),
                        _ => Ok(seen as $type),
                    }
                )
            }
        }
    };
}

macro_rules! integers {
    ($($kind:ident, $type:ident as $raw:ident, $word:literal;)+) => {
        $(
            values!($kind, $type as $raw, $word);

            impl By<'_, $kind<$type>> {
                /// See [`Local::add`].
                #[inline]
                pub fn add(&self, value: $type) {
                    symbol!($word, add(word: *mut $raw, value: $raw));
                    either!(self, self.word.add(value), add(self.as_c(), value as $raw))
                }

                /// See [`Local::add_return`].
                #[inline]
                pub fn add_return(&self, value: $type) -> $type {
                    symbol!($word, add_return(word: *mut $raw, value: $raw) -> $raw);
                    either!(
                        self,
                        self.word.add_return(value),
                        add_return(self.as_c(), value as $raw) as $type
                    )
                }

                /// See [`Local::sum`].
                #[inline]
                pub fn sum(&self) -> $type {
                    symbol!($word, sum(word: *mut $raw) -> $raw);
                    either!(self, self.word.sum(), sum(self.as_c()) as $type)
                }
            }
        )+
    };
}

integers! {
    Single, u8 as u8, "single8";
    Single, u16 as u16, "single16";
    Single, i16 as u16, "single16";
    Single, u32 as u32, "single32";
    Single, u64 as u64, "single64";
    Single, i64 as u64, "single64";
    Section, u8 as u8, "section8";
    Section, u16 as u16, "section16";
    Section, u32 as u32, "section32";
    Section, u64 as u64, "section64";
}

values!(Single, *mut T as *mut c_void, "single_ptr", T);
values!(Section, *mut T as *mut c_void, "section_ptr", T);

/// What only [`Single`] has in Rust.
macro_rules! single_alone {
    ($($type:ident as $raw:ident, $word:literal;)+) => {
        $(
            impl By<'_, Single<$type>> {
                single_alone!(@operation $type as $raw, $word, sub, value: $type);
                single_alone!(@operation $type as $raw, $word, and, value: $type);
                single_alone!(@operation $type as $raw, $word, or, value: $type);
                single_alone!(@operation $type as $raw, $word, xor, value: $type);
                single_alone!(@operation $type as $raw, $word, inc);
                single_alone!(@operation $type as $raw, $word, dec);
            }
        )+
    };
    (@operation $type:ident as $raw:ident, $word:literal, $name:ident
     $(, $value:ident: $argument:ty)?) => {
        /// The operation of that name.
        #[inline]
        pub fn $name(&self $(, $value: $argument)?) {
            symbol!($word, $name(word: *mut $raw $(, $value: $raw)?));
            either!(
                self,
                self.word.$name($($value)?),
                $name(self.as_c() $(, $value as $raw)?)
            )
        }
    };
}

single_alone! {
    u8 as u8, "single8";
    u16 as u16, "single16";
    i16 as u16, "single16";
    u32 as u32, "single32";
    u64 as u64, "single64";
    i64 as u64, "single64";
}

/// What sections have in C alone.
macro_rules! section_in_c {
    ($($type:ident, $word:literal;)+) => {
        $(
            impl By<'_, Section<$type>> {
                section_in_c!(@operation $type, $word, sub, value: $type);
                section_in_c!(@operation $type, $word, and, value: $type);
                section_in_c!(@operation $type, $word, or, value: $type);
                section_in_c!(@operation $type, $word, xor, value: $type);
                section_in_c!(@operation $type, $word, inc);
                section_in_c!(@operation $type, $word, dec);
            }
        )+
    };
    (@operation $type:ident, $word:literal, $name:ident $(, $value:ident: $argument:ty)?) => {
        /// The operation of that name, in C whichever the language.
        #[inline]
        pub fn $name(&self $(, $value: $argument)?) {
            symbol!($word, $name(word: *mut $type $(, $value: $type)?));
            // SAFETY: C has the same word, which lives while it is borrowed.
            unsafe { $name(self.as_c() $(, $value)?) }
        }
    };
}

section_in_c! {
    u8, "section8";
    u16, "section16";
    u32, "section32";
    u64, "section64";
}

/// What C says, as Rust says it.
fn refused(status: c_int) -> Result<(), Refused> {
    match status {
        0 => Ok(()),
        DIFFERENT => Err(Refused::Different),
        BUSY => Err(Refused::Busy),
        other => panic!("C says {other}"),
    }
}

macro_rules! several {
    ($type:ty as $raw:ty, $word:literal $(, $generic:ident)?) => {
        impl$(<$generic>)? By<'_, Section<$type>> {
            /// See [`Local::compare_equal_store`].
            #[inline]
            pub fn compare_equal_store(&self, expected: $type, new: $type) -> Result<(), Refused> {
                symbol!($word, compare_equal_store(
                    word: *mut $raw, expected: $raw, desired: $raw
                ) -> c_int);
                let (old, desired) = (expected as $raw, new as $raw);
                either!(
                    self,
                    self.word.compare_equal_store(expected, new),
                    refused(compare_equal_store(self.as_c(), old, desired))
                )
            }

            /// See [`Local::compare_equal_store_store`].
            #[inline]
            pub fn compare_equal_store_store(
                &self,
                expected: $type,
                (other, value): (&Local<Section<u64>>, u64),
                new: $type,
            ) -> Result<(), Refused> {
                symbol!($word, compare_equal_store_store(
                    word: *mut $raw, expected: $raw, other: *mut u64, value: u64, desired: $raw
                ) -> c_int);
                let (old, desired, second) =
                    (expected as $raw, new as $raw, other.as_ptr().cast());
                either!(
                    self,
                    self.word.compare_equal_store_store(expected, (other, value), new),
                    refused(compare_equal_store_store(self.as_c(), old, second, value, desired))
                )
            }

            /// See [`Local::compare_equal_compare_equal_store`].
            #[inline]
            pub fn compare_equal_compare_equal_store(
                &self,
                expected: $type,
                (other, value): (&Local<Section<u64>>, u64),
                new: $type,
            ) -> Result<(), Refused> {
                symbol!($word, compare_equal_compare_equal_store(
                    word: *mut $raw, expected: $raw, other: *mut u64, value: u64, desired: $raw
                ) -> c_int);
                let (old, desired, second) =
                    (expected as $raw, new as $raw, other.as_ptr().cast());
                either!(
                    self,
                    self.word
                        .compare_equal_compare_equal_store(expected, (other, value), new),
                    refused(compare_equal_compare_equal_store(
                        self.as_c(), old, second, value, desired
                    ))
                )
            }

            /// See [`Local::compare_equal_copy_store`].
            #[inline]
            pub fn compare_equal_copy_store<const N: usize>(
                &self,
                expected: $type,
                (buffer, at, bytes): (&Local<[Section<u8>; N]>, usize, &[u8]),
                new: $type,
            ) -> Result<(), Refused> {
                symbol!($word, compare_equal_copy_store(
                    word: *mut $raw, expected: $raw, to: *mut u8, from: *const u8, length: usize,
                    desired: $raw
                ) -> c_int);
                let (old, desired) = (expected as $raw, new as $raw);
                let place = buffer.as_ptr().cast::<u8>().wrapping_add(at);
                let (from, length) = (bytes.as_ptr(), bytes.len());
                either!(
                    self,
                    self.word
                        .compare_equal_copy_store(expected, (buffer, at, bytes), new),
                    refused(compare_equal_copy_store(
                        self.as_c(), old, place, from, length, desired
                    ))
                )
            }
        }
    };
}

several!(u64 as u64, "section64");
several!(*mut T as *mut c_void, "section_ptr", T);

impl<T> By<'_, Section<*mut T>> {
    /// See [`Local::compare_not_equal_load_store`].
    ///
    /// # Safety
    /// As there.
    #[inline]
    pub unsafe fn compare_not_equal_load_store(
        &self,
        excluded: *mut T,
        offset: isize,
    ) -> Result<*mut T, Refused> {
        symbol!("section_ptr", compare_not_equal_load_store(
            word: *mut c_void, excluded: *mut c_void, offset: isize, taken: *mut *mut c_void
        ) -> c_int);
        let mut taken = null_mut();
        // SAFETY: by the caller's word, in either language.
        unsafe {
            if !self.in_c {
                return self.word.compare_not_equal_load_store(excluded, offset);
            }
            let excluded = excluded.cast();
            let status =
                compare_not_equal_load_store(self.as_c(), excluded, offset, &raw mut taken);
            refused(status).map(|()| taken.cast())
        }
    }
}

impl By<'_, Section<*mut u64>> {
    /// See [`Local::add_to_pointee`].
    ///
    /// # Safety
    /// As there.
    #[inline]
    pub unsafe fn add_to_pointee(&self, value: u64) -> Result<(), Refused> {
        symbol!("section_ptr", add_to_pointee(word: *mut c_void, value: u64) -> c_int);
        // SAFETY: by the caller's word, in either language.
        unsafe {
            if self.in_c {
                refused(add_to_pointee(self.as_c(), value))
            } else {
                self.word.add_to_pointee(value)
            }
        }
    }
}

impl By<'_, Pair> {
    /// See `Local::compare_exchange` of pairs.
    #[inline]
    pub fn compare_exchange(&self, old: [u64; 2], new: [u64; 2]) -> Result<[u64; 2], [u64; 2]> {
        symbol!("pair", compare_exchange(
            pair: *mut c_void, expected: *mut u64, desired: *const u64
        ) -> c_int);
        let mut seen = old;
        either!(
            self,
            self.word.compare_exchange(old, new),
            match compare_exchange(self.as_c(), seen.as_mut_ptr(), new.as_ptr()) {
                0 => Err(seen),
                _ => Ok(seen),
            }
        )
    }
}
