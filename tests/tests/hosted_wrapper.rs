// SPDX-License-Identifier: MIT OR Apache-2.0
//! The C++ wrapper on the hosted form: every operation on words of every type, in the modes without a prctl,
//! by each compiler. What is undefined in C++ is a trap, which needs no library of a sanitizer.

use vcpu_abi::MODE_SHARED;
use vcpu_tests::case::{self, Case};
use vcpu_tests::confine;
use vcpu_tests::header;
use vcpu_tests::hosted::{Form, Way, directory};
use vcpu_tests::programs::{PASSED, workspace};
use vcpu_tests::run::Run;

fn main() {
    let mut cases = Vec::new();
    for (compiler, optimized) in [("g++", "-O0"), ("g++", "-O2"), ("clang++", "-O2")] {
        let body = move || operations(compiler, optimized);
        let case = Case::new(format!("{compiler}{optimized}"), body);
        let case = case.needs(header::available(compiler));
        let case = case.needs(Form::Linked.is_available());
        cases.push(case.needs(confine::kernel_has_rseq()));
    }
    case::run(cases)
}

fn operations(compiler: &str, optimized: &str) -> Result<(), String> {
    let libraries = Form::Linked.libraries()?;
    let program = directory()?.join(format!("wrapper-{compiler}{optimized}"));
    let mut build = header::compiler(compiler, "-std=c++11", optimized);
    build
        .args(["-DVCPU_ABI_REQUIRED", "-fsanitize=undefined"])
        .arg("-fsanitize-undefined-trap-on-error")
        .arg(workspace().join("tests/hosted/wrapper.cc"))
        .arg("-o")
        .arg(&program)
        .arg(format!("-Wl,-rpath,{}", libraries.display()))
        .arg("-L")
        .arg(libraries)
        .arg("-lvcpu_rt");
    header::run(&mut build)?;
    for way in [Way::AsItIs, Way::Off] {
        let mut run = Run::new(&program);
        if way == Way::Off {
            run = run.env("VCPU_RT_RSEQ=off");
        }
        let outcome = run.run().exits(PASSED);
        let is_shared = outcome.number("mode") == u64::from(MODE_SHARED);
        assert_eq!(is_shared, !Form::Linked.state(way).is_registered());
    }
    Ok(())
}
