// SPDX-License-Identifier: MIT OR Apache-2.0
//! The hosted form in a process with limits, which are the program's: it gets its memory, counts exactly, and
//! can lock what it has.

use std::ops::RangeInclusive;

use vcpu_tests::case::{self, Case};
use vcpu_tests::confine;
use vcpu_tests::hosted::{FORMS, Form, Way};
use vcpu_tests::programs::PASSED;
use vcpu_tests::run::{Outcome, Run};

const KIB: u64 = 1 << 10;
const DEFAULT_STRIDE: u64 = 2 << 20;
/// A limit that is not one for such a program, beside 257 areas of 2 MiB: KiB.
const WIDE: u64 = 3 << 20;

fn main() {
    let mut cases = Vec::new();
    for form in FORMS {
        for way in [Way::AsItIs, Way::Own] {
            for (name, resource) in [("as", libc::RLIMIT_AS), ("data", libc::RLIMIT_DATA)] {
                let body = move || allocates(form, way, resource);
                cases.push(
                    Case::new(format!("{form}::{way}::{name}"), body)
                        .needs(form.is_available())
                        .needs(confine::kernel_has_rseq()),
                );
            }
        }
        for (name, body) in [
            (
                "stride_of_the_user",
                stride_of_the_user as fn(Form) -> Result<(), String>,
            ),
            ("no_object", no_object),
            ("locked", locked),
            ("locked_as_nobody", locked_as_nobody),
        ] {
            let mut case =
                Case::new(format!("{form}::{name}"), move || body(form)).needs(form.is_available());
            if name == "locked_as_nobody" {
                case = case
                    .needs(confine::root())
                    .needs(confine::nobody_reaches_the_target_directory());
            }
            cases.push(case);
        }
    }
    case::run(cases)
}

fn program(form: Form, way: Way, scenario: &str) -> Result<Run, String> {
    Ok(form
        .run("limits", way)?
        .arg(scenario)
        .env("VCPU_RT_DEBUG=1"))
}

/// What the first pool takes with this stride, at most and at least.
fn pool_bytes(outcome: &Outcome, stride: u64) -> RangeInclusive<u64> {
    let areas = outcome.number("nr_areas") * stride;
    areas..=areas + stride / 16 + (64 << 10)
}

/// A pool takes a sixteenth of the limit at most, and no less than it may; the line says so.
fn allocates(form: Form, way: Way, resource: libc::__rlimit_resource_t) -> Result<(), String> {
    for limit in [300_000 * KIB, 600_000 * KIB, 700_000 * KIB] {
        let outcome = program(form, way, "allocate")?.limit(resource, limit);
        let outcome = outcome.run().exits(PASSED);
        let stride = outcome.number("stride");
        let most = limit / 16;
        assert!(*pool_bytes(&outcome, stride).start() <= most, "{outcome:?}");
        assert!(
            *pool_bytes(&outcome, stride * 2).end() > most,
            "{outcome:?}"
        );
        let told = format!(" stride={stride} stride_asked={DEFAULT_STRIDE}\n");
        assert!(outcome.stderr.ends_with(&told), "{outcome:?}");
    }
    Ok(())
}

/// Who asks for a stride gets it, and who has no limit the default.
fn stride_of_the_user(form: Form) -> Result<(), String> {
    let run = || program(form, Way::AsItIs, "allocate");
    let limited = || Ok::<_, String>(run()?.limit(libc::RLIMIT_AS, WIDE * KIB));
    let asked = limited()?.env("VCPU_RT_STRIDE=2M").run().exits(PASSED);
    assert_eq!(asked.number("stride"), DEFAULT_STRIDE);
    assert!(!asked.stderr.contains("stride_asked"), "{}", asked.stderr);
    assert!(limited()?.run().exits(PASSED).number("stride") < DEFAULT_STRIDE);
    assert_eq!(run()?.run().exits(PASSED).number("stride"), DEFAULT_STRIDE);
    Ok(())
}

/// Who has no object has no pool.
fn no_object(form: Form) -> Result<(), String> {
    let outcome = program(form, Way::AsItIs, "allocate")?.run().exits(PASSED);
    assert!(outcome.number("virtual_kib") < 64 * KIB, "{outcome:?}");
    Ok(())
}

/// Memory that the areas do not have is not locked: what is mapped when everything is locked is small, and
/// what comes later is not filled.
fn locked(form: Form) -> Result<(), String> {
    let run = |scenario| program(form, Way::AsItIs, scenario);
    let outcome = run("locked")?.run().exits(PASSED);
    if outcome.number("mlockall") == 0 {
        assert!(outcome.number("rss_kib") < 64 * KIB, "{outcome:?}");
    }
    // With an object there is a pool. The remedy that docs/pools.md names:
    let outcome = run("locked-object")?.env("VCPU_RT_STRIDE=4K");
    let outcome = outcome.run().exits(PASSED);
    if outcome.number("mlockall") == 0 {
        assert!(outcome.number("rss_kib") < 64 * KIB, "{outcome:?}");
    }
    Ok(())
}

/// A limit of locked memory that is enough for the program is enough with the library.
fn locked_as_nobody(form: Form) -> Result<(), String> {
    for (scenario, stride) in [("locked", "2M"), ("locked-object", "4K")] {
        let outcome = program(form, Way::AsItIs, scenario)?
            .env(format!("VCPU_RT_STRIDE={stride}"))
            .as_nobody()
            .limit(libc::RLIMIT_MEMLOCK, 8 << 20)
            .run()
            .exits(PASSED);
        assert_eq!(outcome.number("mlockall"), 0, "{scenario}");
    }
    Ok(())
}
