// SPDX-License-Identifier: MIT OR Apache-2.0
//! Pools: objects allocated, freed and used again, by one and by many, and what memory that was
//! never touched costs, whatever the process and the machine ask of new mappings.

use std::time::Duration;

use vcpu_tests::case::{self, Case};
use vcpu_tests::confine;
use vcpu_tests::huge_pages::HugePages;
use vcpu_tests::programs::{Form, PASSED};
use vcpu_tests::run::Run;

/// Scenarios of the programs, the strides that they make sense with, and the stdout of a good run.
/// An empty one is not looked at.
const SCENARIOS: [(&str, &str, &[&str], &str); 15] = [
    ("pools", "grow 200", &["4K"], "pools=200\n"),
    ("pools", "grow 6", &["64K", "2M"], "pools=6\n"),
    ("pools", "reuse", &["2M"], "pools=1\n"),
    ("pools", "idle", &["2M"], "idle\n"),
    ("pools", "zeroed", &["4K", "64K", "2M"], "zeroed\n"),
    ("pools", "errors", &["4K", "2M"], "errors\n"),
    ("pools", "statistics", &["4K", "2M"], "statistics\n"),
    ("pools", "discard", &["128K", "2M"], "discard\n"),
    ("pools", "fork", &["4K", "2M"], "fork\n"),
    ("pools_shared", "oracle 16 20000", &["4K", "2M"], ""),
    ("pools_shared", "storm 10000", &["4K", "2M"], ""),
    ("pools_shared", "race 500", &["2M"], "won=500\n"),
    ("pools_shared", "grow 16", &["4K"], "pools=128\n"),
    ("pools_shared", "fork 100", &["4K", "2M"], "children=100\n"),
    ("pools_cost", "address_space", &["64K", "2M"], "refused\n"),
];

fn main() {
    let mut cases = Vec::new();
    for form in [Form::DEFAULT, Form::OPPOSITE] {
        for (program, words, strides, stdout) in SCENARIOS {
            let name = words.replace(' ', "_");
            let body = move || {
                for stride in strides {
                    let outcome = scenario(form, program, words, stride)?.run().exits(PASSED);
                    assert!(stdout.is_empty() || outcome.stdout == stdout, "{outcome:?}");
                    assert_eq!(outcome.stderr, "");
                }
                Ok::<_, String>(())
            };
            let case = Case::new(format!("{form}::{program}::{name}"), body);
            cases.push(match words {
                "idle" => case.needs(confine::kernel_shows_pages()),
                _ => case,
            });
        }
    }
    // A signal takes some ten microseconds, and in the debug form there are ten times as many.
    cases.push(Case::new("handler_at_every_instruction", || {
        let run = scenario(Form::DEFAULT, "pools_shared", "step 40", "2M")?;
        let outcome = run.run().exits(PASSED);
        assert!(outcome.number("handled") > 4000, "{outcome:?}");
        Ok::<_, String>(())
    }));
    let zeroed = "zeroed_without_";
    cases.push(Case::new(format!("{zeroed}pagemap"), || {
        without("zeroed", &[libc::SYS_openat])
    }));
    cases.push(Case::new(format!("{zeroed}madvise"), || {
        without("zeroed", &[libc::SYS_madvise])
    }));
    cases.push(Case::new("growth_refused_by_filter", growth_refused));
    let pages = confine::kernel_shows_pages;
    cases.push(Case::new("cost", || cost("plain", |run| run)).needs(pages()));
    cases.push(
        Case::new("cost_with_huge_pages", || {
            let _always = HugePages::always()?;
            cost("plain", |run| run)
        })
        .needs(HugePages::possible())
        .needs(pages()),
    );
    cases.push(
        Case::new("cost_when_locked_in_future", || {
            cost("future", |run| run.limit(libc::RLIMIT_MEMLOCK, 8 << 20))
        })
        .needs(pages()),
    );
    cases.push(
        Case::new("cost_when_locked_in_future_without_privileges", || {
            cost("future", |run| {
                run.limit(libc::RLIMIT_MEMLOCK, 1 << 20).as_nobody()
            })
        })
        .needs(confine::root())
        .needs(confine::nobody_reaches_the_target_directory())
        .needs(pages()),
    );
    cases.push(
        Case::new("cost_when_locked_on_fault", || cost("onfault", |run| run))
            .needs(confine::root()),
    );
    cases.push(
        Case::new("cost_when_locked_at_once", locked_at_once)
            .needs(confine::root())
            .needs(pages()),
    );
    cases.push(Case::new("bound_of_8192", bound_of_8192).needs(pages()));
    cases.push(Case::new("bound_of_one", bound_of_one).needs(confine::kernel_has_rseq()));
    case::run(cases)
}

