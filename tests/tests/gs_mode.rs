// SPDX-License-Identifier: MIT OR Apache-2.0
//! How the runtime comes to the GS mode, or does without: against a kernel that a tracer plays, so
//! on any machine. The real one is tested in guests.

use vcpu_abi::{FEATURE_GS_MODE, GS_INDEX_MODE_MM_VCPU, MODE_GS, PR_GET_GS_MODE, PrctlSetGsMode};
use vcpu_tests::case::{self, Case};
use vcpu_tests::confine;
use vcpu_tests::gs_kernel::{GsKernel, Prctl, on, vcpu};
use vcpu_tests::programs::{Form, PASSED};
use vcpu_tests::run::{Outcome, Run};

const STRIDE: u64 = 2 << 20;

/// The errors of PR_SET_GS_MODE's table, and those of filters.
const ERRORS: [(&str, i32); 9] = [
    ("ERANGE", libc::ERANGE),
    ("EBUSY", libc::EBUSY),
    ("EPERM", libc::EPERM),
    ("EOPNOTSUPP", libc::EOPNOTSUPP),
    ("EINVAL", libc::EINVAL),
    ("E2BIG", libc::E2BIG),
    ("EFAULT", libc::EFAULT),
    ("EINTR", libc::EINTR),
    ("ENOSYS", libc::ENOSYS),
];

/// Modes that are on and are not this runtime's.
const OTHER_MODES: [(&str, PrctlSetGsMode); 4] = [
    ("stride", on(STRIDE / 2)),
    ("mode", mode(2, 0, STRIDE)),
    ("flags", mode(GS_INDEX_MODE_MM_VCPU, 1, STRIDE)),
    ("unwritten", mode(u32::MAX, 0, 0)),
];

const fn mode(index_mode: u32, flags: u32, stride: u64) -> PrctlSetGsMode {
    PrctlSetGsMode {
        index_mode,
        flags,
        stride,
    }
}

fn main() {
    let mut cases = Vec::new();
    for form in [Form::DEFAULT, Form::OPPOSITE] {
        cases.push(Case::new(format!("{form}::granted"), move || granted(form)));
        cases.push(Case::new(format!("{form}::without_rseq"), move || {
            without_rseq(form)
        }));
    }
    for (name, errno) in ERRORS {
        cases.push(Case::new(format!("get_refused_{name}"), move || {
            get_refused(errno)
        }));
        cases.push(Case::new(format!("set_refused_{name}"), move || {
            set_refused(errno)
        }));
    }
    for (name, mode) in OTHER_MODES {
        cases.push(Case::new(format!("other_{name}_is_on"), move || {
            other_mode_is_on(mode)
        }));
    }
    cases.push(Case::new("same_mode_is_on", same_mode_is_on));
    cases.push(Case::new("filter_answers_0", filter_answers_0));
    cases.push(Case::new("foreign_base", || foreign((0, 0x7000))));
    cases.push(Case::new("foreign_selector", || foreign((0x2b, 0))));
    cases.push(Case::new("without_fsgsbase", without_fsgsbase));
    cases.push(Case::new("strides", strides));
    cases.push(Case::new("smaller_stride", smaller_stride));
    cases.push(Case::new("not_asked", not_asked));
    cases.push(Case::new("unbounded", unbounded));
    cases.push(Case::new("histogram", histogram).needs(confine::kernel_has_rseq()));
    case::run(cases)
}

/// Prints what it found, and counts.
fn facts(form: Form) -> Result<Run, String> {
    Ok(Run::new(form.program("gs_mode")?)
        .arg("facts")
        .env("VCPU_RT_DEBUG=1"))
}

/// `facts` without the mode: exact, GS as it was found, and the reason told.
fn ends_in_rseq_mode(kernel: GsKernel, run: Run, told: &str) -> Result<Vec<Prctl>, String> {
    let best = Run::new(Form::DEFAULT.program("gs_mode")?)
        .arg("facts")
        .env("VCPU_RT_GS=off")
        .run()
        .exits(0);
    let (outcome, prctls) = kernel.run(run);
    let outcome = outcome.exits(0);
    assert_eq!(outcome.value("mode"), best.value("mode"));
    assert_eq!(outcome.value("features"), best.value("features"));
    assert_eq!(outcome.number("sum"), 3000);
    let (selector, base) = kernel.gs;
    assert_eq!(outcome.number("base"), base, "{}", outcome.stderr);
    assert_eq!(outcome.number("selector"), selector);
    tells(&outcome, told);
    Ok(prctls)
}

#[track_caller]
fn tells(outcome: &Outcome, told: &str) {
    assert_eq!(outcome.stderr.lines().count(), 1, "{}", outcome.stderr);
    let told = format!(" gs={told} nr_vcpus=");
    assert!(outcome.stderr.contains(&told), "{}", outcome.stderr);
}

