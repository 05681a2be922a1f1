// SPDX-License-Identifier: MIT OR Apache-2.0
//! The fast path of each operation, in gs mode and in a critical section: how many of its instructions
//! touch memory, and how many there are at most (compilers differ). The counts are of a whole function
//! without its return: constants, and what the result needs, included.

use std::cmp::Reverse;

use iced_x86::{Instruction, Register};
use vcpu_abi::{RSEQ_OFFSET, Rseq};
use vcpu_tests::case::{self, Case};
use vcpu_tests::disassembly::{Cost, cost, function, loops, ways};
use vcpu_tests::programs::{Form, PASSED, Relocation};
use vcpu_tests::run::Run;

/// A function of the program `fast_paths`, with what it costs by `%gs:` and in a section: each as
/// instructions and those with memory. With fixed addresses: where the program relocates itself, a
/// section needs one instruction more, for the address of its descriptor.
type Row = (&'static str, Option<(usize, usize)>, (usize, usize));

const FUNCTIONS: [Row; 23] = [
    ("declared_inc", Some((6, 3)), (16, 5)),
    ("declared_add", Some((6, 3)), (16, 5)),
    ("declared_load", Some((5, 3)), (17, 5)),
    ("declared_store", Some((6, 3)), (16, 5)),
    ("declared_or", Some((6, 3)), (16, 5)),
    ("declared_add_return", Some((7, 3)), (19, 5)),
    ("declared_exchange", Some((8, 4)), (19, 6)),
    ("declared_compare_exchange", Some((12, 3)), (24, 5)),
    ("allocated_inc", Some((6, 3)), (16, 5)),
    ("allocated_add", Some((5, 3)), (15, 5)),
    ("allocated_load", Some((5, 3)), (17, 5)),
    ("section_add", None, (11, 5)),
    ("section_add_return", None, (15, 5)),
    ("section_compare_equal_store", None, (16, 6)),
    ("section_compare_equal_store_store", None, (19, 8)),
    ("section_pop", None, (32, 9)),
    ("pair_compare_exchange", Some((35, 7)), (48, 9)),
    ("counter_inc", Some((6, 3)), (16, 5)),
    ("histogram_record", Some((18, 3)), (28, 5)),
    ("cache_push", Some((23, 8)), (24, 8)),
    ("cache_pop", Some((25, 9)), (27, 9)),
    ("stack_push", None, (20, 8)),
    ("stack_pop", None, (27, 10)),
];

/// One round of a loop on an allocated object, whose address and mode stay in registers: the update,
/// and the two instructions that count rounds.
const LOOPS: [Row; 2] = [
    ("loop_inc", Some((3, 1)), (10, 3)),
    ("loop_section_add", None, (10, 3)),
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
    case::run(cases)
}

fn functions(form: Form) -> Result<(), String> {
    let program = form.program("fast_paths")?;
    Run::new(&program).run().exits(PASSED);
    compare(form, &FUNCTIONS, to_the_commit, |name| {
        Ok(ways(&function(&program, name)?))
    })
}

fn rounds(form: Form) -> Result<(), String> {
    let program = form.program("fast_paths")?;
    compare(form, &LOOPS, shortest, |name| {
        let code = function(&program, name)?;
        Ok(loops(&code).map(|found| found.instructions).collect())
    })
}

fn compare(
    form: Form,
    rows: &[Row],
    fast_path: fn(&mut dyn Iterator<Item = Cost>) -> Option<Cost>,
    ways: impl Fn(&str) -> Result<Vec<Vec<Instruction>>, String>,
) -> Result<(), String> {
    let more = usize::from(form.relocation == Relocation::StaticPie);
    let mut wrong = String::new();
    for (name, by_gs, in_section) in rows {
        let ways = ways(name)?;
        // Caches have sections in gs mode too.
        let found = [true, false].map(|is_gs| {
            let ways = ways.iter().filter(|way| {
                way.iter().any(uses_gs) == is_gs && (is_gs || way.iter().any(begins_section))
            });
            fast_path(&mut ways.map(|way| {
                let Cost {
                    instructions,
                    memory,
                } = cost(way);
                let address = if way.iter().any(begins_section) {
                    more
                } else {
                    0
                };
                Cost {
                    instructions: instructions - address,
                    memory,
                }
            }))
        });
        let expected = [*by_gs, Some(*in_section)].map(|cost| {
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

fn uses_gs(instruction: &Instruction) -> bool {
    instruction.memory_segment() == Register::GS
}

/// The store to rseq_cs.
fn begins_section(instruction: &Instruction) -> bool {
    let rseq_cs = (RSEQ_OFFSET + Rseq::RSEQ_CS_OFFSET) as u64;
    instruction.memory_segment() == Register::FS && instruction.memory_displacement64() == rseq_cs
}
