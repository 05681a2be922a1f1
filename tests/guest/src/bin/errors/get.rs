// SPDX-License-Identifier: MIT OR Apache-2.0
//! PR_GET_GS_MODE: short and long buffers, the zeroed tail, and which error wins.

use rustix::io::Errno;
use vcpu_abi::{PR_GET_GS_MODE, PrctlSetGsMode};
use vcpu_guest_programs::check_eq;
use vcpu_guest_programs::gs::{NONE, PAGE, mm_vcpu, prctl, set};

/// What the buffer is filled with before each call.
const FILL: u8 = 0xa5;

#[repr(C, align(4096))]
struct Buffer([u8; 2 * PAGE]);

/// GETs with a buffer of this size and returns the whole of it.
fn get_sized(size: usize) -> (Result<usize, Errno>, Buffer) {
    let mut buffer = Buffer([FILL; 2 * PAGE]);
    let address = (&raw mut buffer).expose_provenance();
    // SAFETY: the kernel writes at most a page.
    let found = unsafe { prctl(PR_GET_GS_MODE, [address, size, 0, 0]) };
    (found, buffer)
}

pub fn rows() {
    for mode in [NONE, mm_vcpu(PAGE as u64), mm_vcpu(1 << 20)] {
        check_eq!(set(mode), Ok(()), "SET {mode:?}");
        for size in [16, 17, 24, 31, 32, 4095, PAGE] {
            fills(size, mode);
        }
        for (size, errno) in [
            (0, Errno::INVAL),
            (1, Errno::INVAL),
            (15, Errno::INVAL),
            (PAGE + 1, Errno::TOOBIG),
            (2 * PAGE, Errno::TOOBIG),
            ((1 << 32) + 16, Errno::TOOBIG),
            (usize::MAX, Errno::TOOBIG),
        ] {
            let (found, buffer) = get_sized(size);
            check_eq!(found, Err(errno), "GET, size {size}");
            let written = buffer.0.iter().filter(|byte| **byte != FILL).count();
            check_eq!(written, 0, "bytes written by a GET of size {size}");
        }
        precedence();
    }
}

/// The struct, then zeroes up to the size, then nothing.
fn fills(size: usize, mode: PrctlSetGsMode) {
    let (found, buffer) = get_sized(size);
    check_eq!(found, Ok(0), "GET, size {size}");
    let mut expected = [FILL; 2 * PAGE];
    expected[..size].fill(0);
    expected[..4].copy_from_slice(&mode.index_mode.to_ne_bytes());
    expected[4..8].copy_from_slice(&mode.flags.to_ne_bytes());
    expected[8..16].copy_from_slice(&mode.stride.to_ne_bytes());
    for (place, (found, expected)) in buffer.0.iter().zip(expected).enumerate() {
        check_eq!(*found, expected, "byte {place} of a GET of size {size}");
    }
}

fn precedence() {
    let mut buffer = PrctlSetGsMode::default();
    let good = (&raw mut buffer).expose_provenance();
    for (what, arguments, errno) in [
        ("arg4", [good, 16, 1, 0], Errno::INVAL),
        ("arg5", [good, 16, 0, 1], Errno::INVAL),
        ("null and arg4", [0, 16, 1, 0], Errno::INVAL),
        ("null and arg5", [0, 16, 0, 1], Errno::INVAL),
        ("null and size 15", [0, 15, 0, 0], Errno::INVAL),
        (
            "null and a page and a byte",
            [0, PAGE + 1, 0, 0],
            Errno::TOOBIG,
        ),
        (
            "null, arg5 and a page and a byte",
            [0, PAGE + 1, 0, 1],
            Errno::INVAL,
        ),
        ("null alone", [0, 16, 0, 0], Errno::FAULT),
    ] {
        // SAFETY: every one of these calls is refused.
        let found = unsafe { prctl(PR_GET_GS_MODE, arguments) };
        check_eq!(found, Err(errno), "GET with {what}");
    }
    check_eq!(buffer, PrctlSetGsMode::default(), "the buffer afterwards");
}
