// SPDX-License-Identifier: MIT OR Apache-2.0
//! The errors of the prctl: `errors set`, `get`, `fault`, `range`, `compat` (32-bit system calls and
//! a 32-bit program), `arch_prctl` (other ways to the base), and, for kernels without the mode,
//! `absent` (no such prctl) and `unsupported` (no mm_cid).
#![no_std]
#![no_main]

mod arch_prctl;
mod compat;
mod fault;
mod get;
mod range;
mod set;

use rustix::io::Errno;
use vcpu_guest_programs::arguments::word;
use vcpu_guest_programs::{check_eq, gs};

vcpu_rt::entry!(main);

fn main() {
    match word(1) {
        "absent" => return every_call(Errno::INVAL),
        "unsupported" => return every_call(Errno::OPNOTSUPP),
        _ => gs::begin(),
    }
    match word(1) {
        "set" => set::rows(),
        "get" => get::rows(),
        "fault" => fault::faults(),
        "range" => range::edges(),
        "compat" => compat::tasks(),
        "arch_prctl" => arch_prctl::operations(),
        other => panic!("what is {other}?"),
    }
}

/// A kernel that cannot do it says so whatever it is asked for.
fn every_call(errno: Errno) {
    check_eq!(gs::get(), Err(errno), "PR_GET_GS_MODE");
    check_eq!(gs::set(gs::NONE), Err(errno), "PR_SET_GS_MODE to NONE");
    let on = gs::mm_vcpu(gs::PAGE as u64);
    check_eq!(gs::set(on), Err(errno), "PR_SET_GS_MODE to MM_VCPU");
}
