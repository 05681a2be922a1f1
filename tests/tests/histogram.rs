// SPDX-License-Identifier: MIT OR Apache-2.0
//! The main job, `examples/histogram`, on real files: its counts against the test's own, and a
//! clear line for each thing that can be wrong with a file.

use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use vcpu_tests::case::{self, Case};
use vcpu_tests::confine;
use vcpu_tests::programs::{Form, Profile};
use vcpu_tests::run::{Outcome, Run};
use vcpu_tests::scratch::Scratch;

const ALL_WELL: i32 = 0;
const FILE_FAILED: i32 = 1;
const USAGE: i32 = 2;
const CHECK_DISAGREED: i32 = 3;

fn main() {
    let mut cases = Vec::new();
    for form in [
        Form::DEFAULT,
        Form::OPPOSITE,
        Form {
            profile: Profile::Small,
            ..Form::DEFAULT
        },
    ] {
        cases.push(Case::new(format!("{form}::counts"), move || counts(form)));
    }
    cases.push(Case::new("bad_arguments", bad_arguments));
    cases.push(Case::new("bad_files", bad_files));
    cases.push(Case::new("empty_file", empty_file));
    cases.push(
        Case::new("unreadable_file", unreadable_file)
            .needs(confine::root())
            .needs(confine::nobody_reaches_the_target_directory()),
    );
    cases.push(Case::new("full_output", full_output));
    cases.push(Case::new("file_without_size", file_without_size));
    cases.push(Case::new("truncated_while_read", truncated_while_read));
    cases.push(Case::new("changed_while_checked", changed_while_checked));
    case::run(cases)
}

/// What the test itself counts.
struct Counted {
    rows: [u64; 32],
    lines: u64,
    bytes: u64,
}

/// Rows of eight byte values, as the program shows them.
fn count(files: &[PathBuf]) -> Result<Counted, String> {
    let mut counted = Counted {
        rows: [0; 32],
        lines: 0,
        bytes: 0,
    };
    for path in files {
        for byte in fs::read(path).map_err(|error| error.to_string())? {
            counted.rows[usize::from(byte) / 8] += 1;
            counted.lines += u64::from(byte == b'\n');
            counted.bytes += 1;
        }
    }
    Ok(counted)
}

/// The numbers of the histogram's lines, such as `08-0f   1234 ####`, in order.
fn rows(stdout: &str) -> Vec<u64> {
    let row = |index: usize| format!("{:02x}-{:02x} ", index * 8, index * 8 + 7);
    (0..32)
        .map(|index| {
            let line = stdout
                .lines()
                .find_map(|line| line.strip_prefix(&row(index)));
            let line = line.unwrap_or_else(|| panic!("no row {} in:\n{stdout}", row(index)));
            line.split_whitespace()
                .next()
                .expect("a number")
                .parse()
                .expect("a number")
        })
        .collect()
}

/// The sum of the lines `vCPU 0   1234 bytes   56.7%`.
fn shares(stdout: &str) -> u64 {
    let shares = stdout
        .lines()
        .filter(|line| line.contains(" bytes ") && line.ends_with('%'));
    shares
        .map(|line| {
            let words: Vec<_> = line.split_whitespace().collect();
            let at = words
                .iter()
                .position(|word| *word == "bytes")
                .expect("it was found");
            words[at - 1].parse::<u64>().expect("a number")
        })
        .sum()
}

/// The program's summary of the files that were counted whole.
fn summary(stdout: &str) -> &str {
    stdout
        .lines()
        .find(|line| line.starts_with("files "))
        .expect("a summary")
}

fn counts(form: Form) -> Result<(), String> {
    let directory = Scratch::new(&format!("histogram_{form}"))?;
    let text = directory.path().join("text");
    fs::write(&text, "a line\nand another\n\nthe last has no end").map_err(|e| e.to_string())?;
    // More than a chunk, of every byte value, in no even numbers.
    let binary = directory.path().join("binary");
    let bytes: Vec<u8> = (0_u64..5_000_011)
        .map(|index| ((index * index) >> 3) as u8)
        .collect();
    fs::write(&binary, bytes).map_err(|error| error.to_string())?;
    let files = [text, binary, form.program("histogram")?];
    let expected = count(&files)?;
    for (threads, environment) in [
        (None, "NOTHING="),
        (Some(1), "VCPU_RT_STRIDE=4K"),
        (Some(2), "VCPU_RT_RSEQ=off"),
        (Some(3), "VCPU_RT_GS=off"),
        (Some(17), "VCPU_RT_STRIDE=64K"),
    ] {
        let mut run = Run::new(form.program("histogram")?)
            .env(environment)
            .arg("--check");
        if let Some(threads) = threads {
            run = run.args(["--threads", &threads.to_string()]);
        }
        let outcome = run.args(&files).run().exits(ALL_WELL);
        assert_eq!(rows(&outcome.stdout), expected.rows);
        assert_eq!(shares(&outcome.stdout), expected.bytes);
        let told = format!(
            "files 3, bytes {}, lines {}, ",
            expected.bytes, expected.lines
        );
        assert!(
            summary(&outcome.stdout).starts_with(&told),
            "{told} not in {}",
            outcome.stdout
        );
        if let Some(threads) = threads {
            assert!(summary(&outcome.stdout).ends_with(&format!("threads {threads}")));
        }
        assert_eq!(outcome.stderr, "");
    }
    Ok(())
}

