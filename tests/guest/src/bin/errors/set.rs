// SPDX-License-Identifier: MIT OR Apache-2.0
//! PR_SET_GS_MODE, row by row: size and arguments, content, and which error wins.

use rustix::io::Errno;
use vcpu_abi::{
    GS_INDEX_MODE_MM_VCPU, GS_INDEX_MODE_NONE, PR_GET_GS_MODE, PR_SET_GS_MODE, PrctlSetGsMode,
};
use vcpu_guest_programs::check_eq;
use vcpu_guest_programs::gs::{NONE, PAGE, get, mm_vcpu, prctl, set};

/// The argument as the kernel may be given it: version 0, and room for what a later version, or a
/// page and more, would hold.
#[repr(C, align(4096))]
struct Extended {
    first: PrctlSetGsMode,
    tail: [u8; 2 * PAGE - 16],
}

struct Call {
    what: &'static str,
    mode: PrctlSetGsMode,
    size: usize,
    /// A byte of the struct, by its offset, that is not zero.
    dirty: Option<usize>,
    fourth: usize,
    fifth: usize,
    expected: Result<usize, Errno>,
}

const fn content(index_mode: u32, flags: u32, stride: u64) -> PrctlSetGsMode {
    PrctlSetGsMode {
        index_mode,
        flags,
        stride,
    }
}

const GOOD: PrctlSetGsMode = mm_vcpu(PAGE as u64);
const BAD: PrctlSetGsMode = content(GS_INDEX_MODE_MM_VCPU, 1, PAGE as u64);

/// A call with this content and nothing else that is wrong.
const fn with(what: &'static str, mode: PrctlSetGsMode, expected: Result<usize, Errno>) -> Call {
    Call {
        what,
        mode,
        size: 16,
        dirty: None,
        fourth: 0,
        fifth: 0,
        expected,
    }
}

const fn sized(what: &'static str, size: usize, expected: Result<usize, Errno>) -> Call {
    Call {
        size,
        ..with(what, GOOD, expected)
    }
}

const fn dirty(what: &'static str, size: usize, place: usize, mode: PrctlSetGsMode) -> Call {
    Call {
        dirty: Some(place),
        size,
        ..with(what, mode, TOO_BIG)
    }
}

const INVALID: Result<usize, Errno> = Err(Errno::INVAL);
const TOO_BIG: Result<usize, Errno> = Err(Errno::TOOBIG);
const MM_VCPU: u32 = GS_INDEX_MODE_MM_VCPU;
/// The highest page multiple: times any number of CPUs above one it overflows.
const HUGE: u64 = (PAGE as u64).wrapping_neg();

/// Every row that changes nothing.
const REFUSED: [Call; 31] = [
    Call {
        fourth: 1,
        ..with("arg4 = 1", GOOD, INVALID)
    },
    Call {
        fifth: 1,
        ..with("arg5 = 1", GOOD, INVALID)
    },
    Call {
        fourth: usize::MAX,
        ..with("arg4 = -1", GOOD, INVALID)
    },
    sized("size 0", 0, INVALID),
    sized("size 1", 1, INVALID),
    sized("size 8", 8, INVALID),
    sized("size 15", 15, INVALID),
    sized("a page and a byte", PAGE + 1, TOO_BIG),
    sized("two pages", 2 * PAGE, TOO_BIG),
    sized("the largest size", usize::MAX, TOO_BIG),
    sized("2^32 + 16, which is 16 as an int", (1 << 32) + 16, TOO_BIG),
    dirty("17 bytes, the last not zero", 17, 16, GOOD),
    dirty("24 bytes, the first of the tail not zero", 24, 16, GOOD),
    dirty("24 bytes, the last not zero", 24, 23, GOOD),
    dirty("a page, its last byte not zero", PAGE, PAGE - 1, GOOD),
    with("unknown mode 2", content(2, 0, PAGE as u64), INVALID),
    with(
        "unknown mode 2^31",
        content(1 << 31, 0, PAGE as u64),
        INVALID,
    ),
    with(
        "unknown mode -1, stride 0",
        content(u32::MAX, 0, 0),
        INVALID,
    ),
    with("flags 1", content(MM_VCPU, 1, PAGE as u64), INVALID),
    with(
        "flags 2^31",
        content(MM_VCPU, 1 << 31, PAGE as u64),
        INVALID,
    ),
    with("NONE, flags 1", content(GS_INDEX_MODE_NONE, 1, 0), INVALID),
    with("MM_VCPU, stride 0", mm_vcpu(0), INVALID),
    with("MM_VCPU, stride 1", mm_vcpu(1), INVALID),
    with("MM_VCPU, stride 4095", mm_vcpu(4095), INVALID),
    with("MM_VCPU, stride 4097", mm_vcpu(4097), INVALID),
    with("MM_VCPU, stride 6144", mm_vcpu(6144), INVALID),
    with(
        "NONE, stride 4096",
        content(GS_INDEX_MODE_NONE, 0, PAGE as u64),
        INVALID,
    ),
    with("NONE, stride 1", content(GS_INDEX_MODE_NONE, 0, 1), INVALID),
    // EINVAL for the content comes before ERANGE.
    with(
        "flags 1 and a stride out of range",
        content(MM_VCPU, 1, HUGE),
        INVALID,
    ),
    with(
        "a stride out of range and no page multiple",
        mm_vcpu(HUGE + 1),
        INVALID,
    ),
    // The tail comes before the content.
    dirty("flags 1 and a tail that is not zero", 24, 20, BAD),
];

