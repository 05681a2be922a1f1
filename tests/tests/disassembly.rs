// SPDX-License-Identifier: MIT OR Apache-2.0
//! The fast path of each operation, in gs mode, in a critical section and in shared mode: how many of its
//! instructions touch memory, and how many there are at most (compilers differ). The counts are of a whole function
//! without its return: constants, and what the result needs, included.

use std::cmp::Reverse;
use std::path::Path;

use iced_x86::{Code, Instruction, Register};
use vcpu_abi::{RSEQ_OFFSET, Rseq};
use vcpu_tests::case::{self, Case};
use vcpu_tests::disassembly::{Cost, calls, cost, function, loops, ways};
use vcpu_tests::hosted::rust::Build;
use vcpu_tests::programs::{Form, PASSED, Relocation};
use vcpu_tests::run::Run;

/// A function of the program `fast_paths`, with what it costs by `%gs:`, in a section and by locked
/// instructions without a call: each as instructions and those with memory. With fixed addresses: where the program relocates itself, a
/// section needs one instruction more, for the address of its descriptor.
type Row = (
    &'static str,
    Option<(usize, usize)>,
    (usize, usize),
    Option<(usize, usize)>,
);

const FUNCTIONS: [Row; 23] = [
    ("declared_inc", Some((6, 3)), (16, 5), Some((16, 4))),
    ("declared_add", Some((6, 3)), (16, 5), Some((17, 4))),
    ("declared_load", Some((5, 3)), (17, 5), Some((16, 4))),
    ("declared_store", Some((6, 3)), (16, 5), Some((17, 4))),
    ("declared_or", Some((6, 3)), (16, 5), Some((17, 4))),
    ("declared_add_return", Some((7, 3)), (19, 5), Some((18, 4))),
    ("declared_exchange", Some((8, 4)), (20, 6), Some((18, 4))),
    (
        "declared_compare_exchange",
        Some((12, 3)),
        (24, 5),
        Some((23, 4)),
    ),
    ("allocated_inc", Some((6, 3)), (16, 5), Some((16, 4))),
    ("allocated_add", Some((5, 3)), (15, 5), Some((16, 4))),
    ("allocated_load", Some((5, 3)), (17, 5), Some((16, 4))),
    ("section_add", None, (11, 5), None),
    ("section_add_return", None, (15, 5), None),
    ("section_compare_equal_store", None, (16, 6), None),
    ("section_compare_equal_store_store", None, (19, 8), None),
    ("section_pop", None, (32, 9), None),
    (
        "pair_compare_exchange",
        Some((35, 7)),
        (47, 9),
        Some((46, 8)),
    ),
    ("counter_inc", Some((6, 3)), (16, 5), Some((16, 4))),
    ("histogram_record", Some((18, 3)), (28, 5), Some((28, 4))),
    ("cache_push", Some((20, 8)), (25, 8), None),
    ("cache_pop", Some((23, 9)), (28, 9), None),
    ("stack_push", None, (20, 8), None),
    ("stack_pop", None, (27, 10), None),
];

/// The same of C's functions in the program `words` (`c/words.c`), compiled to be position-independent.
/// The table's words count as memory: mode, both offsets, bound and stride.
const FUNCTIONS_OF_C: [Row; 10] = [
    ("c_single64_inc", Some((5, 2)), (18, 10), Some((15, 5))),
    ("c_single64_add", Some((5, 2)), (18, 10), Some((15, 5))),
    ("c_single64_load", Some((4, 2)), (20, 10), Some((14, 5))),
    (
        "c_single64_add_return",
        Some((9, 2)),
        (25, 10),
        Some((20, 5)),
    ),
    ("c_single64_exchange", Some((6, 3)), (21, 11), Some((17, 5))),
    (
        "c_single64_compare_exchange",
        Some((13, 5)),
        (29, 13),
        Some((25, 8)),
    ),
    ("c_section64_add", None, (16, 10), Some((13, 5))),
    ("c_section64_compare_equal_store", None, (19, 11), None),
    (
        "c_section64_compare_equal_store_store",
        None,
        (22, 12),
        None,
    ),
    (
        "c_section_ptr_compare_not_equal_load_store",
        None,
        (27, 13),
        None,
    ),
];

