// SPDX-License-Identifier: MIT OR Apache-2.0
//! ptrace: GETREGS shows the base; what is written into base and selector is accepted, as debuggers
//! write all registers, and has no effect.

use core::sync::atomic::Ordering;

use linux_raw_sys::general::SIGSTOP;
use vcpu_guest_programs::base::{observe_whole, selector, verify, verify_many};
use vcpu_guest_programs::gs::turn_on;
use vcpu_guest_programs::ptrace::{Tracee, become_tracee, register};
use vcpu_guest_programs::syscall::{gettid, tgkill};
use vcpu_guest_programs::{check_eq, memory};
use vcpu_rt::println;

use super::{STRIDE, Told, check_found, check_possible, in_company, move_on};

const STOPS: u64 = 60;
/// Somewhere in the user half.
const FOREIGN: u64 = 0x1234_5000;
const USER_DS: u64 = 0x2b;

pub fn read_and_written() {
    // SAFETY: atomics.
    let told: &Told = unsafe { memory::shared() };
    let tracee = Tracee::start(|| tracee(told));
    let mut exact = 0;
    let mut not_zero = 0;
    for stop in 0..STOPS {
        tracee.wait_for_stop(SIGSTOP);
        let mut registers = tracee.registers();
        let base = registers[register::GS_BASE];
        check_possible(base, "gs_base of GETREGS");
        check_eq!(registers[register::GS], 0, "gs of GETREGS");
        check_eq!(
            tracee.peek(register::GS_BASE),
            Ok(base),
            "gs_base of PEEKUSER"
        );
        exact += u32::from(base == told.base.load(Ordering::Acquire));
        not_zero += u32::from(base != 0);
        let written = match stop % 4 {
            // As gdb does after each stop: what it read.
            0 => tracee.set_registers(&registers),
            1 => {
                registers[register::GS_BASE] = FOREIGN;
                tracee.set_registers(&registers)
            }
            2 => tracee.poke(register::GS_BASE, FOREIGN),
            _ => {
                registers[register::GS] = USER_DS;
                let all = tracee.set_registers(&registers);
                all.and(tracee.poke(register::GS, USER_DS))
            }
        };
        check_eq!(written, Ok(()), "a debugger's write, stop {stop}");
        tracee.resume(0);
    }
    tracee.expect_exit(0, "the tracee");
    println!("stops={STOPS}, base as the tracee saw it={exact}, not zero={not_zero}");
    check_found(exact, not_zero);
}

/// Looks, stops, and looks whether it was left alone.
fn tracee(told: &Told) {
    turn_on(STRIDE);
    become_tracee();
    in_company(told, || {
        for stop in 0..STOPS {
            move_on(stop as usize);
            told.base.store(observe_whole().base, Ordering::Release);
            tgkill(gettid(), SIGSTOP).expect("one may stop oneself");
            verify(STRIDE, "a tracee that goes on");
            check_eq!(selector(), 0, "the GS selector of a tracee that goes on");
            verify_many(STRIDE, 100, "a tracee that goes on");
        }
    });
}
