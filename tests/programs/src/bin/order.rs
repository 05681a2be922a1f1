// SPDX-License-Identifier: MIT OR Apache-2.0
//! Who runs when: preinit, init, main, at_exit in reverse, fini in reverse. `full` overflows the
//! at_exit list; `nested` registers from within an exit handler.
#![no_std]
#![no_main]

use core::ffi::{c_char, c_int};

use vcpu_rt::{println, process};
use vcpu_test_programs::PASSED;
use vcpu_test_programs::arguments::{argument, word};
use vcpu_test_programs::table::abi;

vcpu_rt::entry!(main);

type Initialiser = extern "C" fn(c_int, *const *const c_char, *const *const c_char);
type Finaliser = extern "C" fn();

// Mutable, so that the section is writable: GNU ld puts a read-only one, which no start file
// makes writable as it does the others, where it breaks RELRO apart.
#[used]
#[unsafe(link_section = ".preinit_array")]
static mut PREINIT: Initialiser = preinit;
#[used]
#[unsafe(link_section = ".init_array.00001")]
static EARLY: Initialiser = early;
#[used]
#[unsafe(link_section = ".init_array")]
static LATE: Initialiser = late;
#[used]
#[unsafe(link_section = ".fini_array.00001")]
static FINI_LAST: Finaliser = fini_last;
#[used]
#[unsafe(link_section = ".fini_array")]
static FINI_FIRST: Finaliser = fini_first;

extern "C" fn preinit(_: c_int, _: *const *const c_char, _: *const *const c_char) {
    println!("preinit");
}

/// Initialisers get what main gets in C, and find a finished runtime.
extern "C" fn early(count: c_int, argv: *const *const c_char, envp: *const *const c_char) {
    assert_eq!(count as usize, vcpu_rt::env::args().count());
    assert!(!argv.is_null() && !envp.is_null());
    assert_eq!(abi().size, vcpu_abi::ABI_SIZE);
    println!("init early");
}

extern "C" fn late(_: c_int, _: *const *const c_char, _: *const *const c_char) {
    println!("init late");
}

extern "C" fn fini_first() {
    println!("fini first");
}

extern "C" fn fini_last() {
    println!("fini last");
}

fn main() -> i32 {
    println!("main");
    match argument(1) {
        None => {
            process::at_exit(|| println!("registered first")).expect("the list has room");
            process::at_exit(|| println!("registered second")).expect("the list has room");
        }
        Some("full") => {
            for _ in 0..32 {
                process::at_exit(|| println!("handler")).expect("the list has 32 places");
            }
            let error =
                process::at_exit(|| println!("one too many")).expect_err("the list is full");
            println!("{error}");
        }
        Some("nested") => {
            process::at_exit(|| println!("outer again")).expect("room");
            process::at_exit(|| {
                println!("outer");
                process::at_exit(|| println!("inner")).expect("room");
            })
            .expect("room");
        }
        Some("exit") => {
            process::at_exit(|| println!("registered")).expect("room");
            process::exit(PASSED + 1);
        }
        Some(_) => panic!("what is {}?", word(1)),
    }
    PASSED
}