/// Everything that is added arrives in the one area that the base leads to.
#[track_caller]
fn counts_by_gs(outcome: &Outcome) {
    assert_eq!(outcome.value("mode"), "gs");
    assert_eq!(outcome.number("table_mode"), u64::from(MODE_GS));
    assert_eq!(
        outcome.number("features") & FEATURE_GS_MODE,
        FEATURE_GS_MODE
    );
    assert_eq!(outcome.number("index_offset"), 0x118);
    assert_eq!(outcome.number("sum"), 3000);
    assert_eq!(outcome.number(&format!("area[{}]", vcpu())), 3000);
    assert_eq!(outcome.number("base"), outcome.number("stride") * vcpu());
    tells(outcome, "on");
}

/// What one start asks: GET, which promises no mode before it is answered, then SET.
#[track_caller]
fn asked(prctls: &[Prctl], stride: Option<u64>) {
    let (get, set) = prctls.split_first().expect("it asked");
    assert_eq!((get.option, get.rest), (PR_GET_GS_MODE, [16, 0, 0]));
    assert!(get.passed.index_mode > GS_INDEX_MODE_MM_VCPU, "{get:?}");
    let wanted: Vec<Prctl> = stride.into_iter().map(Prctl::set).collect();
    assert_eq!(set, wanted);
}

fn granted(form: Form) -> Result<(), String> {
    let (outcome, prctls) = GsKernel::GRANTS.run(facts(form)?);
    counts_by_gs(&outcome.exits(0));
    asked(&prctls, Some(STRIDE));
    Ok(())
}

/// Single instructions need no registration, so VCPU_RT_RSEQ=off is about rseq alone.
fn without_rseq(form: Form) -> Result<(), String> {
    let (outcome, _) = GsKernel::GRANTS.run(facts(form)?.env("VCPU_RT_RSEQ=off"));
    let outcome = outcome.exits(0);
    counts_by_gs(&outcome);
    assert_eq!(outcome.value("registered"), "false");
    assert_eq!(outcome.number("rseq_size"), 0);
    Ok(())
}

fn get_refused(errno: i32) -> Result<(), String> {
    let kernel = GsKernel {
        get: Err(errno),
        ..GsKernel::GRANTS
    };
    let told = format!("refused by PR_GET_GS_MODE, errno {errno}");
    asked(
        &ends_in_rseq_mode(kernel, facts(Form::DEFAULT)?, &told)?,
        None,
    );
    Ok(())
}

/// The same, and 64 threads count exactly.
fn set_refused(errno: i32) -> Result<(), String> {
    let kernel = GsKernel {
        set: Err(errno),
        ..GsKernel::GRANTS
    };
    let told = format!("refused by PR_SET_GS_MODE, errno {errno}");
    let prctls = ends_in_rseq_mode(kernel, facts(Form::DEFAULT)?, &told)?;
    asked(&prctls, Some(STRIDE));
    let run = Run::new(Form::DEFAULT.program("count")?).args(["plain", "64", "5000"]);
    let (outcome, _) = kernel.run(run.env("VCPU_RT_DEBUG=1"));
    let outcome = outcome.exits(PASSED);
    assert_eq!(outcome.number("sum"), 64 * 5000);
    tells(&outcome, &told);
    Ok(())
}

fn other_mode_is_on(mode: PrctlSetGsMode) -> Result<(), String> {
    let kernel = GsKernel {
        get: Ok(mode),
        ..GsKernel::GRANTS
    };
    let prctls = ends_in_rseq_mode(kernel, facts(Form::DEFAULT)?, "foreign")?;
    asked(&prctls, None);
    Ok(())
}

/// Who set it before us did the same, so nothing is set, and GS is not asked for an owner.
fn same_mode_is_on() -> Result<(), String> {
    let kernel = GsKernel {
        get: Ok(on(STRIDE)),
        set: Err(libc::EBUSY),
        gs: (0, STRIDE * vcpu()),
        ..GsKernel::GRANTS
    };
    let (outcome, prctls) = kernel.run(facts(Form::DEFAULT)?);
    counts_by_gs(&outcome.exits(0));
    asked(&prctls, None);
    Ok(())
}

/// A filter that answers 0 for prctls that it does not make is not believed.
fn filter_answers_0() -> Result<(), String> {
    let run = facts(Form::DEFAULT)?.without_calls(&[libc::SYS_prctl], 0);
    let outcome = run.run().exits(0);
    assert_ne!(outcome.value("mode"), "gs");
    assert_eq!(outcome.number("sum"), 3000);
    tells(&outcome, "foreign");
    Ok(())
}

