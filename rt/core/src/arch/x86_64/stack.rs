// SPDX-License-Identifier: MIT OR Apache-2.0
//! Critical sections of [`crate::structures::Stack`]: the head of a list, and 8 bytes behind it the
//! word that stops them while it is not 0.

use core::ptr::NonNull;

use super::section_on_copies::section_on_copies;
use crate::access::Access;

/// How one try of a section ended, when it did not commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Miss {
    /// The list is empty.
    Empty,
    /// Sections on the copy so many bytes from vCPU 0's are stopped.
    Stopped(usize),
    /// It was aborted, or this thread has no valid id.
    Refused,
}

/// Puts the node at `node` in front of the list.
///
/// # Safety
/// `head` is in vCPU 0's copy of a stack. The word at `node + link` is the caller's. `%fs` points to
/// a thread block of vcpu-rt.
#[inline(always)]
pub unsafe fn stack_push<const ID: usize>(
    head: NonNull<u64>,
    node: u64,
    link: usize,
    access: Access,
) -> Result<(), Miss> {
    let (index, end): (usize, u32);
    // SAFETY: memory is touched at rseq_cs, at the copy, and at the link, which nobody else reads
    // until the commit.
    unsafe {
        section_on_copies!(
            (const ID), access, refused: "775f",
            code: [
                "cmp qword ptr [{head} + {index} + 8], 0",
                "jne 776f",
                "mov {next}, [{head} + {index}]",
                "mov [{node} + {link}], {next}",
            ],
            commit: "mov [{head} + {index}], {node}",
            abort: ["775:", "mov {end:e}, 1", "jmp 772b", "776:", "mov {end:e}, 2", "jmp 772b"],
            index = out(reg) index,
            next = out(reg) _,
            end = inout(reg) 0_u32 => end,
            head = in(reg) head.as_ptr(),
            node = in(reg) node,
            link = in(reg) link,
        )
    };
    match end {
        0 => Ok(()),
        1 => Err(Miss::Refused),
        _ => Err(Miss::Stopped(index)),
    }
}

/// Takes the first node.
///
/// # Safety
/// As for [`stack_push`]; each node of the list has its link at `link`, and stays readable until a
/// fence after it was taken by somebody of another vCPU.
#[inline(always)]
pub unsafe fn stack_pop<const ID: usize>(
    head: NonNull<u64>,
    link: usize,
    access: Access,
) -> Result<u64, Miss> {
    let (index, node): (usize, u64);
    let end: u32;
    // SAFETY: as for `stack_push`.
    unsafe {
        section_on_copies!(
            (const ID), access, refused: "775f",
            code: [
                "cmp qword ptr [{head} + {index} + 8], 0",
                "jne 776f",
                "mov {node}, [{head} + {index}]",
                "test {node}, {node}",
                "jz 772f",
                "mov {next}, [{node} + {link}]",
            ],
            commit: "mov [{head} + {index}], {next}",
            abort: ["775:", "mov {end:e}, 1", "jmp 772b", "776:", "mov {end:e}, 2", "jmp 772b"],
            index = out(reg) index,
            next = out(reg) _,
            node = out(reg) node,
            end = inout(reg) 0_u32 => end,
            head = in(reg) head.as_ptr(),
            link = in(reg) link,
        )
    };
    match (end, node) {
        (0, 0) => Err(Miss::Empty),
        (0, _) => Ok(node),
        (1, _) => Err(Miss::Refused),
        _ => Err(Miss::Stopped(index)),
    }
}
