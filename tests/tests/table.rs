// SPDX-License-Identifier: MIT OR Apache-2.0
//! The ABI table: each field is true of the running kernel, and nobody can write it.

use vcpu_abi::{
    ABI_SIZE, FEATURE_CONST_OFFSET, FEATURE_FENCE, FEATURE_MM_CID, FEATURE_NODE_ID, FEATURE_RSEQ,
    FEATURE_RSEQ_V2, MODE_RSEQ_CPU_ID, MODE_RSEQ_MM_CID, RSEQ_SIG,
};
use vcpu_tests::case::{self, Case};
use vcpu_tests::confine;
use vcpu_tests::elf::PROTECTED;
use vcpu_tests::programs::{Form, PASSED};
use vcpu_tests::run::{Outcome, Run};

fn main() {
    let mut cases = Vec::new();
    for form in [Form::DEFAULT, Form::OPPOSITE] {
        for program in ["lean_table", "lean_areas"] {
            cases.push(Case::new(format!("{form}::{program}"), move || {
                Run::new(form.program(program)?).run().exits(PASSED);
                Ok::<(), String>(())
            }));
        }
        cases.push(
            Case::new(format!("{form}::fields"), move || fields(form))
                .needs(confine::kernel_has_rseq()),
        );
        cases.push(Case::new(format!("{form}::fields_shared"), move || {
            fields_shared(form)
        }));
        for (symbol, _) in PROTECTED {
            cases.push(Case::new(format!("{form}::write_{symbol}"), move || {
                write(form, symbol)
            }));
        }
    }
    case::run(cases)
}

/// What holds in every mode.
fn common(outcome: &Outcome) {
    assert_eq!(outcome.number("size"), u64::from(ABI_SIZE));
    assert_eq!(outcome.value("version"), "1.1");
    assert_eq!(outcome.number("nr_areas"), outcome.number("nr_vcpus") + 1);
    assert_eq!(outcome.number("nr_vcpus"), mask_bits());
    assert_eq!(outcome.number("rseq_sig"), u64::from(RSEQ_SIG));
    assert_eq!(outcome.number("rseq_offset"), 0x100);
    assert_eq!(outcome.number("registered_offset"), 0x104);
    assert_eq!(
        outcome.number("stride"),
        1 << outcome.number("stride_shift")
    );
    assert_eq!(outcome.number("rseq_flags"), 0);
    assert_eq!(outcome.value("zero"), "true");
    assert_eq!(outcome.value("__rseq_offset"), outcome.value("rseq_offset"));
    assert_eq!(outcome.value("__rseq_size"), outcome.value("rseq_size"));
    assert_eq!(outcome.value("__rseq_flags"), "0");
    assert_eq!(
        outcome.number("features") & FEATURE_CONST_OFFSET,
        FEATURE_CONST_OFFSET
    );
    assert_eq!(
        outcome.number("features") & FEATURE_FENCE != 0,
        kernel_offers_fence()
    );
}

fn fields(form: Form) -> Result<(), String> {
    let outcome = Run::new(form.program("table")?)
        .arg("show")
        .run()
        .exits(PASSED);
    common(&outcome);
    let (feature_size, _) = confine::rseq_auxv();
    let active = if feature_size == 0 { 20 } else { feature_size };
    let length = active.max(32);
    assert_eq!(outcome.number("rseq_size"), active);
    assert_eq!(outcome.number("rseq_len"), length);
    let has_mm_cid = active >= 28;
    let (mode, index) = if has_mm_cid {
        (MODE_RSEQ_MM_CID, 0x118)
    } else {
        (MODE_RSEQ_CPU_ID, 0x104)
    };
    assert_eq!(outcome.number("mode"), u64::from(mode));
    assert_eq!(outcome.number("index_offset"), index);
    let features = outcome.number("features");
    for (bit, expected) in [
        (FEATURE_RSEQ, true),
        (FEATURE_RSEQ_V2, length > 32),
        (FEATURE_NODE_ID, active >= 24),
        (FEATURE_MM_CID, has_mm_cid),
    ] {
        assert_eq!(
            features & bit != 0,
            expected,
            "bit {bit:#x} of {features:#x}"
        );
    }
    let known = FEATURE_RSEQ | FEATURE_RSEQ_V2 | FEATURE_NODE_ID | FEATURE_MM_CID;
    assert_eq!(
        features & !(known | FEATURE_CONST_OFFSET | FEATURE_FENCE),
        0
    );
    Ok(())
}

fn fields_shared(form: Form) -> Result<(), String> {
    let run = Run::new(form.program("table")?)
        .arg("show")
        .env("VCPU_RT_RSEQ=off")
        .env("VCPU_RT_GS=off");
    let outcome = run.run().exits(PASSED);
    common(&outcome);
    for name in ["mode", "rseq_size", "rseq_len"] {
        assert_eq!(outcome.number(name), 0, "{name}");
    }
    let rseq = FEATURE_RSEQ | FEATURE_RSEQ_V2 | FEATURE_NODE_ID | FEATURE_MM_CID;
    assert_eq!(outcome.number("features") & rseq, 0);
    Ok(())
}

/// RELRO covers the symbol from before main on.
fn write(form: Form, symbol: &str) -> Result<(), String> {
    let run = Run::new(form.program("table")?).args(["write", symbol]);
    let outcome = run.run().dies_of(libc::SIGSEGV);
    assert_eq!(outcome.stdout, "writing\n");
    Ok(())
}

/// The size of the kernel's CPU mask in bits, as its system call returns it.
fn mask_bits() -> u64 {
    let mut mask = [0_u64; 128];
    let bytes = size_of_val(&mask);
    // SAFETY: the kernel writes at most `bytes`.
    let written =
        unsafe { libc::syscall(libc::SYS_sched_getaffinity, 0, bytes, mask.as_mut_ptr()) };
    8 * u64::try_from(written).expect("the mask has room for 8192 processors")
}

fn kernel_offers_fence() -> bool {
    // MEMBARRIER_CMD_PRIVATE_EXPEDITED_RSEQ and its registration, linux/membarrier.h.
    const BOTH: libc::c_long = (1 << 7) | (1 << 8);
    // SAFETY: integers only; command 0 asks.
    let answer = unsafe { libc::syscall(libc::SYS_membarrier, 0, 0, 0) };
    answer > 0 && answer & BOTH == BOTH
}