const LOOPS_OF_C: [Row; 2] = [
    ("c_loop_inc", Some((5, 1)), (16, 7), None),
    ("c_loop_section_add", None, (14, 7), Some((3, 1))),
];

/// One round of a loop on an allocated object, whose address and mode stay in registers: the update,
/// and the two instructions that count rounds.
const LOOPS: [Row; 2] = [
    ("loop_inc", Some((3, 1)), (8, 3), Some((3, 1))),
    ("loop_section_add", None, (9, 3), None),
];

/// In the hosted form, where struct rseq is at a distance that the process found, in a register, and the bound in
/// memory; both are found before the question for the mode. With several updates in a round the mode is asked for
/// there, and a branch taken.
const FUNCTIONS_HOSTED: [Row; 1] = [("inc", Some((8, 4)), (18, 7), Some((18, 5)))];

const LOOPS_HOSTED: [Row; 2] = [
    ("loop_inc", Some((3, 1)), (8, 4), Some((3, 1))),
    ("loop_inc_four_times", Some((6, 4)), (29, 16), Some((36, 8))),
];

fn main() {
    let mut cases = Vec::new();
    let pie = Form {
        relocation: Relocation::StaticPie,
        ..Form::DEFAULT
    };
    for form in [Form::DEFAULT, pie] {
        cases.push(Case::new(format!("{form}::functions"), move || {
            functions(form)
        }));
        cases.push(Case::new(format!("{form}::loops"), move || rounds(form)));
    }
    for (name, build, more) in [
        ("hosted", Build::Fixed, 0),
        ("hosted-pie", Build::Release, 1),
    ] {
        cases.push(Case::new(format!("{name}::loops"), move || {
            hosted_rounds(build, more)
        }));
        cases.push(Case::new(format!("{name}::functions"), move || {
            hosted_functions(build, more)
        }));
    }
    cases.push(Case::new("rbx_is_changed_last", || {
        rbx_is_changed_last(&Form::DEFAULT.program("fast_paths")?)
    }));
    cases.push(Case::new("hosted::rbx_is_changed_last", || {
        rbx_is_changed_last(&Build::Release.program()?)
    }));
    // C code is the same in every form of the program.
    cases.push(Case::new("functions_of_c", || {
        let program = Form::DEFAULT.program("words")?;
        compare(0, &FUNCTIONS_OF_C, to_the_commit, |name| {
            Ok(ways(&function(&program, name)?))
        })
    }));
    cases.push(Case::new("loops_of_c", || {
        let program = Form::DEFAULT.program("words")?;
        compare(0, &LOOPS_OF_C, shortest, |name| {
            let code = function(&program, name)?;
            Ok(loops(&code, |_| true)
                .map(|found| found.instructions)
                .collect())
        })
    }));
    case::run(cases)
}

fn functions(form: Form) -> Result<(), String> {
    let program = form.program("fast_paths")?;
    Run::new(&program).run().exits(PASSED);
    compare(more(form), &FUNCTIONS, to_the_commit, |name| {
        Ok(ways(&function(&program, name)?))
    })
}

/// The section of 16 bytes gives rbx a value of its own. Compilers may have put any operand there, struct rseq's
/// place among them: so nothing but the commit comes behind that.
fn rbx_is_changed_last(program: &Path) -> Result<(), String> {
    let code = function(program, "pair_compare_exchange")?;
    let is_commit = |one: &Instruction| one.code() == Code::Cmpxchg16b_m128;
    let in_section = code
        .windows(2)
        .filter(|pair| is_commit(&pair[1]) && !pair[1].has_lock_prefix() && !uses_gs(&pair[1]));
    let mut sections = 0;
    for pair in in_section {
        sections += 1;
        let changes_rbx = pair[0].op0_register() == Register::RBX;
        if !changes_rbx || pair[0].op1_register() != Register::RSI {
            return Err(format!("before the commit comes {}", pair[0]));
        }
    }
    assert!(sections > 0, "the function has no section");
    Ok(())
}

