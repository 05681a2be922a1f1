// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a word of the C++ wrapper has not, by its kind and its type, does not compile.

use super::{Scratch, available, compiler, run};
use crate::case::Case;

/// A case for each, by each compiler.
#[must_use]
pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, _, _) in MIXES {
        for compiler in ["g++", "clang++"] {
            let body = move || mix(compiler, name);
            let case = Case::new(format!("wrapper_mix_{name}_{compiler}"), body);
            cases.push(case.needs(available(compiler)));
        }
    }
    cases
}

/// A statement on words that must not compile, and what the compiler names.
const MIXES: [(&str, &str, &str); 6] = [
    ("sum_of_pointers", "(void)words->pointer.sum(abi);", "sum"),
    (
        "several_of_a_single",
        "(void)words->single.compare_equal_store(abi, 0, 1);",
        "compare_equal_store",
    ),
    (
        "several_of_4_bytes",
        "(void)words->narrow.compare_equal_store(abi, 0, 1);",
        "compare_equal_store",
    ),
    (
        "beside_4_bytes",
        "(void)words->wide.compare_equal_store_store(abi, 0, words->narrow, 1, 1);",
        "compare_equal_store_store",
    ),
    (
        "beside_a_single",
        "(void)words->wide.compare_equal_store_store(abi, 0, words->single, 1, 1);",
        "compare_equal_store_store",
    ),
    (
        "pointee_of_4_bytes",
        "(void)words->pointer.add_to_pointee(abi, 1);",
        "an integer of 8 bytes",
    ),
];

/// Without the statement it compiles.
fn mix(compiler_name: &str, name: &str) -> Result<(), String> {
    let (_, statement, names) = MIXES
        .into_iter()
        .find(|(mix, _, _)| *mix == name)
        .ok_or("no such mix")?;
    let compiled = |statement: &str| {
        let scratch = Scratch::new()?;
        let text = MIX.replace("STATEMENT", statement);
        let source = scratch.write("mix.cc", &text)?;
        run(compiler(compiler_name, "-std=c++11", "-fsyntax-only").arg(source))
    };
    compiled("(void)words->wide.compare_equal_store_store(abi, 0, words->wide, 1, 1);")?;
    match compiled(statement) {
        Ok(_) => Err(format!("{compiler_name} compiled {statement}")),
        Err(message) if message.contains(names) => Ok(()),
        Err(message) => Err(format!("it failed for another reason: {message}")),
    }
}

const MIX: &str = "#include \"vcpu_rt.hpp\"
struct Words {
	vcpu::single<uint64_t> single;
	vcpu::section<int64_t> wide;
	vcpu::section<int> narrow;
	vcpu::section<int *> pointer;
};
void mix(const vcpu::table *abi, Words *words);
void mix(const vcpu::table *abi, Words *words)
{
	STATEMENT
}
";
