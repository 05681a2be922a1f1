// SPDX-License-Identifier: MIT OR Apache-2.0
//! An abort at every instruction of every critical section: each operation of per-vCPU words has its
//! exact effect, once, however often and wherever it is aborted, and ends.
//!
//! A breakpoint stops the program, which takes the processor from it: the kernel must resume it at
//! the abort handler of the section. The program `aborts` judges what each operation did.

mod every_instruction;
mod session;

use std::fs;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use vcpu_tests::auxv::hide_rseq_feature_size;
use vcpu_tests::case::{self, Case};
use vcpu_tests::confine;
use vcpu_tests::programs::{Form, PASSED, Profile};
use vcpu_tests::run::Run;
use vcpu_tests::sections::Program;

use session::{Places, Session};

fn main() {
    let mut cases = Vec::new();
    for form in [Form::DEFAULT, Form::OPPOSITE] {
        let body = move || everywhere(form);
        let need = confine::kernel_has_rseq().and_then(|()| match confine::rseq_auxv() {
            (28.., _) => Ok(()),
            _ => Err("this kernel tells no mm_cid to rseq".into()),
        });
        cases.push(Case::new(format!("{form}::everywhere"), body).needs(need));
    }
    case::run(cases)
}

/// In both modes that have sections: those that go by cpu_id are others.
fn everywhere(form: Form) -> Result<(), String> {
    let path = form.program("aborts")?;
    let image = fs::read(&path).map_err(|error| error.to_string())?;
    let (mut all, mut aborted) = (Places::new(), Places::new());
    for by_cpu_id in [false, true] {
        let program = Program::parse(&image)?;
        let found = Arc::new(Mutex::new((Places::new(), Places::new())));
        let seen = Arc::clone(&found);
        let run = Run::new(&path)
            .env("VCPU_RT_GS=off")
            .timeout(Duration::from_secs(480))
            .debugged(move |tracee| {
                if by_cpu_id {
                    hide_rseq_feature_size(tracee)?;
                }
                let mut session =
                    Session::start(tracee, &program, by_cpu_id).map_err(io::Error::other)?;
                session.abort_everywhere()?;
                if form.profile == Profile::Release && !by_cpu_id {
                    session.step_through()?;
                }
                let relative =
                    |places: &Places| places.iter().map(|at| at - session.base).collect();
                let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                *seen = (relative(&session.places()), relative(&session.aborted));
                session.end()
            });
        run.try_run()
            .map_err(|error| error.to_string())?
            .exits(PASSED);
        let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
        all.append(&mut found.0);
        aborted.append(&mut found.1);
    }
    let missing: Vec<_> = all
        .difference(&aborted)
        .map(|at| format!("{at:#x}"))
        .collect();
    println!(
        "{form}: aborts at {} of {} instructions",
        aborted.len(),
        all.len()
    );
    assert!(!all.is_empty(), "the program was not debugged");
    if missing.is_empty() {
        Ok(())
    } else {
        Err(format!("never aborted at {}", missing.join(" ")))
    }
}
