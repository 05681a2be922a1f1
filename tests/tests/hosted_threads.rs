// SPDX-License-Identifier: MIT OR Apache-2.0
//! The hosted form: threads of every origin, fork and vfork, and the ends of threads, in each form and way.

use vcpu_abi::MODE_SHARED;
use vcpu_tests::case::{self, Case};
use vcpu_tests::confine;
use vcpu_tests::hosted::{FORMS, Form, WAYS, Way};
use vcpu_tests::programs::PASSED;
use vcpu_tests::run::Outcome;

/// What one scenario of `tests/hosted/threads.c` must have printed.
type Check = fn(Form, Way, &Outcome);

const SCENARIOS: [(&str, Check); 10] = [
    ("pthread", |form, way, outcome| {
        for thread in 0..32 {
            at_its_start(form, way, outcome, &format!("registered_{thread}"));
        }
    }),
    ("thrd", |form, way, outcome| {
        at_its_start(form, way, outcome, "registered_0");
        by_sections(form, way, outcome);
    }),
    ("sigev-thread", by_sections),
    ("detached", nothing_more),
    ("destructor", nothing_more),
    ("cancel", nothing_more),
    ("fork", nothing_more),
    ("vfork", nothing_more),
    ("thread-functions", thread_functions),
    ("cpu", nothing_more),
];

fn main() {
    let mut cases = Vec::new();
    for form in FORMS {
        for way in WAYS {
            for (name, check) in SCENARIOS {
                // The archive has no vfork of its own: see docs/hosted.md.
                if name == "vfork" && !form.is_shared() {
                    continue;
                }
                let body = move || scenario(form, way, name, check);
                cases.push(
                    Case::new(format!("{form}::{way}::{name}"), body)
                        .needs(form.is_available())
                        .needs(confine::kernel_has_rseq()),
                );
            }
        }
    }
    for form in FORMS {
        let case = Case::new(format!("{form}::filter"), move || filter(form))
            .needs(form.is_available())
            .needs(confine::kernel_has_rseq());
        // Without it musl unmaps what is registered: see docs/hosted.md.
        let seals = if form.is_musl() {
            confine::kernel_has_mseal()
        } else {
            Ok(())
        };
        cases.push(case.needs(seals));
    }
    for way in [Way::AsItIs, Way::WithoutLibc, Way::Own] {
        for name in ["clone", "dlopen", "locked", "locked_namespace"] {
            cases.push(
                Case::new(format!("{way}::{name}"), move || strange(way, name))
                    .needs(Form::Preload.is_available())
                    .needs(confine::kernel_has_rseq()),
            );
        }
    }
    case::run(cases)
}

fn scenario(form: Form, way: Way, name: &str, check: Check) -> Result<(), String> {
    let outcome = form.run("threads", way)?.arg(name).run().exits(PASSED);
    let is_shared = outcome.number("mode") == u64::from(MODE_SHARED);
    assert_eq!(is_shared, !form.state(way).is_registered());
    check(form, way, &outcome);
    Ok(())
}

/// No addition was made by a lock where there is a registration.
fn by_sections(form: Form, way: Way, outcome: &Outcome) {
    if form.state(way).is_registered() {
        assert_eq!(outcome.number("last_area"), 0);
    }
}

fn nothing_more(_: Form, _: Way, _: &Outcome) {}

/// Registered before its code by the shared library; else at its first operation, which may be that of a
/// signal handler.
fn at_its_start(form: Form, way: Way, outcome: &Outcome, name: &str) {
    let registered = outcome.number(name) == 1;
    if form.state(way).is_registered() {
        assert!(registered || !form.is_shared(), "{}", outcome.stdout);
    } else {
        assert!(!registered);
    }
}

/// What the runtime made it can undo, what is the C library's it cannot.
fn thread_functions(form: Form, way: Way, outcome: &Outcome) {
    let state = form.state(way);
    let errno = |number: i32| (-number).to_string();
    let (register, unregister, again, after) = if state.is_own() {
        (errno(libc::EBUSY), errno(0), errno(libc::EINVAL), "0")
    } else if state.is_registered() {
        (
            errno(libc::EBUSY),
            errno(libc::EPERM),
            errno(libc::EPERM),
            "1",
        )
    } else {
        (
            errno(libc::ENOSYS),
            errno(libc::EINVAL),
            errno(libc::EINVAL),
            "0",
        )
    };
    assert_eq!(outcome.value("register"), register);
    assert_eq!(outcome.value("unregister"), unregister);
    assert_eq!(outcome.value("unregister_again"), again);
    assert_eq!(outcome.value("after"), after);
}

/// Who registered threads cannot undo it any more, and says so of each.
fn filter(form: Form) -> Result<(), String> {
    let run = form.run("filter", Way::OwnWithoutLibc)?;
    let outcome = run.env("VCPU_RT_DEBUG=1").run().exits(PASSED);
    let told = "unregistration at a thread's end: refused, errno 1";
    assert_eq!(outcome.stderr.matches(told).count(), 200);
    Ok(())
}

/// Threads that glibc did not make, and a library that comes late.
fn strange(way: Way, name: &str) -> Result<(), String> {
    let library = Form::Preload.libraries()?.join("libvcpu_rt.so");
    let form = if name == "clone" {
        Form::Preload
    } else {
        Form::Late
    };
    let outcome = form
        .run("strange", way)?
        .arg(name)
        .arg(library)
        .run()
        .exits(PASSED);
    assert_ne!(outcome.number("mode"), u64::from(MODE_SHARED));
    match name {
        // What the block of such a thread says of itself under adopt: an id that is somebody's.
        "clone" if way == Way::AsItIs => {
            assert_eq!(outcome.value("first_cpu_id"), "0");
            assert_eq!(outcome.value("first_mm_cid"), "0");
        }
        "clone" => assert_eq!(outcome.value("first_mm_cid"), "-1"),
        // Taking over is too late then.
        "dlopen" => {
            let is_own = way == Way::WithoutLibc;
            assert_eq!(outcome.number("__rseq_size") == 20, !is_own);
        }
        "locked" | "locked_namespace" if outcome.number("mlockall") == 0 => {
            // 257 areas of 2 MiB would be 514 MiB.
            assert!(outcome.number("rss_kib") < 65536, "{}", outcome.stdout);
        }
        _ => {}
    }
    Ok(())
}
