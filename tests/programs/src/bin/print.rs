// SPDX-License-Identifier: MIT OR Apache-2.0
//! The print macros: `forms`, `long` (more than one buffer), `closed` (no stdout at all), and
//! `threads`, where eight of them write lines at the same time.
#![no_std]
#![no_main]

use vcpu_rt::{eprint, eprintln, print, println, thread};
use vcpu_test_programs::PASSED;
use vcpu_test_programs::arguments::word;
use vcpu_test_programs::syscall::close;

vcpu_rt::entry!(main);

fn main() -> i32 {
    match word(1) {
        "forms" => {
            print!("a{}", 1);
            print!("b");
            println!("");
            println!("{:>5}|{:#x}|{:?}", 42, 255, "quoted");
            eprint!("error {}", 1);
            eprintln!(" and {}", 2);
            eprintln!("");
        }
        "long" => println!("<{:a>3000}>", ""),
        "closed" => {
            close(1).expect("it was open");
            println!("nobody reads this");
            eprintln!("still here");
        }
        "threads" => thread::scope(|scope| {
            for index in 0..8 {
                scope
                    .spawn(move || line_after_line(index))
                    .expect("a thread");
            }
        }),
        other => panic!("what is {other}?"),
    }
    PASSED
}

fn line_after_line(thread: usize) {
    for line in 0..500 {
        println!("[{thread} {line} {:->200}]", "");
    }
}
