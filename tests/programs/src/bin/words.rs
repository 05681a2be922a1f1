// SPDX-License-Identifier: MIT OR Apache-2.0
//! Every operation of per-vCPU words, from one thread: what it returns, and what is in the areas
//! afterwards, in Rust and then in C. `words [unregistered]`, where the thread leaves rseq first.
#![no_std]
#![no_main]

use vcpu_rt::{Pair, PerVcpu, Refused, Section, Single, Value, per_vcpu, println, thread, vcpu};
use vcpu_test_programs::PASSED;
use vcpu_test_programs::arguments::argument;
use vcpu_test_programs::in_c::By;
use vcpu_test_programs::syscall::{affinity, pin, processors};
use vcpu_test_programs::table::abi;

vcpu_rt::entry!(main);

per_vcpu! {
    /// One of each size.
    static BYTE: Single<u8>;
    static SHORT: Single<i16>;
    static INT: Single<u32>;
    static LONG: Single<i64>;
    static POINTER: Single<*mut u8>;
    static SECTION_POINTER: Section<*mut u8>;
    static PAIR: Pair;
    static WORDS: [Section<u64>; 8];
    static LOG: [Section<u8>; 64];
    static TARGET: Section<*mut u64>;
}

/// Each operation on integers of one width, against what plain arithmetic says.
macro_rules! integers {
    ($variable:expr, $type:ty) => {{
        let word = $variable;
        let big = <$type>::MAX;
        assert_eq!(word.load(), 0);
        word.store(big);
        word.inc();
        assert_eq!(word.load(), <$type>::MIN);
        word.dec();
        word.sub(5);
        assert_eq!(word.load(), big - 5);
        assert_eq!(word.add_return(2), big - 3);
        assert_eq!(word.exchange(0x5a), big - 3);
        word.and(0x0f);
        word.or(0x30);
        word.xor(0x0c);
        assert_eq!(word.compare_exchange(1, 2), Err(0x36));
        assert_eq!(word.compare_exchange(0x36, 7), Ok(0x36));
        assert_eq!(word.sum(), 7);
        word.add(3);
        assert_eq!(word.read(0).is_some(), word.read(u32::MAX).is_none());
        assert_eq!(word.values().map(|(_, value)| value).sum::<$type>(), 10);
        // As it was.
        word.store(0);
    }};
}

fn main() -> i32 {
    // So that one operation finds what the one before it left, also where CPUs are the ids.
    let cpu = processors(&affinity())
        .next()
        .expect("it may run somewhere");
    pin(cpu).expect("it is allowed");
    if argument(1) == Some("unregistered") {
        thread::unregister().expect("it is registered");
    }
    println!("mode={}", abi().mode);
    println!("current_mode={:?}", vcpu::current_mode());
    for in_c in [false, true] {
        integers!(By::new(&BYTE, in_c), u8);
        integers!(By::new(&SHORT, in_c), i16);
        integers!(By::new(&INT, in_c), u32);
        integers!(By::new(&LONG, in_c), i64);
        pointers(in_c);
        pairs(in_c);
        sections(in_c);
        sections_with_pointers(in_c);
    }
    tells_the_same();
    println!("every operation does what it says");
    PASSED
}

unsafe extern "C" {
    safe fn c_thread_mode() -> u32;
    safe fn c_thread_node() -> i32;
}

/// What both languages tell of the thread.
fn tells_the_same() {
    assert_eq!(c_thread_mode(), vcpu::current_mode() as u32);
    let node = vcpu::node().map_or(-1, u32::cast_signed);
    assert_eq!(c_thread_node(), node);
}

fn pointers(in_c: bool) {
    let (word, section) = (By::new(&POINTER, in_c), By::new(&SECTION_POINTER, in_c));
    let mut place = 1_u8;
    let pointer = &raw mut place;
    assert!(word.load().is_null());
    word.store(pointer);
    assert_eq!(word.exchange(core::ptr::null_mut()), pointer);
    assert_eq!(word.load().to_raw(), 0);
    let null = core::ptr::null_mut();
    assert_eq!(section.compare_exchange(pointer, null), Err(null));
    assert_eq!(section.compare_exchange(null, pointer), Ok(null));
    assert_eq!(section.exchange(null), pointer);
}

fn pairs(in_c: bool) {
    let pair = By::new(&PAIR, in_c);
    assert_eq!(PAIR.load(), [0, 0]);
    assert_eq!(pair.compare_exchange([0, 0], [1, 2]), Ok([0, 0]));
    assert_eq!(pair.compare_exchange([1, 3], [9, 9]), Err([1, 2]));
    assert_eq!(pair.compare_exchange([2, 2], [9, 9]), Err([1, 2]));
    assert_eq!(pair.compare_exchange([1, 2], [u64::MAX, 3]), Ok([1, 2]));
    assert_eq!(PAIR.load(), [u64::MAX, 3]);
    pair.compare_exchange([u64::MAX, 3], [0, 0]).expect("equal");
    let allocated = PerVcpu::<Pair>::new().expect("room");
    assert_eq!(allocated.load(), [0, 0]);
}

fn sections(in_c: bool) {
    let (first, other) = (WORDS.at(0), &WORDS.at(1));
    let word = By::new(&first, in_c);
    word.store(0);
    assert_eq!(word.compare_equal_store(1, 2), Err(Refused::Different));
    assert_eq!(word.compare_equal_store(0, 2), Ok(()));
    assert_eq!(word.compare_equal_store_store(2, (other, 7), 3), Ok(()));
    assert_eq!((word.load(), other.load()), (3, 7));
    assert_eq!(
        word.compare_equal_compare_equal_store(3, (other, 8), 4),
        Err(Refused::Different)
    );
    assert_eq!(
        word.compare_equal_compare_equal_store(4, (other, 7), 4),
        Err(Refused::Different)
    );
    assert_eq!(
        word.compare_equal_compare_equal_store(3, (other, 7), 4),
        Ok(())
    );
    assert_eq!(
        word.compare_equal_copy_store(4, (&LOG, 60, b"tail"), 64),
        Ok(())
    );
    assert_eq!(LOG.at(63).load(), b'l');
    assert_eq!(LOG.at(59).load(), 0);
    assert_eq!(
        word.compare_equal_copy_store(4, (&LOG, 0, b"head"), 1),
        Err(Refused::Different)
    );
    assert_eq!(word.exchange(9), 64);
    assert_eq!(word.compare_exchange(9, 10), Ok(9));
    word.add(5);
    assert_eq!(word.add_return(5), 20);
    assert_eq!(word.sum(), 20);
}

fn sections_with_pointers(in_c: bool) {
    let word = By::new(&TARGET, in_c);
    let mut target = 1;
    // SAFETY: null or the address of `target`, which lives longer.
    assert_eq!(unsafe { word.add_to_pointee(5) }, Err(Refused::Different));
    word.store(&raw mut target);
    // SAFETY: as above.
    assert_eq!(unsafe { word.add_to_pointee(5) }, Ok(()));
    // SAFETY: as above: the word at `target` is what is loaded into the list's head.
    let taken = unsafe { word.compare_not_equal_load_store(core::ptr::null_mut(), 0) };
    assert_eq!(taken, Ok(&raw mut target));
    assert_eq!(word.load().to_raw(), 6);
    word.store(core::ptr::null_mut());
    // SAFETY: as above.
    let empty = unsafe { word.compare_not_equal_load_store(core::ptr::null_mut(), 0) };
    assert_eq!(empty, Err(Refused::Different));
}
