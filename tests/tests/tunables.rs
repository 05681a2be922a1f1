// SPDX-License-Identifier: MIT OR Apache-2.0
//! The environment variables: good values, bad ones, duplicates, and a privileged program that
//! must not listen to them.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};

use vcpu_tests::case::{self, Case};
use vcpu_tests::confine;
use vcpu_tests::programs::{Form, PASSED, target_directory};
use vcpu_tests::run::{Outcome, Run};
use vcpu_tests::scratch::Scratch;

const DEFAULT_STRIDE: u64 = 2 << 20;

fn main() {
    case::run(vec![
        Case::new("stride", stride),
        Case::new("rseq", rseq),
        Case::new("gs", gs),
        Case::new("debug", debug),
        Case::new("bad_values", bad_values),
        Case::new("first_duplicate_wins", first_duplicate_wins),
        Case::new("several_at_once", several_at_once),
        Case::new("declared_minimum", declared_minimum),
        Case::new("small_address_space", small_address_space),
        privileged("at_secure_setuid", 0o4755),
        privileged("at_secure_setgid", 0o2755),
    ])
}

fn privileged(name: &str, mode: u32) -> Case {
    Case::new(name, move || at_secure(mode))
        .needs(confine::root())
        .needs(confine::nobody_reaches_the_target_directory())
        .needs(target_directory().and_then(|directory| confine::honours_setuid(&directory)))
}

/// The program that prints its table, with this environment.
fn show(environment: &[&str]) -> Result<Outcome, String> {
    let mut run = Run::new(Form::DEFAULT.program("table")?).arg("show");
    for entry in environment {
        run = run.env(entry);
    }
    Ok(run.run().exits(PASSED))
}

fn stride() -> Result<(), String> {
    for (text, bytes) in [
        ("4096", 4096),
        ("4K", 4096),
        ("64K", 65536),
        ("16M", 16 << 20),
        ("1G", 1 << 30),
        ("1048576K", 1 << 30),
    ] {
        let outcome = show(&[&format!("VCPU_RT_STRIDE={text}")])?;
        assert_eq!(outcome.number("stride"), bytes, "{text}");
        assert_eq!(1 << outcome.number("stride_shift"), bytes);
        assert_eq!(outcome.stderr, "");
    }
    assert_eq!(show(&[])?.number("stride"), DEFAULT_STRIDE);
    Ok(())
}

/// Without a libc, `own` and `adopt` mean `auto`.
fn rseq() -> Result<(), String> {
    let best = show(&[])?;
    for value in ["auto", "on", "own", "adopt"] {
        let outcome = show(&[&format!("VCPU_RT_RSEQ={value}")])?;
        assert_eq!(outcome.stdout, best.stdout, "{value}");
        assert_eq!(outcome.stderr, "");
    }
    let off = show(&["VCPU_RT_RSEQ=off"])?;
    for name in ["mode", "rseq_size", "rseq_len", "__rseq_size"] {
        assert_eq!(off.number(name), 0, "{name}");
    }
    assert_eq!(off.stderr, "");
    Ok(())
}

/// No released kernel has the prctl, so all values come to the same; `off` does not even ask. What
/// they do elsewhere: `gs_mode.rs`.
fn gs() -> Result<(), String> {
    let best = show(&[])?;
    for value in ["auto", "on", "off"] {
        let outcome = show(&[&format!("VCPU_RT_GS={value}"), "VCPU_RT_DEBUG=1"])?;
        assert_eq!(outcome.stdout, best.stdout);
        assert_eq!(
            outcome.stderr.contains(" gs=off "),
            value == "off",
            "{}",
            outcome.stderr
        );
    }
    Ok(())
}

/// One line that says what the table says.
fn debug() -> Result<(), String> {
    assert_eq!(show(&["VCPU_RT_DEBUG=0"])?.stderr, "");
    let outcome = show(&["VCPU_RT_DEBUG=1"])?;
    assert_eq!(outcome.stderr.lines().count(), 1, "{}", outcome.stderr);
    for (told, name) in [
        ("length", "rseq_len"),
        ("feature_size", "rseq_size"),
        ("nr_vcpus", "nr_vcpus"),
        ("stride", "stride"),
    ] {
        let told = format!(" {told}={}", outcome.value(name));
        assert!(
            outcome.stderr.contains(&told),
            "{told} is not in: {}",
            outcome.stderr
        );
    }
    Ok(())
}

/// The line names variable, value, what is allowed and what is taken; the program goes on.
fn bad_values() -> Result<(), String> {
    let best = show(&[])?;
    for (variable, value, allowed, taken) in [
        ("VCPU_RT_STRIDE", "3M", "power of two", "2M"),
        ("VCPU_RT_STRIDE", "2G", "power of two", "2M"),
        ("VCPU_RT_STRIDE", "2048", "power of two", "2M"),
        ("VCPU_RT_STRIDE", "0x1000", "power of two", "2M"),
        ("VCPU_RT_STRIDE", "-4096", "power of two", "2M"),
        (
            "VCPU_RT_STRIDE",
            "99999999999999999999",
            "power of two",
            "2M",
        ),
        ("VCPU_RT_STRIDE", "", "power of two", "2M"),
        ("VCPU_RT_GS", "ON", "auto, on, off", "auto"),
        ("VCPU_RT_RSEQ", "yes", "adopt", "auto"),
        ("VCPU_RT_RSEQ", "off ", "adopt", "auto"),
        ("VCPU_RT_DEBUG", "2", "0, 1", "0"),
    ] {
        let outcome = show(&[&format!("{variable}={value}")])?;
        assert_eq!(
            outcome.stdout, best.stdout,
            "{variable}={value}: the default is taken"
        );
        assert_eq!(outcome.stderr.lines().count(), 1, "{}", outcome.stderr);
        let taken = format!("; the default, {taken}, is used\n");
        for part in [variable, value, allowed, &taken] {
            assert!(
                outcome.stderr.contains(part),
                "{part} is not in: {}",
                outcome.stderr
            );
        }
    }
    // What the environment holds must not reach a terminal as control sequences.
    let outcome = show(&["VCPU_RT_GS=\u{1b}[2J"])?;
    assert!(!outcome.stderr.contains('\u{1b}'), "{:?}", outcome.stderr);
    let long = format!("VCPU_RT_GS={}", "x".repeat(100_000));
    let outcome = show(&[&long])?;
    assert!(outcome.stderr.contains("VCPU_RT_GS") && outcome.stderr.len() < 1000);
    Ok(())
}

