// SPDX-License-Identifier: MIT OR Apache-2.0
//! A 64-bit program that returns from a signal by the 32-bit entry: the frame, which it wrote itself,
//! names a GS selector, and the kernel loads it.

use core::arch::asm;
use core::cell::Cell;
use core::ptr::with_exposed_provenance_mut;

use vcpu_guest_programs::base::selector;
use vcpu_guest_programs::check::skip;
use vcpu_guest_programs::gs::{PAGE, turn_on};
use vcpu_guest_programs::process::{fork, wait_for};
use vcpu_guest_programs::{check_eq, memory};
use vcpu_rt::println;

use super::selectors::{USER_DS, after, sleep};
use vcpu_guest_programs::gs::STRIDE;

/// Where the frame is in its page: above it, the values that the return does not keep.
const FRAME: usize = 1024;
/// Of `struct rt_sigframe_ia32` (`arch/x86/include/asm/sigframe.h`): the signal stack's flags, and
/// `struct sigcontext_32` (`arch/x86/include/uapi/asm/sigcontext.h`).
const STACK_FLAGS: usize = FRAME + 156;
const CONTEXT: usize = FRAME + 164;
/// Of `struct sigcontext_32`.
const IP: usize = CONTEXT + 56;

pub fn selectors() {
    turn_on(STRIDE);
    let page = memory::map_low(PAGE);
    // In a child first: without the emulation the entry is a fault.
    let probe = fork(|| {
        return_with(page, 0);
        0
    });
    let end = wait_for(probe);
    if end.terminating_signal().is_some() {
        skip("this kernel has no IA32_EMULATION");
    }
    check_eq!(
        end.exit_status(),
        Some(0),
        "exit status of the first return"
    );
    let seen = Cell::new(0);
    for loaded in [0, 3, USER_DS] {
        let returns = || {
            return_with(page, loaded);
            seen.set(seen.get() + u32::from(selector() == USER_DS));
        };
        for _ in 0..20 {
            after(returns, "a 32-bit sigreturn and a sleep", sleep);
        }
    }
    println!("selectors seen before a switch={}", seen.get());
    check_eq!(seen.get() > 0, true, "a 32-bit sigreturn loads selectors");
}

/// rt_sigreturn by `int 0x80`, with a frame that goes on behind it.
fn return_with(page: usize, selector: u16) {
    let words = [
        (STACK_FLAGS, 2), // SS_DISABLE
        (CONTEXT, u32::from(selector)),
        (CONTEXT + 20, page as u32),        // esi
        (CONTEXT + 28, page as u32 + 512),  // esp
        (CONTEXT + 60, 0x33),               // cs, 64-bit
        (CONTEXT + 64, 0x202),              // flags
        (CONTEXT + 72, u32::from(USER_DS)), // ss
    ];
    for (offset, value) in words {
        // SAFETY: inside the page, which is this program's; the rest of it is zero.
        unsafe { with_exposed_provenance_mut::<u32>(page + offset).write_unaligned(value) };
    }
    // SAFETY: the kernel takes the general registers' lower halves, segments and flags from the
    // frame, clears the vector registers, and goes on at the label, whose address has 32 bits in a
    // program linked to fixed addresses. rsp, rbp and rbx are kept in the page, whose address comes
    // back in rsi; every other register is given up. Meanwhile there is no stack: no handler is
    // installed.
    unsafe {
        asm!(
            "mov [rsi], rsp",
            "mov [rsi + 8], rbp",
            "mov [rsi + 16], rbx",
            "lea rax, [rip + 2f]",
            "mov [rsi + {ip}], eax",
            "lea rsp, [rsi + {frame} + 4]",
            "mov eax, 173",
            "int 0x80",
            "ud2",
            "2:",
            "mov rsp, [rsi]",
            "mov rbp, [rsi + 8]",
            "mov rbx, [rsi + 16]",
            ip = const IP,
            frame = const FRAME,
            inout("rsi") page => _,
            out("r12") _,
            out("r13") _,
            out("r14") _,
            out("r15") _,
            clobber_abi("C"),
        );
    }
}
