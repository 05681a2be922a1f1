// SPDX-License-Identifier: MIT OR Apache-2.0
//! Signals and selectors. `signals handlers` (they see and keep the mode; nested, on another stack,
//! interrupting a read), `migrate` (they move to another CPU before they return), `selectors` (what
//! a program loads into `%gs` is gone at the next switch), `compat-return` (a selector loaded by a
//! 32-bit sigreturn).
#![no_std]
#![no_main]

mod compat_return;
mod handlers;
mod migrate;
mod selectors;

use vcpu_guest_programs::arguments::{number, word};
use vcpu_guest_programs::base::prepare;
use vcpu_guest_programs::gs::begin;

vcpu_rt::entry!(main);

fn main() {
    begin();
    prepare();
    match word(1) {
        "handlers" => handlers::all(),
        "migrate" => migrate::moving_handlers(number(2)),
        "selectors" => selectors::all(),
        "compat-return" => compat_return::selectors(),
        other => panic!("what is {other}?"),
    }
}
