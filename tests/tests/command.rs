// SPDX-License-Identifier: MIT OR Apache-2.0
//! `Command`: starts a program by vfork while other threads count.

use std::time::Duration;

use vcpu_tests::case::{self, Case};
use vcpu_tests::programs::{Form, PASSED};
use vcpu_tests::run::{Outcome, Run};

fn main() {
    let mut cases = Vec::new();
    for form in [Form::DEFAULT, Form::OPPOSITE] {
        cases.push(Case::new(format!("{form}::status"), move || status(form)));
        cases.push(Case::new(format!("{form}::environment"), move || {
            environment(form)
        }));
        cases.push(Case::new(format!("{form}::exec_fails"), move || {
            exec_fails(form)
        }));
        cases.push(Case::new(format!("{form}::counting"), move || {
            counting(form)
        }));
    }
    case::run(cases)
}

fn run(form: Form, arguments: &[&str]) -> Result<Outcome, String> {
    let run = Run::new(form.program("command")?)
        .arg("run")
        .args(arguments)
        .env("GIVEN=on");
    Ok(run.run().exits(PASSED))
}

fn path(form: Form, name: &str) -> Result<String, String> {
    Ok(form
        .program(name)?
        .to_str()
        .expect("a path in UTF-8")
        .to_owned())
}

fn status(form: Form) -> Result<(), String> {
    let exits = path(form, "exits")?;
    assert_eq!(
        run(form, &[&exits, "exit", "77"])?.value("ended"),
        "exit 77"
    );
    assert_eq!(run(form, &[&exits, "exit", "0"])?.value("ended"), "exit 0");
    assert_eq!(run(form, &[&exits, "abort"])?.value("ended"), "signal 6");
    Ok(())
}

/// The child gets its own path as argv[0], the arguments, and the parent's environment.
fn environment(form: Form) -> Result<(), String> {
    let start = path(form, "start")?;
    let outcome = run(form, &[&start, "a b", "--", "GIVEN"])?;
    assert_eq!(outcome.number("args"), 4);
    assert_eq!(outcome.value("arg[0]"), start);
    assert_eq!(outcome.value("arg[1]"), "a b");
    assert_eq!(outcome.value("lookup[GIVEN]"), "on");
    assert_eq!(outcome.value("ended"), format!("exit {PASSED}"));
    Ok(())
}

/// The parent gets exec's errno, and no child is left.
fn exec_fails(form: Form) -> Result<(), String> {
    for (program, errno) in [
        ("/nonexistent/program", libc::ENOENT),
        ("/", libc::EACCES),
        ("/dev/null", libc::EACCES),
    ] {
        assert_eq!(
            run(form, &[program])?.number("errno"),
            u64::from(errno.unsigned_abs())
        );
    }
    Ok(())
}

/// A child that used its parent's block would read ids that nobody keeps true, and lose counts.
fn counting(form: Form) -> Result<(), String> {
    let child = path(form, "never")?;
    let run = Run::new(form.program("command")?).args(["counting", &child, "300"]);
    let outcome = run.timeout(Duration::from_secs(100)).run().exits(PASSED);
    assert_eq!(outcome.value("lost"), "0");
    Ok(())
}