fn bad_arguments() -> Result<(), String> {
    let program = Form::DEFAULT.program("histogram")?;
    let cases: [(&[&str], &str); 9] = [
        (&["--mode"], "--mode"),
        (&["--mode", "rseq", "file"], "--mode rseq"),
        (&[], "no file"),
        (&["--check"], "no file"),
        (&["--nonsense", "file"], "--nonsense"),
        (&["--threads"], "--threads"),
        (&["--threads", "0", "file"], "--threads 0"),
        (&["--threads", "many", "file"], "--threads many"),
        (
            &["--threads", "99999999999", "file"],
            "--threads 99999999999",
        ),
    ];
    for (arguments, told) in cases {
        let outcome = Run::new(&program).args(arguments).run().exits(USAGE);
        let first = outcome.stderr.lines().next().unwrap_or_default();
        assert!(first.contains(told), "{told} is not in: {first}");
        assert!(
            outcome.stderr.contains("usage: histogram"),
            "{}",
            outcome.stderr
        );
        assert_eq!(outcome.stdout, "");
    }
    Ok(())
}

/// One line per bad file, which names it; the good file between them is counted whole.
fn bad_files() -> Result<(), String> {
    let directory = Scratch::new("bad_files")?;
    let path = |name: &str| directory.path().join(name);
    fs::write(path("good"), "good\n").map_err(|error| error.to_string())?;
    fs::create_dir_all(path("directory")).map_err(|error| error.to_string())?;
    let outcome = Run::new(Form::DEFAULT.program("histogram")?)
        .arg("--check")
        .args([
            path("missing"),
            path("good"),
            path("directory"),
            PathBuf::from("/dev/null"),
        ])
        .run()
        .exits(FILE_FAILED);
    let lines: Vec<_> = outcome.stderr.lines().collect();
    assert_eq!(lines.len(), 3, "{}", outcome.stderr);
    for (line, (name, told)) in lines.into_iter().zip([
        ("missing", "no such file"),
        ("directory", "is a directory"),
        ("/dev/null", "not a regular file"),
    ]) {
        assert!(
            line.contains(name) && line.contains(told),
            "{name}: {told} is not in: {line}"
        );
    }
    assert!(summary(&outcome.stdout).starts_with("files 1, bytes 5, lines 1,"));
    Ok(())
}

/// An empty file is no error.
fn empty_file() -> Result<(), String> {
    let directory = Scratch::new("empty_file")?;
    let path = directory.path().join("empty");
    File::create(&path).map_err(|error| error.to_string())?;
    let run = Run::new(Form::DEFAULT.program("histogram")?)
        .arg("--check")
        .arg(&path);
    let outcome = run.run().exits(ALL_WELL);
    assert_eq!(outcome.stderr, "");
    assert!(summary(&outcome.stdout).starts_with("files 1, bytes 0, lines 0,"));
    assert_eq!(rows(&outcome.stdout), [0; 32]);
    Ok(())
}

fn unreadable_file() -> Result<(), String> {
    let directory = Scratch::new("unreadable_file")?;
    let path = directory.path().join("private");
    fs::write(&path, "secret").map_err(|error| error.to_string())?;
    fs::set_permissions(&path, Permissions::from_mode(0o600)).map_err(|e| e.to_string())?;
    let run = || Run::new(Form::DEFAULT.program("histogram").expect("it is built")).arg(&path);
    let Outcome { stderr, stdout, .. } = run().as_nobody().run().exits(FILE_FAILED);
    assert!(
        stderr.contains("private") && stderr.contains("permission denied"),
        "{stderr}"
    );
    assert!(
        summary(&stdout).starts_with("files 0, bytes 0,"),
        "{stdout}"
    );
    run().run().exits(ALL_WELL);
    Ok(())
}