fn first_duplicate_wins() -> Result<(), String> {
    let outcome = show(&["VCPU_RT_STRIDE=64K", "VCPU_RT_STRIDE=4K"])?;
    assert_eq!(
        (outcome.number("stride"), outcome.stderr.as_str()),
        (65536, "")
    );
    let outcome = show(&["VCPU_RT_STRIDE=64K", "VCPU_RT_STRIDE=bad"])?;
    assert_eq!(
        (outcome.number("stride"), outcome.stderr.as_str()),
        (65536, "")
    );
    let outcome = show(&["VCPU_RT_STRIDE=bad", "VCPU_RT_STRIDE=4K"])?;
    assert_eq!(outcome.number("stride"), DEFAULT_STRIDE);
    assert_eq!(outcome.stderr.lines().count(), 1);
    let outcome = show(&["VCPU_RT_RSEQ=off", "VCPU_RT_RSEQ=on"])?;
    assert_eq!(outcome.number("mode"), 0);
    Ok(())
}

fn several_at_once() -> Result<(), String> {
    let outcome = show(&[
        "PATH=/bin",
        "VCPU_RT_RSEQ=off",
        "VCPU_RT_STRIDE=1x",
        "VCPU_RT_GS=1x",
        "VCPU_RT_DEBUG=1",
        "VCPU_RT_STRIDES=4K",
    ])?;
    assert_eq!(outcome.number("mode"), 0);
    assert_eq!(outcome.number("stride"), DEFAULT_STRIDE);
    assert_eq!(outcome.stderr.lines().count(), 3, "{}", outcome.stderr);
    Ok(())
}

/// `entry!(main, min_stride = 65536)` raises a smaller value and leaves a larger one.
fn declared_minimum() -> Result<(), String> {
    for (text, bytes) in [
        ("4K", 65536),
        ("64K", 65536),
        ("128K", 131_072),
        ("bad", DEFAULT_STRIDE),
    ] {
        let program = Form::DEFAULT.program("min_stride")?;
        let outcome = Run::new(program)
            .env(format!("VCPU_RT_STRIDE={text}"))
            .run()
            .exits(PASSED);
        assert_eq!(outcome.number("stride"), bytes, "{text}");
    }
    Ok(())
}

/// A refused reservation shrinks the stride and says so; the program goes on and counts.
fn small_address_space() -> Result<(), String> {
    let program = Form::DEFAULT.program("count")?;
    let outcome = Run::new(program)
        .args(["plain", "4", "1000"])
        .env("VCPU_RT_DEBUG=1")
        .env("VCPU_RT_STRIDE=1G")
        .limit(libc::RLIMIT_AS, 64 << 20)
        .run()
        .exits(PASSED);
    assert_eq!(outcome.number("sum"), 4000);
    assert!(
        outcome.stderr.contains("stride_asked=1073741824"),
        "{}",
        outcome.stderr
    );
    assert!(
        !outcome.stderr.contains("stride=1073741824 "),
        "{}",
        outcome.stderr
    );
    Ok(())
}

/// A copy of the program with root's identity in its mode, run by somebody else. Nothing of the
/// environment is heard, and nothing is printed.
fn at_secure(mode: u32) -> Result<(), String> {
    let directory = Scratch::new(&format!("secure_{mode:o}"))?;
    let copy = directory.path().join("table");
    let make = || {
        fs::copy(
            Form::DEFAULT
                .program("table")
                .map_err(std::io::Error::other)?,
            &copy,
        )?;
        chown(&copy, Some(0), Some(0))?;
        fs::set_permissions(&copy, fs::Permissions::from_mode(mode))
    };
    make().map_err(|error| error.to_string())?;
    let run = |path| {
        Run::new(path)
            .arg("show")
            .env("VCPU_RT_STRIDE=64K")
            .env("VCPU_RT_RSEQ=off")
            .env("VCPU_RT_GS=bad")
            .env("VCPU_RT_DEBUG=1")
            .as_nobody()
            .run()
            .exits(PASSED)
    };
    let secure = run(&copy);
    let mut expected = show(&[])?;
    assert_eq!(
        (&secure.stdout, secure.stderr.as_str()),
        (&expected.stdout, "")
    );
    // The same, without the mode's bits, listens: the test is about AT_SECURE and nothing else.
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).map_err(|e| e.to_string())?;
    expected = run(&copy);
    assert_eq!(expected.number("stride"), 65536);
    assert_eq!(expected.stderr.lines().count(), 2, "{}", expected.stderr);
    Ok(())
}
