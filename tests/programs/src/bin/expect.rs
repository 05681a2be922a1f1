// SPDX-License-Identifier: MIT OR Apache-2.0
//! Runs another program and judges it, where nobody else does: exit status 0 when all was as said,
//! 1 when it was not.
//!
//! - `expect status N PROGRAM [ARG ..]`: it exits with status N.
//! - `expect line WORDS PROGRAM [ARG ..]`: its standard error is one line, in which each of the words
//!   between commas stands, and it exits with status 0 or `PASSED`.
#![no_std]
#![no_main]

use core::ffi::{CStr, c_char};
use core::ptr::null;

use linux_raw_sys::general as nr;
use vcpu_rt::process::{Child, Command, ExitStatus};
use vcpu_rt::{Errno, env, println};
use vcpu_test_programs::PASSED;
use vcpu_test_programs::arguments::{number, word};
use vcpu_test_programs::syscall::{close, syscall};

vcpu_rt::entry!(main);

const STDERR: usize = 2;

fn main() -> i32 {
    let as_said = match word(1) {
        "status" => status(number(2)),
        "line" => line(word(2)),
        other => panic!("what is {other}?"),
    };
    i32::from(!as_said)
}

/// Starts the program with its arguments and this one's own environment.
fn start() -> Result<Child, Errno> {
    let mut pointers: [*const c_char; 16] = [null(); 16];
    for (place, argument) in pointers.iter_mut().take(15).zip(env::args().skip(3)) {
        *place = argument.as_ptr();
    }
    let program: &CStr = env::args().nth(3).expect("a program is missing");
    // SAFETY: the arguments are those of this process, which live as long as it does.
    let command = unsafe { Command::new(program, &pointers, &[null()]) }?;
    command.inherit_environment().spawn()
}

fn status(wanted: usize) -> bool {
    let ended = start().and_then(|child| child.wait());
    println!("expect: {ended:?}");
    ended == Ok(ExitStatus::Exited(wanted as u8))
}

fn line(words: &str) -> bool {
    let mut pipe = [0_i32; 2];
    let own = call(nr::__NR_fcntl, [STDERR, nr::F_DUPFD_CLOEXEC as usize, 3]);
    call(
        nr::__NR_pipe2,
        [
            (&raw mut pipe).expose_provenance(),
            nr::O_CLOEXEC as usize,
            0,
        ],
    );
    let [read_end, write_end] = pipe.map(|end| end as usize);
    call(nr::__NR_dup2, [write_end, STDERR, 0]);
    let child = start();
    call(nr::__NR_dup2, [own, STDERR, 0]);
    close(write_end).expect("it is open");
    let mut text = [0_u8; 1024];
    let mut length = 0;
    loop {
        let rest = &mut text[length..];
        let arguments = [read_end, rest.as_mut_ptr().expose_provenance(), rest.len()];
        match call(nr::__NR_read, arguments) {
            0 => break,
            read => length += read,
        }
    }
    let text = core::str::from_utf8(&text[..length]).expect("it is text");
    let ended = child.and_then(|child| child.wait());
    println!("expect: {ended:?}, {text}");
    let well = [0, PASSED as u8].map(|status| Ok(ExitStatus::Exited(status)));
    let has = |wanted: &str| text.split_ascii_whitespace().any(|word| word == wanted);
    text.lines().count() == 1 && words.split(',').all(has) && well.contains(&ended)
}

/// A call that cannot fail here.
fn call(number: u32, [a, b, c]: [usize; 3]) -> usize {
    // SAFETY: descriptors of this process, and places of the sizes that are passed.
    unsafe { syscall(number, [a, b, c, 0]) }.expect("it is well formed")
}