/// The program at work on `files`, seen to have mapped the first of them.
fn at_work(files: &[&Path], arguments: &[&str]) -> Result<Child, String> {
    let child = Command::new(Form::DEFAULT.program("histogram")?)
        .args(arguments)
        .args(files)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| error.to_string())?;
    let maps = format!("/proc/{}/maps", child.id());
    let first = files[0].to_str().expect("a path in UTF-8");
    let start = Instant::now();
    while !fs::read_to_string(&maps).is_ok_and(|maps| maps.contains(first)) {
        assert!(
            start.elapsed() < Duration::from_secs(30),
            "{first} is not mapped"
        );
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(child)
}

/// A file of `bytes` zeroes that takes no space.
fn sparse(path: &Path, bytes: u64) -> Result<File, String> {
    let file = File::create(path).map_err(|error| error.to_string())?;
    file.set_len(bytes).map_err(|error| error.to_string())?;
    Ok(file)
}

fn output(child: Child) -> Result<(String, String, Option<i32>), String> {
    let Output {
        status,
        stdout,
        stderr,
    } = child
        .wait_with_output()
        .map_err(|error| error.to_string())?;
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    Ok((text(&stdout), text(&stderr), status.code()))
}

/// The rest of the file is gone: reading it raises SIGBUS, which must not end the program.
fn truncated_while_read() -> Result<(), String> {
    let directory = Scratch::new("truncated")?;
    let (large, small) = (
        directory.path().join("large"),
        directory.path().join("small"),
    );
    let file = sparse(&large, 2 << 30)?;
    let mut other = File::create(&small).map_err(|error| error.to_string())?;
    other
        .write_all(b"counted\n")
        .map_err(|error| error.to_string())?;
    let child = at_work(&[&large, &small], &["--threads", "2"])?;
    file.set_len(5000).map_err(|error| error.to_string())?;
    let (stdout, stderr, status) = output(child)?;
    assert_eq!(status, Some(FILE_FAILED), "{stdout}{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(
        stderr.contains("large") && stderr.contains("truncated"),
        "{stderr}"
    );
    // What was counted before stays: `large: was truncated ..: N of M bytes counted`.
    let counted: u64 = stderr
        .rsplit_once(": ")
        .and_then(|(_, told)| told.split(' ').next()?.parse().ok())
        .expect("the line tells how many bytes were counted");
    let expected = format!("files 1, bytes {}, lines 1,", counted + 8);
    assert!(summary(&stdout).starts_with(&expected), "{stdout}{stderr}");
    Ok(())
}

/// What cannot be printed is not lost in silence.
fn full_output() -> Result<(), String> {
    let full = File::options()
        .write(true)
        .open("/dev/full")
        .map_err(|error| error.to_string())?;
    let child = Command::new(Form::DEFAULT.program("histogram")?)
        .arg("--help")
        .stdout(full)
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| error.to_string())?;
    let (_, stderr, status) = output(child)?;
    assert_eq!(status, Some(FILE_FAILED), "{stderr}");
    assert!(stderr.contains("standard output"), "{stderr}");
    Ok(())
}

/// procfs tells no sizes, so such a file is not empty although it seems so.
fn file_without_size() -> Result<(), String> {
    let run = Run::new(Form::DEFAULT.program("histogram")?).arg("/proc/self/maps");
    let outcome = run.run().exits(FILE_FAILED);
    assert!(outcome.stderr.contains("no size"), "{}", outcome.stderr);
    Ok(())
}

/// A file that changes all the time is counted differently by the check.
fn changed_while_checked() -> Result<(), String> {
    let directory = Scratch::new("changed")?;
    let path = directory.path().join("changing");
    let file = sparse(&path, 64 << 20)?;
    let mut child = at_work(&[&path], &["--threads", "2", "--check"])?;
    let mut value = 0_u8;
    while child
        .try_wait()
        .map_err(|error| error.to_string())?
        .is_none()
    {
        value = value.wrapping_add(1);
        for block in 0..64 {
            let written = file.write_all_at(&[value; 4096], block << 20);
            written.map_err(|error| error.to_string())?;
        }
    }
    let (stdout, stderr, status) = output(child)?;
    assert_eq!(status, Some(CHECK_DISAGREED), "{stdout}{stderr}");
    assert!(
        stderr.contains("changing") && stderr.contains("differ"),
        "{stderr}"
    );
    Ok(())
}