/// Rows that set stride 4096.
const TAKEN: [Call; 3] = [
    sized("17 bytes, the last zero", 17, Ok(0)),
    sized("24 bytes, the tail zero", 24, Ok(0)),
    sized("a page, the tail zero", PAGE, Ok(0)),
];

fn call(call: &Call) {
    static mut ARGUMENT: Extended = Extended {
        first: NONE,
        tail: [0; 2 * PAGE - 16],
    };
    let argument = &raw mut ARGUMENT;
    // SAFETY: this program has one thread, and one call of this function at a time.
    let found = unsafe {
        (*argument).first = call.mode;
        (*argument).tail.fill(0);
        if let Some(place) = call.dirty {
            (*argument).tail[place - 16] = 0x80;
        }
        let address = argument.expose_provenance();
        let arguments = [address, call.size, call.fourth, call.fifth];
        prctl(PR_SET_GS_MODE, arguments)
    };
    check_eq!(found, call.expected, "SET with {}", call.what);
}

/// All rows with the mode off, then with it on: neither may change the mode.
pub fn rows() {
    for before in [NONE, mm_vcpu(8192)] {
        check_eq!(set(before), Ok(()), "SET {before:?}");
        for row in &REFUSED {
            call(row);
            check_eq!(get(), Ok(before), "GET after SET with {}", row.what);
        }
        arguments_before_pointer();
        other_options();
        check_eq!(get(), Ok(before), "GET after all rows");
    }
    for row in &TAKEN {
        check_eq!(set(NONE), Ok(()), "SET NONE while alone");
        call(row);
        check_eq!(get(), Ok(GOOD), "GET after SET with {}", row.what);
    }
}

/// With a null pointer: what wins over EFAULT.
fn arguments_before_pointer() {
    for (what, arguments, expected) in [
        ("null and arg4", [0, 16, 1, 0], INVALID),
        ("null and arg5", [0, 16, 0, 1], INVALID),
        ("null and size 15", [0, 15, 0, 0], INVALID),
        ("null and a page and a byte", [0, PAGE + 1, 0, 0], TOO_BIG),
        (
            "null, arg4 and a page and a byte",
            [0, PAGE + 1, 1, 0],
            INVALID,
        ),
        ("null alone", [0, 16, 0, 0], Err(Errno::FAULT)),
    ] {
        // SAFETY: nothing is behind a null pointer.
        let found = unsafe { prctl(PR_SET_GS_MODE, arguments) };
        check_eq!(found, expected, "SET with {what}");
    }
}

/// The numbers beside the two options are nobody's.
fn other_options() {
    for option in [PR_SET_GS_MODE - 1, PR_GET_GS_MODE + 1] {
        // SAFETY: an unknown option does nothing.
        let found = unsafe { prctl(option, [0, 16, 0, 0]) };
        check_eq!(found, INVALID, "prctl option {option:#x}");
    }
}
