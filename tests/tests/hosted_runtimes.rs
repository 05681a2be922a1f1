// SPDX-License-Identifier: MIT OR Apache-2.0
//! The hosted form: two runtimes in one process, of which the second has adopted the first one's registration.

use vcpu_tests::case::{self, Case};
use vcpu_tests::confine;
use vcpu_tests::hosted::{Form, Way, preload};
use vcpu_tests::programs::PASSED;
use vcpu_tests::run::Run;
use vcpu_tests::tracer::Verdict;

fn main() {
    let mut cases = Vec::new();
    for owner in ["library", "program"] {
        for (name, body) in [
            ("unregister", unregister as fn(&str) -> Result<(), String>),
            ("destructor", destructor),
        ] {
            cases.push(
                Case::new(format!("{owner}_owns::{name}"), move || body(owner))
                    .needs(Form::Archive.is_available())
                    .needs(confine::kernel_has_rseq()),
            );
        }
    }
    case::run(cases)
}

/// A program with the archive. The library comes first where it owns, and late where it adopts.
fn program(owner: &str, scenario: &str) -> Result<Run, String> {
    let library = Form::Preload.libraries()?.join("libvcpu_rt.so");
    let run = if owner == "library" {
        Form::Archive.run("runtimes", Way::Own)?.env(preload()?)
    } else {
        Form::Archive.run("runtimes", Way::OwnWithoutLibc)?
    };
    Ok(run.arg(scenario).arg(library).arg(owner))
}

/// A signal that is sent at rseq(2) is delivered when the kernel has unregistered the thread, or when signals are not
/// blocked any more.
fn unregister(owner: &str) -> Result<(), String> {
    let mut has_handler = false;
    let run = program(owner, "unregister")?.traced(
        |_| Ok(()),
        move |tracee, call| {
            let is = |number: libc::c_long| call.number == number.cast_unsigned();
            let signal = libc::SIGUSR1.cast_unsigned();
            has_handler |= is(libc::SYS_rt_sigaction) && call.arguments[0] == signal.into();
            if !(has_handler && is(libc::SYS_rseq)) {
                return Ok(Verdict::Make);
            }
            tracee.send(libc::SIGUSR1)?;
            Ok(Verdict::Leave)
        },
    );
    run.run().exits(PASSED);
    Ok(())
}

fn destructor(owner: &str) -> Result<(), String> {
    program(owner, "destructor")?.run().exits(PASSED);
    Ok(())
}
