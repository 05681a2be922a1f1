// SPDX-License-Identifier: MIT OR Apache-2.0
//! EFAULT: nothing mapped, half of it mapped, no right to it.

use core::ptr::with_exposed_provenance_mut;

use rustix::io::Errno;
use vcpu_abi::{PR_GET_GS_MODE, PR_SET_GS_MODE, PrctlSetGsMode};
use vcpu_guest_programs::gs::{NONE, PAGE, get, mm_vcpu, prctl, set};
use vcpu_guest_programs::{check_eq, memory};

const FAULT: Result<usize, Errno> = Err(Errno::FAULT);

pub fn faults() {
    let end = memory::page_before_hole();
    for mode in [NONE, mm_vcpu(8192)] {
        check_eq!(set(mode), Ok(()), "SET {mode:?}");
        for (what, address, size) in [
            ("null", 0, 16),
            ("unmapped", end, 16),
            ("unmapped, a page", end, PAGE),
            ("a struct of which one byte is mapped", end - 1, 16),
            ("a struct whose stride is not mapped", end - 8, 16),
            ("a struct whose last byte is not mapped", end - 15, 16),
            ("a tail that is not mapped", end - 16, 17),
            ("a long tail that is not mapped", end - 16, PAGE),
            ("a tail that ends beyond", end - PAGE + 8, PAGE),
            ("the kernel's half", 0xffff_8880_0000_0000, 16),
            ("not canonical", 1 << 62, 16),
            ("the end of all addresses", usize::MAX - 7, 16),
        ] {
            for option in [PR_SET_GS_MODE, PR_GET_GS_MODE] {
                clear(end);
                // SAFETY: what is mapped there is zero.
                let found = unsafe { prctl(option, [address, size, 0, 0]) };
                check_eq!(found, FAULT, "prctl {option:#x} with {what}");
                check_eq!(get(), Ok(mode), "GET after a fault: {what}");
            }
        }
    }
    exact_fit(end);
    read_only(end);
}

/// An earlier GET wrote as far as it came.
fn clear(end: usize) {
    // SAFETY: the page before the hole, which is this program's.
    unsafe { with_exposed_provenance_mut::<u8>(end - PAGE).write_bytes(0, PAGE) };
}

/// The struct ends where the mapping does: no byte beyond is looked at.
fn exact_fit(end: usize) {
    let place = with_exposed_provenance_mut::<PrctlSetGsMode>(end - 16);
    // SAFETY: the last 16 bytes of a page that is this program's.
    unsafe {
        place.write(mm_vcpu(3 * PAGE as u64));
        let found = prctl(PR_SET_GS_MODE, [end - 16, 16, 0, 0]);
        check_eq!(found, Ok(0), "SET with a struct at the end of the mapping");
        place.write(NONE);
        let found = prctl(PR_GET_GS_MODE, [end - 16, 16, 0, 0]);
        check_eq!(found, Ok(0), "GET into the end of the mapping");
        check_eq!(place.read(), mm_vcpu(3 * PAGE as u64), "what GET wrote");
    }
}

/// SET only reads; GET must write.
fn read_only(end: usize) {
    let mode = mm_vcpu(5 * PAGE as u64);
    // SAFETY: as above.
    unsafe { with_exposed_provenance_mut::<PrctlSetGsMode>(end - 16).write(mode) };
    memory::protect(end - PAGE, PAGE);
    // SAFETY: SET reads.
    let found = unsafe { prctl(PR_SET_GS_MODE, [end - 16, 16, 0, 0]) };
    check_eq!(found, Ok(0), "SET from read-only memory");
    check_eq!(get(), Ok(mode), "GET afterwards");
    // SAFETY: the write is refused.
    let found = unsafe { prctl(PR_GET_GS_MODE, [end - 16, 16, 0, 0]) };
    check_eq!(found, FAULT, "GET into read-only memory");
}
