// SPDX-License-Identifier: MIT OR Apache-2.0
//! Per-vCPU data in C and C++, as `vcpu_data.h` and `vcpu_rt.hpp` have it: every operation by each
//! compiler, on a table that says another offset than the runtime's own; mixes of kinds that must not
//! compile.

use std::fs;
use std::process::Command;

use super::{Scratch, available, compiler, expect_status, fixture, run};
use crate::case::Case;
use crate::confine;
use crate::programs::workspace;

/// The fixtures' way to say that all was as said.
const HELD: i32 = 85;

/// Compiler, C or C++ standard, flags.
const BUILDS: [(&str, &str, &str); 8] = [
    ("gcc", "-std=c99", "-O0 -fPIE -pie"),
    ("gcc", "-std=c99", "-O2 -fno-pie -no-pie"),
    ("gcc", "-std=c11", "-O2 -fPIE -pie"),
    ("clang", "-std=c99", "-O0 -fPIE -pie"),
    ("clang", "-std=c99", "-O2 -fno-pie -no-pie"),
    ("clang", "-std=c11", "-O2 -fPIE -pie"),
    ("g++", "-std=c++11", "-O2 -fPIE -pie"),
    ("clang++", "-std=c++11", "-O2 -fPIE -pie"),
];

/// `MODE_*` of the table that need no prctl.
const MODES: [&str; 3] = ["0", "1", "2"];

/// A case for each.
#[must_use]
pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (compiler, standard, flags) in BUILDS {
        let name = format!("data_{compiler}{standard}{flags}").replace(" -", "-");
        let body = move || operations(compiler, standard, flags);
        let need = available(compiler).and_then(|()| libc_registers());
        cases.push(Case::new(name, body).needs(need));
    }
    for compiler in ["g++", "clang++"] {
        for linker in ["bfd", "lld"] {
            let body = move || wrapper(compiler, linker);
            let name = format!("wrapper_{compiler}_{linker}");
            let need = available(compiler).and_then(|()| libc_registers());
            let need = need.and_then(|()| available(&format!("ld.{linker}")));
            cases.push(Case::new(name, body).needs(need));
        }
    }
    cases.push(Case::new("examples_of_the_document", document).needs(available("gcc")));
    for (name, _, _) in MIXES {
        let body = move || mix(name);
        cases.push(Case::new(format!("mix_{name}"), body).needs(available("g++")));
    }
    cases
}

/// The fixtures' sections go by the C library's registration, and in one mode by mm_cid.
fn libc_registers() -> Result<(), String> {
    confine::kernel_has_rseq()?;
    if confine::rseq_auxv().0 < 28 {
        return Err("this kernel tells no mm_cid to rseq".into());
    }
    let include = [
        "-fsyntax-only",
        "-include",
        "sys/rseq.h",
        "-xc",
        "/dev/null",
    ];
    run(Command::new("gcc").args(include))
        .map(drop)
        .map_err(|_| "the C library registers no rseq".into())
}

fn operations(name: &str, standard: &str, flags: &str) -> Result<(), String> {
    let scratch = Scratch::new()?;
    let program = scratch.path("data");
    run(compiler(name, standard, flags)
        .arg(fixture("data.c"))
        .arg("-o")
        .arg(&program))?;
    for mode in MODES {
        expect_status(Command::new(&program).arg(mode), HELD)
            .map_err(|error| format!("mode {mode}: {error}"))?;
    }
    Ok(())
}