fn scenario(form: Form, program: &str, words: &str, stride: &str) -> Result<Run, String> {
    Ok(Run::new(form.program(program)?)
        .args(words.split(' '))
        .env(format!("VCPU_RT_STRIDE={stride}"))
        .timeout(Duration::from_secs(120)))
}

/// Where a filter refuses what makes it cheap, it is still right.
fn without(words: &'static str, calls: &'static [libc::c_long]) -> Result<(), String> {
    for stride in ["4K", "2M"] {
        let run = scenario(Form::DEFAULT, "pools", words, stride)?;
        run.without_calls(calls, libc::EPERM).run().exits(PASSED);
    }
    Ok(())
}

/// Where a filter refuses the way around locked memory a pool is mapped at once; no room is ENOMEM, nothing stays
/// mapped, and all else goes on.
fn growth_refused() -> Result<(), String> {
    let run = |call, errno| {
        let run = scenario(Form::DEFAULT, "pools", "grow 2", "4K")?;
        Ok::<_, String>(run.without_calls(&[call], errno).run())
    };
    for call in [libc::SYS_munlock, libc::SYS_mremap] {
        run(call, libc::EPERM)?.exits(PASSED);
    }
    let outcome = run(libc::SYS_mremap, libc::ENOMEM)?.exits(101);
    assert!(outcome.stderr.contains("os error 12"), "{}", outcome.stderr);
    Ok(())
}

/// Three pools of 514 MiB on a machine with 256 possible ids, each with an object in it.
fn cost(how: &str, confine: impl FnOnce(Run) -> Run) -> Result<(), String> {
    let run = scenario(Form::DEFAULT, "pools_cost", how, "2M")?;
    let outcome = confine(run).run().exits(PASSED);
    assert_eq!(outcome.number("pools"), 3);
    // The bitmap of two pools is in use to its end, 48 KiB each; then the first page of the third
    // pool's, and code and stack that ran for the first time.
    assert!(
        outcome.number("untouched_rss") <= 2 * 48 + 64,
        "{outcome:?}"
    );
    // At most four pages for each pool that was mapped: its beginning and its end, and what leads
    // there.
    assert!(outcome.number("untouched_pte") <= 2 * 16, "{outcome:?}");
    // Two pages with their page tables for each area that was written to.
    let areas = outcome.number("areas");
    let resident = outcome.number("touched_rss") - outcome.number("untouched_rss");
    let tables = outcome.number("touched_pte") - outcome.number("untouched_pte");
    assert!(resident <= 2 * areas * 4 + 16, "{outcome:?}");
    assert!(tables <= 2 * areas * 8, "{outcome:?}");
    Ok(())
}

/// mlockall(MCL_CURRENT) fills all that is mapped, areas included: docs/pools.md warns of it, and
/// this shows that it is so. What is mapped later is not locked.
fn locked_at_once() -> Result<(), String> {
    let run = scenario(Form::DEFAULT, "pools_cost", "current", "4K")?;
    let outcome = run.run().exits(PASSED);
    let pool = outcome.number("nr_areas") * 4;
    assert!(outcome.number("untouched_rss") >= pool, "{outcome:?}");
    assert!(
        outcome.number("untouched_rss") <= pool + 1024,
        "{outcome:?}"
    );
    Ok(())
}

/// Two pools of 16 GiB each.
fn bound_of_8192() -> Result<(), String> {
    let run = Run::new(Form::DEFAULT.hooked_program("pools_bound")?);
    let outcome = run.timeout(Duration::from_secs(120)).run().exits(PASSED);
    assert_eq!(outcome.number("stride"), 2 << 20);
    assert!(outcome.number("untouched_rss") <= 96, "{outcome:?}");
    assert!(outcome.number("untouched_pte") <= 40, "{outcome:?}");
    // Eight threads, their stacks, and the areas of the ids that this machine has.
    assert!(outcome.number("used_rss") <= 512, "{outcome:?}");
    // A read of every area takes a page table each, and no memory.
    assert!(outcome.number("read_rss") <= outcome.number("used_rss") + 16);
    assert!(outcome.number("read_pte") >= 8192 * 4, "{outcome:?}");
    Ok(())
}

fn bound_of_one() -> Result<(), String> {
    let run = Run::new(Form::DEFAULT.hooked_program("pools_bound_of_one")?);
    let outcome = run.env("VCPU_RT_GS=on").run().exits(PASSED);
    assert_eq!(outcome.number("sum"), 8_000_000);
    Ok(())
}
