// SPDX-License-Identifier: MIT OR Apache-2.0
//! The C header as a product: it compiles alone and with its neighbours, says what the Rust
//! crate says, finds a runtime as it promises in each link form, and its checkers find faults.

use std::fs;
use std::process::Command;

use vcpu_tests::case::{self, Case};
use vcpu_tests::header::{
    self, Scratch, WARNINGS, data, expect_status, faults, fixture, forms, run, wrapper_mixes,
};

/// Compiler, language standard, name of a source file.
const LANGUAGES: [(&str, &str, &str); 8] = [
    ("gcc", "c99", "use.c"),
    ("gcc", "c11", "use.c"),
    ("g++", "c++11", "use.cc"),
    ("g++", "c++17", "use.cc"),
    ("clang", "c99", "use.c"),
    ("clang", "c11", "use.c"),
    ("clang++", "c++11", "use.cc"),
    ("clang++", "c++17", "use.cc"),
];

/// What stands around `#include "vcpu_rt.h"`.
const NEIGHBOURS: [(&str, &str); 6] = [
    ("", ""),
    ("#include <sys/rseq.h>\n", ""),
    ("", "#include <sys/rseq.h>\n"),
    ("#include <linux/rseq.h>\n", ""),
    ("", "#include <linux/rseq.h>\n"),
    ("#include \"vcpu_rt.h\"\n", ""),
];

fn main() {
    let mut cases = Vec::new();
    for (compiler, standard, file) in LANGUAGES {
        cases.push(
            Case::new(format!("compiles_{compiler}_{standard}"), move || {
                compiles_everywhere(compiler, standard, file)
            })
            .needs(header::available(compiler))
            .needs(has_neighbours()),
        );
        cases.push(
            Case::new(format!("helpers_{compiler}_{standard}"), move || {
                helpers_do_what_they_say(compiler, standard, file)
            })
            .needs(header::available(compiler)),
        );
    }
    cases.push(
        Case::new("agrees_with_the_kernel_header", agrees_with_the_kernel)
            .needs(header::available("gcc"))
            .needs(has_neighbours()),
    );
    cases.extend(data::cases());
    cases.extend(wrapper_mixes::cases());
    cases.extend(faults::cases());
    cases.extend(forms::cases());
    case::run(cases)
}

/// `<sys/rseq.h>` came with glibc 2.35; musl has none.
fn has_neighbours() -> Result<(), String> {
    let includes = ["-include", "sys/rseq.h", "-include", "linux/rseq.h"];
    run(Command::new("gcc")
        .args(["-fsyntax-only", "-xc", "/dev/null"])
        .args(includes))
    .map(drop)
    .map_err(|_| "<sys/rseq.h> or <linux/rseq.h> is missing".into())
}

fn compiles_everywhere(compiler: &str, standard: &str, file: &str) -> Result<(), String> {
    let scratch = Scratch::new()?;
    for reference in ["VCPU_ABI_OPTIONAL", "VCPU_ABI_REQUIRED", "VCPU_ABI_NEITHER"] {
        for (before, after) in NEIGHBOURS {
            let header = if file.ends_with(".cc") {
                "vcpu_rt.hpp"
            } else {
                "vcpu_data.h"
            };
            let source = format!(
                "{before}#define {reference}\n#include \"vcpu_rt.h\"\n{USE}\
                 #include \"{header}\"\n{after}{USE_DATA}"
            );
            let path = scratch.write(file, &source)?;
            run(Command::new(compiler)
                .args(WARNINGS)
                .args([&format!("-std={standard}"), "-O2", "-c", "-o"])
                .arg(scratch.path("use.o"))
                .arg("-I")
                .arg(header::include_directory())
                .arg(path))?;
        }
    }
    Ok(())
}

/// A translation unit that uses something of each section of the header.
const USE: &str = "
struct vcpu_rseq_cs section;
uint64_t use(const struct vcpu_abi *abi, void *object);
uint64_t use(const struct vcpu_abi *abi, void *object)
{
    (void)vcpu_area_address(abi, object, vcpu_thread_area(abi));
    return VCPU_ABI_HAS(abi, fence) ? VCPU_FEATURE_FENCE : VCPU_RSEQ_SIG;
}
#ifdef VCPU_ABI_REQUIRED
VCPU_PER_VCPU(uint64_t, declared);
#endif
#if defined(VCPU_ABI_OPTIONAL) || defined(VCPU_ABI_REQUIRED)
int find(void **object);
int find(void **object)
{
    struct vcpu_abi copy = *vcpu_abi_find();
    copy.alloc = vcpu_alloc;
    copy.free = vcpu_free;
    copy.fence = vcpu_fence;
    copy.thread_register = vcpu_thread_register;
    copy.thread_unregister = vcpu_thread_unregister;
    return copy.alloc(vcpu_rseq_size + vcpu_rseq_flags, (size_t)vcpu_rseq_offset, object);
}
#endif
";

/// The same of what `vcpu_data.h` adds.
const USE_DATA: &str = "
uint64_t use_data(const struct vcpu_abi *abi, struct vcpu_single64 *word);
uint64_t use_data(const struct vcpu_abi *abi, struct vcpu_single64 *word)
{
    vcpu_single64_inc(abi, word);
    return vcpu_thread_mode(abi) + (uint64_t)vcpu_thread_node(abi) + vcpu_single64_sum(abi, word) +
           ((struct vcpu_single64 *)vcpu_shared_address(abi, word))->value;
}
#ifdef VCPU_ABI_REQUIRED
VCPU_PER_VCPU(struct vcpu_section64, counted);
VCPU_PER_VCPU(struct vcpu_single8[4], array);
void count(void);
void count(void)
{
    vcpu_section64_inc(&vcpu_abi, VCPU_DECLARED(counted));
    vcpu_single8_inc(&vcpu_abi, &(*VCPU_DECLARED(array))[3]);
}
#endif
#if defined(VCPU_ABI_OPTIONAL) || defined(VCPU_ABI_REQUIRED)
const struct vcpu_abi *find_data(void);
const struct vcpu_abi *find_data(void)
{
    return vcpu_data_find();
}
#endif
";

fn helpers_do_what_they_say(compiler: &str, standard: &str, file: &str) -> Result<(), String> {
    let scratch = Scratch::new()?;
    let source = fs::read_to_string(fixture("helpers.c")).map_err(|error| error.to_string())?;
    let path = scratch.write(file, &source)?;
    let program = scratch.path("helpers");
    run(Command::new(compiler)
        .args(WARNINGS)
        .args([&format!("-std={standard}"), "-O2", "-o"])
        .arg(&program)
        .arg("-I")
        .arg(header::include_directory())
        .arg(path))?;
    expect_status(&mut Command::new(program), 85)
}

fn agrees_with_the_kernel() -> Result<(), String> {
    run(Command::new("gcc")
        .args(["-std=c11", "-fsyntax-only", "-I"])
        .arg(header::include_directory())
        .arg(fixture("kernel.c")))
    .map(drop)
}
