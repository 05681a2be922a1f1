// SPDX-License-Identifier: MIT OR Apache-2.0
//! Threads: many, at once and in turn, detached, named, refused by the kernel.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use vcpu_tests::case::{self, Case};
use vcpu_tests::confine;
use vcpu_tests::programs::{Form, PASSED};
use vcpu_tests::run::{End, Outcome, Run};

/// Scenarios of the program `threads`, their arguments, and the stdout of a good run.
const SCENARIOS: [(&str, &[&str], &str); 7] = [
    ("turn", &["10000"], "sum=49995000\n"),
    ("alive", &["1000"], "registered=1000\n"),
    ("results", &[], "results\n"),
    ("robust", &[], "plain=false\nasked=true\nafter=false\n"),
    ("scope", &[], "sum=136 answer\n"),
    ("signals", &[], "signals\n"),
    ("detached", &["10000"], "ended=10000\n"),
];

fn main() {
    let mut cases = Vec::new();
    for form in [Form::DEFAULT, Form::OPPOSITE] {
        for (name, arguments, stdout) in SCENARIOS {
            cases.push(Case::new(format!("{form}::{name}"), move || {
                let outcome = scenario(form, name, arguments)?.run().exits(PASSED);
                assert_eq!(
                    (outcome.stdout.as_str(), outcome.stderr.as_str()),
                    (stdout, "")
                );
                Ok::<_, String>(())
            }));
        }
    }
    cases.push(Case::new(
        "detached_under_competition",
        detached_under_competition,
    ));
    cases.push(Case::new("without_stack_limit", without_stack_limit));
    cases.push(Case::new("name_is_the_kernels", name_is_the_kernels));
    cases.push(
        Case::new("refused_by_process_limit", refused_by_process_limit)
            .needs(confine::root())
            .needs(confine::nobody_reaches_the_target_directory()),
    );
    cases.push(Case::new(
        "refused_by_address_space",
        refused_by_address_space,
    ));
    case::run(cases)
}

fn scenario(form: Form, name: &str, arguments: &[&str]) -> Result<Run, String> {
    Ok(Run::new(form.program("threads")?).arg(name).args(arguments))
}

/// On one processor, with another process that wants it: threads are preempted anywhere, also
/// between the unmapping of their stack and their last instruction.
fn detached_under_competition() -> Result<(), String> {
    let mut competitor = Command::new(Form::DEFAULT.program("spin")?);
    pin_to_first_processor(&mut competitor);
    let mut competitor = competitor.spawn().map_err(|error| error.to_string())?;
    let run = scenario(Form::DEFAULT, "detached", &["10000"])?.timeout(Duration::from_secs(100));
    // SAFETY: the step is one system call.
    let outcome = unsafe { run.before_exec(first_processor) }.run();
    competitor.kill().map_err(|error| error.to_string())?;
    competitor.wait().map_err(|error| error.to_string())?;
    let outcome = outcome.exits(PASSED);
    assert_eq!(outcome.stdout, "ended=10000\n");
    Ok(())
}

fn pin_to_first_processor(command: &mut Command) {
    use std::os::unix::process::CommandExt;
    // SAFETY: the step is one system call.
    unsafe { command.pre_exec(first_processor) };
}

/// Restricts the calling process to the first processor that it may use.
fn first_processor() -> std::io::Result<()> {
    const BYTES: usize = size_of::<libc::cpu_set_t>();
    // SAFETY: a set of bits, for which zeroes are a value; the calls read and write its bytes.
    unsafe {
        let mut set = std::mem::zeroed::<libc::cpu_set_t>();
        if libc::sched_getaffinity(0, BYTES, &raw mut set) != 0 {
            return Err(std::io::Error::last_os_error());
        }
        let first = (0..1024)
            .find(|&cpu| libc::CPU_ISSET(cpu, &set))
            .unwrap_or(0);
        set = std::mem::zeroed();
        libc::CPU_SET(first, &mut set);
        if libc::sched_setaffinity(0, BYTES, &raw const set) != 0 {
            return Err(std::io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Under `ulimit -s unlimited` the kernel lays out memory bottom up, and a stack size taken from
/// the limit would be absurd.
fn without_stack_limit() -> Result<(), String> {
    for form in [Form::DEFAULT, Form::OPPOSITE] {
        let turn = scenario(form, "turn", &["100"])?;
        let outcome = turn
            .limit(libc::RLIMIT_STACK, libc::RLIM_INFINITY)
            .run()
            .exits(PASSED);
        assert_eq!(outcome.stdout, "sum=4950\n");
        let alive = scenario(form, "alive", &["100"])?;
        let outcome = alive
            .limit(libc::RLIMIT_STACK, libc::RLIM_INFINITY)
            .run()
            .exits(PASSED);
        assert_eq!(outcome.stdout, "registered=100\n");
    }
    Ok(())
}

/// While the thread waits for its stdin to end, /proc tells its name.
fn name_is_the_kernels() -> Result<(), String> {
    let mut child = Command::new(Form::DEFAULT.program("threads")?)
        .arg("name")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| error.to_string())?;
    let mut line = String::new();
    let stdout = child.stdout.take().expect("stdout is a pipe");
    BufReader::new(stdout)
        .read_line(&mut line)
        .map_err(|error| error.to_string())?;
    assert_eq!(line, "name=night-shift\n");
    let tasks = format!("/proc/{}/task", child.id());
    let names: Vec<String> = fs::read_dir(tasks)
        .map_err(|error| error.to_string())?
        .map(|task| fs::read_to_string(task.expect("a task").path().join("comm")).expect("a name"))
        .collect();
    drop(child.stdin.take());
    let status = child.wait().map_err(|error| error.to_string())?;
    assert_eq!(status.code(), Some(PASSED));
    assert_eq!(names.len(), 2, "{names:?}");
    assert!(names.contains(&"threads\n".into()), "{names:?}");
    assert!(names.contains(&"night-shift\n".into()), "{names:?}");
    Ok(())
}

/// The error says what was refused and why; afterwards a thread can be made again.
fn refused(run: Run, reason: &str) {
    let Outcome {
        end,
        stdout,
        stderr,
    } = run.run();
    assert_eq!(end, End::Exit(PASSED), "{stdout}{stderr}");
    let refused = stdout.lines().next().unwrap_or_default();
    assert!(refused.starts_with("refused="), "{stdout}");
    assert!(refused.contains(reason), "{reason} is not in: {refused}");
    assert!(stdout.ends_with("\nagain=7\n"), "{stdout}");
}

fn refused_by_process_limit() -> Result<(), String> {
    let run = scenario(Form::DEFAULT, "until-refused", &["1000"])?;
    // Nobody's other processes, if any, count too: so many that some threads can be made.
    refused(run.limit(libc::RLIMIT_NPROC, 200).as_nobody(), "EAGAIN");
    Ok(())
}

fn refused_by_address_space() -> Result<(), String> {
    let run = scenario(Form::DEFAULT, "until-refused", &["1000"])?.env("VCPU_RT_STRIDE=4K");
    refused(run.limit(libc::RLIMIT_AS, 64 << 20), "ENOMEM");
    Ok(())
}
