// SPDX-License-Identifier: MIT OR Apache-2.0
//! How every section of the runtime begins: it finds this thread's copies.

/// A [`critical_section!`](crate::critical_section!) on this thread's copies of objects, by the id whose
/// distance from struct rseq is the operand `$id`: `(const ID)`, or `(in(reg) id)`. `{index}`, an output that
/// the caller names, is their distance from vCPU 0's in bytes. A thread without a valid id leaves by a jump to
/// `$refused`: one comparison tests registration and range. In the no_std form an unregistered thread's ids are
/// all ones, in the hosted form its bound is 0; and after a failed execve Linux 7.3 shows mm_cid = 0x80000000
/// until the next switch.
///
/// A multiplication, although the stride is a power of two: it takes the stride from any register, a shift
/// takes it from %cl, into which compilers then copy it before each section. What waits for its three
/// cycles is the access to the copy, and nothing that the next section needs.
macro_rules! section_on_copies {
    ((const $id:expr), $($rest:tt)*) => {
        section_on_copies!(@ $id, (const $id), $($rest)*)
    };
    ((in(reg) $id:expr), $($rest:tt)*) => {
        section_on_copies!(@ $id, (in(reg) $id), $($rest)*)
    };
    (
        @ $value:expr, ($($id:tt)+), $access:expr, refused: $refused:literal,
        code: [$($code:expr),* $(,)?],
        commit: $commit:expr,
        abort: $abort:tt,
        $($operands:tt)*
    ) => {
        $crate::critical_section!(
            place: $access.place(),
            code: [
                "mov {index:e}, fs:[{rseq} + {id}]",
                $crate::arch::compare_with_bound!(),
                concat!("jae ", $refused),
                "imul {index}, {stride}",
                $($code),*
            ],
            commit: $commit,
            abort: $abort,
            id = $($id)+,
            bound = in(reg) $crate::arch::bound_operand($access, $value),
            stride = in(reg) $access.stride(),
            $($operands)*
        )
    };
}

pub(super) use section_on_copies;
