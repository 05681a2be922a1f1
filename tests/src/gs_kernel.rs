// SPDX-License-Identifier: MIT OR Apache-2.0
//! A kernel with PR_SET_GS_MODE, played by a tracer. It answers the two prctls and loads the GS base
//! once, so it is true to a program of one thread only.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use vcpu_abi::{GS_INDEX_MODE_MM_VCPU, PR_GET_GS_MODE, PR_SET_GS_MODE, PrctlSetGsMode};

use crate::auxv;
use crate::run::{Outcome, Run};
use crate::tracer::{Call, Tracee, Verdict};

/// The vCPU whose area the program gets. Not 0, where it would count without a base as well, except on
/// a machine that can have no other.
pub fn vcpu() -> u64 {
    // SAFETY: a look-up by number.
    let configured = unsafe { libc::sysconf(libc::_SC_NPROCESSORS_CONF) };
    u64::try_from(configured - 1).expect("there is a processor")
}

/// How the kernel answers.
#[derive(Clone, Copy)]
pub struct GsKernel {
    /// PR_GET_GS_MODE: the mode that is on, or an errno.
    pub get: Result<PrctlSetGsMode, i32>,
    /// PR_SET_GS_MODE: success, or an errno.
    pub set: Result<(), i32>,
    /// What the program finds in GS at its first instruction: selector and base.
    pub gs: (u64, u64),
    /// Whether AT_HWCAP2 says that FSGSBASE instructions may be used.
    pub fsgsbase: bool,
    /// Whether arch_prctl(ARCH_GET_GS) is answered; else it is refused with EPERM.
    pub tells_base: bool,
}

/// One of the two prctls as it was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prctl {
    /// PR_GET_GS_MODE or PR_SET_GS_MODE.
    pub option: u32,
    /// The struct as it was passed.
    pub passed: PrctlSetGsMode,
    /// Its size, and the two arguments that must be 0.
    pub rest: [u64; 3],
}

impl Prctl {
    /// PR_SET_GS_MODE as the runtime must make it.
    pub fn set(stride: u64) -> Self {
        Self {
            option: PR_SET_GS_MODE,
            passed: on(stride),
            rest: [16, 0, 0],
        }
    }
}

/// The mode with this stride.
pub const fn on(stride: u64) -> PrctlSetGsMode {
    PrctlSetGsMode {
        index_mode: GS_INDEX_MODE_MM_VCPU,
        flags: 0,
        stride,
    }
}

impl GsKernel {
    /// A kernel that has the mode, which is not on, and grants it.
    pub const GRANTS: Self = Self {
        get: Ok(PrctlSetGsMode {
            index_mode: 0,
            flags: 0,
            stride: 0,
        }),
        set: Ok(()),
        gs: (0, 0),
        fsgsbase: true,
        tells_base: true,
    };

    /// Runs the program on this kernel; what it asked of it before its first line on standard output,
    /// or its first thread.
    pub fn run(self, run: Run) -> (Outcome, Vec<Prctl>) {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let record = Arc::clone(&seen);
        let run = run.traced(
            move |tracee| self.at_exec(tracee),
            move |tracee, call| {
                let Some(prctl) = prctl(tracee, call)? else {
                    if !self.tells_base && asks_for_base(call) {
                        return Ok(Verdict::Answer(-i64::from(libc::EPERM)));
                    }
                    return Ok(start_is_over(call));
                };
                record
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(prctl);
                self.answer(tracee, call, prctl)
            },
        );
        let outcome = run.run();
        let seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        (outcome, seen.clone())
    }

    fn at_exec(self, tracee: &Tracee) -> io::Result<()> {
        let mut registers = tracee.registers()?;
        (registers.gs, registers.gs_base) = self.gs;
        tracee.set_registers(&registers)?;
        if !self.fsgsbase {
            hide_fsgsbase(tracee, registers.rsp)?;
        }
        Ok(())
    }

    fn answer(self, tracee: &Tracee, call: Call, prctl: Prctl) -> io::Result<Verdict> {
        let result = if prctl.option == PR_GET_GS_MODE {
            self.get.and_then(|mode| {
                let [index_mode, flags] = [mode.index_mode, mode.flags].map(u32::to_ne_bytes);
                let stride = mode.stride.to_ne_bytes();
                let bytes = [&index_mode[..], &flags, &stride].concat();
                let written = tracee.write(call.arguments[1], &bytes);
                written.map_err(|_| libc::EFAULT)
            })
        } else {
            self.set
        };
        if prctl.option == PR_SET_GS_MODE && result.is_ok() {
            let mut registers = tracee.registers()?;
            (registers.gs, registers.gs_base) = (0, prctl.passed.stride * vcpu());
            tracee.set_registers(&registers)?;
        }
        Ok(Verdict::Answer(match result {
            Ok(()) => 0,
            Err(errno) => -i64::from(errno),
        }))
    }
}

/// The call as one of the two prctls, if it is one.
fn prctl(tracee: &Tracee, call: Call) -> io::Result<Option<Prctl>> {
    let [option, address, size, fourth, fifth, _] = call.arguments;
    let known = [PR_GET_GS_MODE, PR_SET_GS_MODE].into_iter();
    let option = known.into_iter().find(|&known| u64::from(known) == option);
    let Some(option) = option.filter(|_| call.number == libc::SYS_prctl as u64) else {
        return Ok(None);
    };
    let bytes = tracee.read::<16>(address)?;
    let word = |at: usize| u32::from_ne_bytes([0, 1, 2, 3].map(|byte| bytes[at + byte]));
    let passed = PrctlSetGsMode {
        index_mode: word(0),
        flags: word(4),
        stride: u64::from(word(8)) | u64::from(word(12)) << 32,
    };
    Ok(Some(Prctl {
        option,
        passed,
        rest: [size, fourth, fifth],
    }))
}

fn asks_for_base(call: Call) -> bool {
    // `arch/x86/include/uapi/asm/prctl.h`.
    const ARCH_GET_GS: u64 = 0x1004;
    call.number == libc::SYS_arch_prctl as u64 && call.arguments[0] == ARCH_GET_GS
}

fn start_is_over(call: Call) -> Verdict {
    let output = call.number == libc::SYS_write as u64 && call.arguments[0] == 1;
    if output || call.number == libc::SYS_clone as u64 {
        Verdict::Leave
    } else {
        Verdict::Make
    }
}

/// Clears the bit in the auxiliary vector.
fn hide_fsgsbase(tracee: &Tracee, stack: u64) -> io::Result<()> {
    let place = auxv::entry(tracee, stack, libc::AT_HWCAP2)? + 8;
    let bits = u64::from_ne_bytes(tracee.read(place)?) & !(1 << 1);
    tracee.write(place, &bits.to_ne_bytes())
}
