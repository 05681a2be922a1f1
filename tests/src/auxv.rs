// SPDX-License-Identifier: MIT OR Apache-2.0
//! Changes to the auxiliary vector of a program before its first instruction.

use std::io;

use crate::run::Run;
use crate::tracer::{Tracee, Verdict};

/// `include/uapi/linux/auxvec.h`.
const AT_RSEQ_FEATURE_SIZE: u64 = 27;

/// The address of an entry in the auxiliary vector: argc, argv, a null, envp, a null, then pairs of
/// type and value (psABI). `stack` is the first stack pointer.
pub fn entry(tracee: &Tracee, stack: u64, kind: u64) -> io::Result<u64> {
    let word = |address| tracee.read::<8>(address).map(u64::from_ne_bytes);
    let mut place = stack + 8 * (word(stack)? + 2);
    while word(place)? != 0 {
        place += 8;
    }
    place += 8;
    while word(place)? != kind {
        if word(place)? == libc::AT_NULL {
            return Err(io::Error::other(format!("no entry of type {kind}")));
        }
        place += 16;
    }
    Ok(place)
}

/// Hides the feature size of rseq, as kernels before 6.3 do: the program then goes by cpu_id.
pub fn hide_rseq_feature_size(tracee: &Tracee) -> io::Result<()> {
    let place = entry(tracee, tracee.registers()?.rsp, AT_RSEQ_FEATURE_SIZE)?;
    tracee.write(place, &libc::AT_IGNORE.to_ne_bytes())
}

impl Run {
    /// Starts the program as on a kernel that does not tell the feature size of rseq.
    pub fn without_rseq_feature_size(self) -> Self {
        self.traced(hide_rseq_feature_size, |_, _| Ok(Verdict::Leave))
    }
}
