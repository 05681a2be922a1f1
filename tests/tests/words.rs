// SPDX-License-Identifier: MIT OR Apache-2.0
//! Every operation of per-vCPU words does what it says, in each access mode, from one thread and from
//! many under storms.

use vcpu_tests::case::{self, Case};
use vcpu_tests::confine;
use vcpu_tests::gs_kernel::GsKernel;
use vcpu_tests::programs::{Form, PASSED, Profile};
use vcpu_tests::run::{Outcome, Run};

/// An access mode, by how a program is made to run in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// By a kernel that a tracer plays, which is true to one thread only.
    Gs,
    MmCid,
    /// As before Linux 6.3.
    CpuId,
    Shared,
}

impl Mode {
    const ALL: [Self; 4] = [Self::Gs, Self::MmCid, Self::CpuId, Self::Shared];

    /// `MODE_*` of the table.
    fn number(self) -> u64 {
        match self {
            Self::Gs => 3,
            Self::MmCid => 2,
            Self::CpuId => 1,
            Self::Shared => 0,
        }
    }

    fn run(self, run: Run) -> Outcome {
        match self {
            Self::Gs => GsKernel::GRANTS.run(run).0,
            Self::MmCid => run.env("VCPU_RT_GS=off").run(),
            Self::CpuId => run.env("VCPU_RT_GS=off").without_rseq_feature_size().run(),
            Self::Shared => run.env("VCPU_RT_GS=off").env("VCPU_RT_RSEQ=off").run(),
        }
    }

    /// What the running kernel must have.
    fn need(self) -> Result<(), String> {
        if self != Self::Shared {
            confine::kernel_has_rseq()?;
        }
        match (self, confine::rseq_auxv()) {
            (Self::MmCid | Self::CpuId, (..28, _)) => {
                Err("this kernel tells no mm_cid to rseq".into())
            }
            _ => Ok(()),
        }
    }
}

fn main() {
    let mut cases = Vec::new();
    for form in Form::all() {
        for mode in Mode::ALL {
            let body = move || alone(form, mode, &[]);
            cases.push(Case::new(format!("{form}::{mode:?}"), body).needs(mode.need()));
        }
    }
    for form in [Form::DEFAULT, Form::OPPOSITE] {
        for mode in [Mode::Gs, Mode::MmCid, Mode::CpuId] {
            let body = move || alone(form, mode, &["unregistered"]);
            let name = format!("{form}::{mode:?}::unregistered");
            cases.push(Case::new(name, body).needs(mode.need()));
        }
        // Its threads are too many for the kernel that a tracer plays: the guests have this mode.
        for mode in [Mode::MmCid, Mode::CpuId, Mode::Shared] {
            for storms in STORMS {
                let body = move || storm(form, mode, storms);
                let storm_name = if storms.is_empty() {
                    "none".into()
                } else {
                    storms.join("_")
                };
                let name = format!("{form}::{mode:?}::storm_{storm_name}");
                cases.push(Case::new(name, body).needs(mode.need()));
            }
        }
    }
    case::run(cases)
}

/// What 64 threads have to bear.
const STORMS: [&[&str]; 8] = [
    &[],
    &["signals"],
    &["moves"],
    &["forks"],
    &["leave"],
    &["signals", "moves", "forks", "leave"],
    // Every other operation is C's.
    &["c"],
    &["c", "signals", "moves", "forks", "leave"],
];

fn alone(form: Form, mode: Mode, arguments: &[&str]) -> Result<(), String> {
    let run = Run::new(form.program("words")?).args(arguments);
    let outcome = mode.run(run).exits(PASSED);
    assert_eq!(outcome.number("mode"), mode.number());
    let current = if arguments.is_empty() {
        ["Shared", "RseqCpuId", "RseqMmCid", "Gs"][mode.number() as usize]
    } else {
        "Shared"
    };
    assert_eq!(outcome.value("current_mode"), current);
    Ok(())
}

/// The program compares with its oracle by itself.
fn storm(form: Form, mode: Mode, storms: &[&str]) -> Result<(), String> {
    let turns = match form.profile {
        Profile::Debug => "1500",
        _ => "50000",
    };
    let program = form.program("words_storm")?;
    let run = Run::new(program).args(["64", turns]).args(storms);
    let outcome = mode.run(run).exits(PASSED);
    assert_eq!(outcome.number("mode"), mode.number());
    let signals = outcome.number("signals");
    assert_eq!(
        signals > 100,
        storms.contains(&"signals"),
        "{signals} signals"
    );
    Ok(())
}
