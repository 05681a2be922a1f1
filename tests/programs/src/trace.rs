// SPDX-License-Identifier: MIT OR Apache-2.0
//! A worked example of a critical section of one's own, shown in docs/critical-sections.md.
// example: trace

use core::ptr::NonNull;

use vcpu_rt::rseq::MM_CID;
use vcpu_rt::{Local, Object, Parts, Refused, Section, critical_section};

/// Records that a ring holds, a power of two. The oldest one is overwritten.
pub const RECORDS: usize = 64;

/// A ring of records of two words, and how many were ever appended.
#[repr(C)]
pub struct Trace {
    appended: Section<u64>,
    records: [[Section<u64>; 2]; RECORDS],
}

// SAFETY: words, all of the section kind, for which zeroes are an empty ring.
unsafe impl Object for Trace {}

/// Appends a record to the ring of this thread's vCPU.
pub fn append(trace: &Local<Trace>, record: [u64; 2]) -> Result<(), Refused> {
    trace.in_section(
        |ring| append_once(ring, record),
        |ring| append_alone(ring, record),
    )
}

/// One try. Both words of the record are written, then the count, which makes them valid: an abort
/// in between leaves a half-written record where the next one will be.
fn append_once(ring: Parts<Trace>, record: [u64; 2]) -> Option<()> {
    // SAFETY: it touches the copy of the vCPU that it runs on, whose records only such sections
    // write, and stays inside of it by the mask. The commit is the addition.
    unsafe {
        critical_section!(
            code: [
                "mov {ring:e}, fs:[{mm_cid}]",
                "cmp {ring:e}, {bound:e}",
                "jae {refused}",
                "imul {ring}, {stride}",
                "add {ring}, {first}",
                "mov {place}, [{ring}]",
                "and {place:e}, {mask}",
                "shl {place:e}, 4",
                "mov [{ring} + {place} + 8], {time}",
                "mov [{ring} + {place} + 16], {value}",
            ],
            commit: "inc qword ptr [{ring}]",
            abort: ["jmp {refused}"],
            ring = out(reg) _,
            place = out(reg) _,
            mm_cid = const MM_CID,
            mask = const RECORDS - 1,
            first = in(reg) ring.first.as_ptr(),
            bound = in(reg) ring.bound,
            stride = in(reg) ring.stride,
            time = in(reg) record[0],
            value = in(reg) record[1],
            refused = label { return None },
        )
    }
    Some(())
}

/// The same on a shared area, while nobody else does so.
fn append_alone(ring: NonNull<Trace>, record: [u64; 2]) {
    let words = ring.cast::<u64>();
    // SAFETY: the copy is inside a live object. Volatile: others read it.
    unsafe {
        let appended = words.read_volatile();
        let place = words.add(1 + 2 * (appended as usize % RECORDS));
        place.write_volatile(record[0]);
        place.add(1).write_volatile(record[1]);
        words.write_volatile(appended + 1);
    }
}
// end

/// How many records were appended in one area, and those that are still there, oldest first. Nobody
/// appends meanwhile. All but one of a full ring: where the next one will be, an append that an abort
/// or a fork cut off has left a half-written record.
pub fn read(
    trace: &Local<Trace>,
    area: u32,
) -> Option<(u64, impl Iterator<Item = [u64; 2]> + use<>)> {
    let words = trace.copy(area)?.cast::<u64>();
    // SAFETY: the copy is inside a live object.
    let appended = unsafe { words.read_volatile() };
    let first = appended.saturating_sub(RECORDS as u64 - 1);
    let records = (first..appended).map(move |number| {
        // SAFETY: as above.
        unsafe {
            let place = words.add(1 + 2 * (number as usize % RECORDS));
            [place.read_volatile(), place.add(1).read_volatile()]
        }
    });
    Some((appended, records))
}