/// Somebody else put something into GS: it is still there at main, and no SET was made.
fn foreign(gs: (u64, u64)) -> Result<(), String> {
    for fsgsbase in [true, false] {
        let kernel = GsKernel {
            gs,
            fsgsbase,
            ..GsKernel::GRANTS
        };
        for choice in ["auto", "on"] {
            let run = facts(Form::DEFAULT)?.env(format!("VCPU_RT_GS={choice}"));
            asked(&ends_in_rseq_mode(kernel, run, "foreign")?, None);
        }
    }
    Ok(())
}

/// The base is asked for by arch_prctl where rdgsbase would fault.
fn without_fsgsbase() -> Result<(), String> {
    let kernel = GsKernel {
        fsgsbase: false,
        ..GsKernel::GRANTS
    };
    let (outcome, prctls) = kernel.run(facts(Form::DEFAULT)?);
    counts_by_gs(&outcome.exits(0));
    asked(&prctls, Some(STRIDE));
    // A kernel that does not tell is taken for one that has something to hide.
    let kernel = GsKernel {
        tells_base: false,
        ..kernel
    };
    let prctls = ends_in_rseq_mode(kernel, facts(Form::DEFAULT)?, "foreign")?;
    asked(&prctls, None);
    Ok(())
}

fn strides() -> Result<(), String> {
    for (text, stride) in [
        ("4K", 4096),
        ("64K", 65536),
        ("2M", 2 << 20),
        ("1G", 1 << 30),
    ] {
        let run = facts(Form::DEFAULT)?.env(format!("VCPU_RT_STRIDE={text}"));
        let (outcome, prctls) = GsKernel::GRANTS.run(run);
        let outcome = outcome.exits(0);
        counts_by_gs(&outcome);
        assert_eq!(outcome.number("stride"), stride);
        asked(&prctls, Some(stride));
    }
    Ok(())
}

/// The stride that was reserved, not the one that was asked for.
fn smaller_stride() -> Result<(), String> {
    let run = facts(Form::DEFAULT)?.limit(libc::RLIMIT_AS, 64 << 20);
    let (outcome, prctls) = GsKernel::GRANTS.run(run);
    let outcome = outcome.exits(0);
    counts_by_gs(&outcome);
    let stride = outcome.number("stride");
    assert!(stride < STRIDE, "{stride}");
    asked(&prctls, Some(stride));
    Ok(())
}

/// No prctl is made where the user says so, where there are no areas, and by a program that uses
/// none.
fn not_asked() -> Result<(), String> {
    let run = facts(Form::DEFAULT)?.env("VCPU_RT_GS=off");
    assert_eq!(ends_in_rseq_mode(GsKernel::GRANTS, run, "off")?, []);
    let run = facts(Form::DEFAULT)?.limit(libc::RLIMIT_AS, 1 << 20);
    let (outcome, prctls) = GsKernel::GRANTS.run(run);
    let outcome = outcome.exits(0);
    assert_eq!((outcome.value("areas"), prctls.len()), ("none", 0));
    tells(&outcome, "off");
    let run = Run::new(Form::DEFAULT.program("hello")?).env("VCPU_RT_DEBUG=1");
    let (outcome, prctls) = GsKernel::GRANTS.run(run);
    assert!(outcome.exits(0).stderr.contains(" fence="));
    assert_eq!(prctls, []);
    Ok(())
}

/// Without a bound on ids nobody knows whether each has an area.
fn unbounded() -> Result<(), String> {
    let run = facts(Form::DEFAULT)?.without_calls(&[libc::SYS_sched_getaffinity], libc::EPERM);
    let prctls = ends_in_rseq_mode(GsKernel::GRANTS, run, "unbounded")?;
    assert_eq!(prctls, []);
    Ok(())
}

/// The main job is right in each access mode, and tells a mode from the others.
fn histogram() -> Result<(), String> {
    let program = Form::DEFAULT.program("histogram")?;
    let (feature_size, _) = confine::rseq_auxv();
    let by_rseq = if feature_size >= 28 {
        "rseq-mm_cid"
    } else {
        "rseq-cpu_id"
    };
    let all = ["gs", by_rseq, "shared"];
    for mode in all {
        for wanted in all {
            let mut run = Run::new(&program)
                .args(["--check", "--threads", "1", "--mode", wanted])
                .arg(&program);
            if mode != "gs" {
                run = run.env("VCPU_RT_GS=off");
            }
            if mode == "shared" {
                run = run.env("VCPU_RT_RSEQ=off");
            }
            let (outcome, _) = GsKernel::GRANTS.run(run);
            let first = format!("mode {mode}, ");
            assert!(outcome.stdout.starts_with(&first), "{}", outcome.stdout);
            if wanted == mode {
                let outcome = outcome.exits(0);
                assert!(outcome.stdout.contains("\ncheck: the per-vCPU sums equal"));
            } else {
                let told = format!("histogram: the mode is not {wanted}\n");
                assert_eq!(outcome.exits(1).stderr, told);
            }
        }
    }
    Ok(())
}