fn wrapper(name: &str, linker: &str) -> Result<(), String> {
    let scratch = Scratch::new()?;
    let program = scratch.path("wrapper");
    let mut objects = Vec::new();
    for define in ["-DHERE", "-DELSEWHERE"] {
        let object = scratch.path(&format!("{define}.o"));
        // What the unit does not use of the table is no mistake.
        run(compiler(
            name,
            "-std=c++11",
            "-O2 -fPIE -ffunction-sections -Wno-unused-function",
        )
        .args([define, "-c"])
        .arg(fixture("wrapper.cc"))
        .arg("-o")
        .arg(&object))?;
        objects.push(object);
    }
    // A section that outlives its function is found by a link that keeps everything.
    for kept in ["-Wl,--no-gc-sections", "-Wl,--gc-sections"] {
        let mut link = Command::new(name);
        link.args(["-pie", kept, &format!("-fuse-ld={linker}")]);
        run(link.args(&objects).arg("-o").arg(&program))?;
        expect_status(&mut Command::new(&program), HELD)?;
    }
    Ok(())
}

/// The examples in C of docs/c-api.md, as they stand.
fn document() -> Result<(), String> {
    let path = workspace().join("docs/c-api.md");
    let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let examples: Vec<_> = text.split("\n```c\n").skip(1).collect();
    if examples.len() < 2 {
        return Err("no examples in C".into());
    }
    for example in examples {
        let code = example.split("```").next().unwrap_or_default();
        let scratch = Scratch::new()?;
        let source = scratch.write("example.c", &format!("#include <vcpu_data.h>\n{code}"))?;
        // Nothing calls the functions of an example.
        run(compiler("gcc", "-std=c99", "-O2 -c -Wno-unused-function")
            .arg(source)
            .arg("-o")
            .arg(scratch.path("example.o")))?;
    }
    Ok(())
}

/// A statement on words of both kinds that must not compile, and what the compiler names.
const MIXES: [(&str, &str, &str); 7] = [
    (
        "single_as_section",
        "vcpu_section64_add(abi, single, 1);",
        "vcpu_section64",
    ),
    (
        "section_as_single",
        "vcpu_single64_inc(abi, section);",
        "vcpu_single64",
    ),
    (
        "single_in_a_section",
        "(void)vcpu_section64_compare_equal_store(abi, single, 0, 1);",
        "vcpu_section64",
    ),
    (
        "single_beside_a_section",
        "(void)vcpu_section64_compare_equal_store_store(abi, section, 0, single, 1, 1);",
        "vcpu_section64",
    ),
    ("width", "vcpu_single32_inc(abi, single);", "vcpu_single32"),
    (
        "arithmetic_on_a_pointer",
        "vcpu_single_ptr_add(abi, pointer, 1);",
        "vcpu_single_ptr_add",
    ),
    ("plain", "vcpu_single64_inc(abi, plain);", "vcpu_single64"),
];

/// The same in C and in C++; without the statement it compiles.
fn mix(name: &str) -> Result<(), String> {
    let (_, statement, names) = MIXES
        .into_iter()
        .find(|(mix, _, _)| *mix == name)
        .ok_or("no such mix")?;
    for (compiler_name, standard) in [("gcc", "-std=c99"), ("g++", "-std=c++11")] {
        let compiled = |statement: &str| {
            let scratch = Scratch::new()?;
            let source = scratch.write("mix.c", &MIX.replace("STATEMENT", statement))?;
            run(compiler(compiler_name, standard, "-fsyntax-only").arg(source))
        };
        compiled("vcpu_single64_inc(abi, single);")?;
        match compiled(statement) {
            Ok(_) => return Err(format!("{compiler_name} compiled {statement}")),
            Err(message) if message.contains(names) => {}
            Err(message) => return Err(format!("it failed for another reason: {message}")),
        }
    }
    Ok(())
}

const MIX: &str = "#include \"vcpu_data.h\"
void mix(const struct vcpu_abi *abi, struct vcpu_single64 *single, struct vcpu_section64 *section,
	 struct vcpu_single_ptr *pointer, uint64_t *plain);
void mix(const struct vcpu_abi *abi, struct vcpu_single64 *single, struct vcpu_section64 *section,
	 struct vcpu_single_ptr *pointer, uint64_t *plain)
{
	(void)abi, (void)single, (void)section, (void)pointer, (void)plain;
	STATEMENT
}
";
