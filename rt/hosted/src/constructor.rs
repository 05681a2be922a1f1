// SPDX-License-Identifier: MIT OR Apache-2.0
//! What runs at load, before `main`.

use crate::choice::Situation;
use crate::environment::Environment;
use crate::start::{self, Theirs};
use crate::{symbols, thread, unload};

/// In every object that has this crate in it: the C library calls it once, before all other constructors of the
/// object. Linkers sort by the number; below 101 are those that compilers leave to the implementation.
#[used]
#[unsafe(link_section = ".init_array.00000")]
static CONSTRUCTOR: extern "C" fn() = construct;

extern "C" fn construct() {
    if !start::is_started() {
        start_late();
    }
    thread::enter_first();
}

/// Where no resolver ran: on musl, in programs that are linked with the archive, in Rust programs.
fn start_late() {
    let is_announced = symbols::announces();
    let theirs = if is_announced {
        None
    } else {
        Theirs::as_everybody_finds()
    };
    // The shared library is linked to stay, and musl unloads nothing.
    let stays = is_announced || unload::prevent();
    let situation = Situation {
        is_announced,
        can_be_unloaded: !stays,
        ..Situation::default()
    };
    // SAFETY: a constructor runs once, and who uses the runtime before it finds that it is absent.
    unsafe {
        let rseq = start::start(&Environment::of_libc(), theirs, situation);
        symbols::fill_later(rseq);
    }
}