fn rounds(form: Form) -> Result<(), String> {
    let program = form.program("fast_paths")?;
    compare(more(form), &LOOPS, shortest, |name| {
        let code = function(&program, name)?;
        Ok(loops(&code, |_| true)
            .map(|found| found.instructions)
            .collect())
    })
}

/// The same in the hosted form. Of each loop a round of each mode, which may share its beginning.
fn hosted_rounds(build: Build, more: usize) -> Result<(), String> {
    let program = build.program()?;
    compare(more, &LOOPS_HOSTED, shortest, |name| {
        let code = function(&program, name)?;
        let of = |may_have: fn(&Instruction) -> bool| loops(&code, may_have);
        let rounds = of(|_| true)
            .chain(of(|one| !uses_gs(one) && !one.has_lock_prefix()))
            .chain(of(|one| !uses_gs(one) && !begins_section(one)));
        Ok(rounds.map(|found| found.instructions).collect())
    })
}

fn hosted_functions(build: Build, more: usize) -> Result<(), String> {
    let program = build.program()?;
    compare(more, &FUNCTIONS_HOSTED, to_the_commit, |name| {
        Ok(ways(&function(&program, name)?))
    })
}

/// Instructions that each section needs more than the tables say.
fn more(form: Form) -> usize {
    usize::from(form.relocation == Relocation::StaticPie)
}

fn compare(
    more: usize,
    rows: &[Row],
    fast_path: fn(&mut dyn Iterator<Item = Cost>) -> Option<Cost>,
    ways: impl Fn(&str) -> Result<Vec<Vec<Instruction>>, String>,
) -> Result<(), String> {
    let mut wrong = String::new();
    for (name, by_gs, in_section, locked) in rows {
        let ways = ways(name)?;
        let found = [Mode::Gs, Mode::Section, Mode::Shared].map(|mode| {
            let ways = ways.iter().filter(|way| Mode::of(way) == Some(mode));
            fast_path(&mut ways.map(|way| {
                let Cost {
                    instructions,
                    memory,
                } = cost(way);
                let sections = way.iter().filter(|one| begins_section(one)).count();
                Cost {
                    instructions: instructions - more * sections,
                    memory,
                }
            }))
        });
        let expected = [*by_gs, Some(*in_section), *locked].map(|cost| {
            cost.map(|(instructions, memory)| Cost {
                instructions,
                memory,
            })
        });
        let holds = found.iter().zip(expected).all(|pair| match pair {
            (Some(found), Some(expected)) => {
                found.memory == expected.memory && found.instructions <= expected.instructions
            }
            (found, expected) => *found == expected,
        });
        if !holds {
            wrong += &format!("{name}: {found:?}, not {expected:?}\n");
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong) }
}

/// Of the ways with such an instruction, the cost of that which goes farthest, to the commit, and is
/// the shortest of those.
fn to_the_commit(costs: &mut dyn Iterator<Item = Cost>) -> Option<Cost> {
    costs.max_by_key(|cost| (cost.memory, Reverse(cost.instructions)))
}

/// Of the rounds with such an instruction, the cost of the shortest: the others call a function.
fn shortest(costs: &mut dyn Iterator<Item = Cost>) -> Option<Cost> {
    costs.min_by_key(|cost| cost.instructions)
}

/// In which mode a way through a function is a fast path.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// Caches have sections in it too.
    Gs,
    Section,
    Shared,
}

impl Mode {
    fn of(way: &[Instruction]) -> Option<Self> {
        let has = |kind: fn(&Instruction) -> bool| way.iter().any(kind);
        match (has(uses_gs), has(begins_section), has(calls)) {
            (true, ..) => Some(Self::Gs),
            (false, true, _) => Some(Self::Section),
            (false, false, false) => Some(Self::Shared),
            (false, false, true) => None,
        }
    }
}

fn uses_gs(instruction: &Instruction) -> bool {
    instruction.memory_segment() == Register::GS
}

/// The store to rseq_cs: at a constant place, or in C at one that the table tells.
fn begins_section(instruction: &Instruction) -> bool {
    let by_table = Rseq::RSEQ_CS_OFFSET as u64;
    let constant = RSEQ_OFFSET as u64 + by_table;
    let place = instruction.memory_displacement64();
    instruction.memory_segment() == Register::FS && (place == constant || place == by_table)
}
