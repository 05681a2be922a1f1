// SPDX-License-Identifier: MIT OR Apache-2.0
//! The boots that test a kernel: which machine, and which plans run on it.

use super::machine::Machine;
use super::selftests::Extent;
use super::version::Linux;

/// One boot.
pub struct Boot {
    smp: u32,
    /// Whether the processor has the instructions that write GS base.
    fsgsbase: bool,
    /// Whether page tables have five levels, which QEMU's newest processor has.
    la57: bool,
    preempt: Preempt,
    /// Whether one thread emulates all processors.
    in_turn: bool,
    /// Files of tests/guest/plans.
    plans: &'static [&'static str],
    /// Those that run when there is time for everything.
    all_plans: &'static [&'static str],
}

/// The preemption model, as far as the version has it.
#[derive(Clone, Copy)]
enum Preempt {
    Full,
    /// `none` on 6.12; 7.3 has given that up for `lazy`.
    Least,
}

use Preempt::{Full, Least};

/// Two machines for each number of processors, the second one the opposite of the first, so that
/// together they have each pair of values, if not each combination.
pub static BOOTS: [Boot; 8] = [
    Boot {
        plans: &["contract", "runtime"],
        all_plans: &["contract", "runtime", "storms"],
        ..boot(4, true, true, Full)
    },
    boot(4, false, false, Least),
    boot(1, true, true, Least),
    boot(1, false, false, Full),
    boot(2, true, false, Full),
    boot(2, false, true, Least),
    boot(8, true, false, Least),
    boot(8, false, true, Full),
];

/// KVM in the guest. With a thread for each processor, QEMU 7.2 is not up to that, with a stock
/// kernel neither: KVM changes the kernel's text again and again (see `console::accident`), and a
/// guest's guest that is interrupted may lose its way.
pub static KVM: Boot = Boot {
    in_turn: true,
    plans: &["kvm"],
    all_plans: &["kvm"],
    ..boot(4, true, true, Full)
};

/// The hosted form, in processes of the C libraries of this machine.
pub static HOSTED: Boot = Boot {
    plans: &["hosted", "programs"],
    all_plans: &["hosted", "programs"],
    ..boot(2, true, true, Full)
};

/// The only boot of a stock kernel.
pub static STOCK: [Boot; 1] = [Boot {
    plans: &["absent"],
    all_plans: &["absent"],
    ..boot(4, true, true, Full)
}];

/// The only boot of a kernel that cannot have the mode, by its fragment in kernel/config.
pub static UNSUPPORTED: [(&str, Boot); 2] = [
    ("without-cgroups", unsupported(4)),
    ("without-smp", unsupported(1)),
];

const fn unsupported(smp: u32) -> Boot {
    Boot {
        plans: &["unsupported"],
        all_plans: &["unsupported"],
        ..boot(smp, true, true, Full)
    }
}

const fn boot(smp: u32, fsgsbase: bool, la57: bool, preempt: Preempt) -> Boot {
    Boot {
        smp,
        fsgsbase,
        la57,
        preempt,
        in_turn: false,
        plans: &["quick"],
        all_plans: &["contract", "runtime"],
    }
}

/// The seconds that a machine has for its start and its end.
const STARTUP: u64 = 120;

impl Boot {
    /// What the tally calls it: `smp4`, `smp4-nofsgsbase-nola57-lazy`, or `smp4-in-turn`.
    pub fn name(&self, linux: Linux) -> String {
        let mut name = format!("smp{}", self.smp);
        if !self.fsgsbase {
            name += "-nofsgsbase";
        }
        if !self.la57 {
            name += "-nola57";
        }
        if let Least = self.preempt {
            name += &format!("-{}", self.preempt.name(linux));
        }
        if self.in_turn {
            name += "-in-turn";
        }
        name
    }

    /// The plans that run.
    pub fn plans(&self, extent: Extent) -> &'static [&'static str] {
        match extent {
            Extent::Reduced => self.plans,
            Extent::Whole => self.all_plans,
        }
    }

    /// The machine, with limits for a plan that takes this long and has a case this long.
    pub fn machine(&self, linux: Linux, (whole, longest): (u64, u64)) -> Machine {
        let fsgsbase = if self.fsgsbase { "" } else { ",-fsgsbase" };
        let la57 = if self.la57 { "" } else { ",-la57" };
        Machine {
            smp: self.smp,
            memory: 1024,
            cpu: format!("max{fsgsbase}{la57}"),
            preempt: Some(self.preempt.name(linux).into()),
            append: Vec::new(),
            qemu: Vec::new(),
            in_turn: self.in_turn,
            icount: false,
            timeout: whole + STARTUP,
            silence: longest + STARTUP,
        }
    }
}

impl Preempt {
    fn name(self, linux: Linux) -> &'static str {
        match (self, linux) {
            (Full, _) => "full",
            (Least, Linux::V6_12) => "none",
            (Least, Linux::V7_3) => "lazy",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{BOOTS, Boot, Preempt};

    /// The values of a boot, each as a number.
    fn values(boot: &Boot) -> [u32; 4] {
        let preempt = matches!(boot.preempt, Preempt::Full);
        [
            boot.smp,
            boot.fsgsbase.into(),
            boot.la57.into(),
            preempt.into(),
        ]
    }

    #[test]
    fn each_pair_of_values_is_booted() {
        let allowed: [&[u32]; 4] = [&[1, 2, 4, 8], &[0, 1], &[0, 1], &[0, 1]];
        for first in 0..allowed.len() {
            for second in 0..first {
                for one in allowed[first] {
                    for other in allowed[second] {
                        let has = |boot: &Boot| {
                            values(boot)[first] == *one && values(boot)[second] == *other
                        };
                        assert!(BOOTS.iter().any(has), "{first}={one} {second}={other}");
                    }
                }
            }
        }
    }
}
