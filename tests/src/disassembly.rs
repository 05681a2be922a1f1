// SPDX-License-Identifier: MIT OR Apache-2.0
//! Instructions of functions in executables: loops, ways through, and what they cost.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use iced_x86::{
    Code, Decoder, DecoderOptions, FlowControl, Instruction, InstructionInfoFactory, OpAccess,
    Register,
};
use object::{Object, ObjectSection, ObjectSymbol};

/// A loop of a function.
pub struct Loop {
    /// Where it begins within a 64-byte line.
    pub offset: u64,
    /// The instructions of one round.
    pub instructions: Vec<Instruction>,
}

/// The loops of a function that have a round of such instructions as `may_have` says, in order. Of each the round
/// in which a branch is taken only where the code behind it does not come back.
pub fn loops(
    code: &[Instruction],
    may_have: impl Fn(&Instruction) -> bool,
) -> impl Iterator<Item = Loop> {
    let mut heads: Vec<u64> = code
        .iter()
        .filter(|branch| is_branch(branch) && branch.near_branch_target() <= branch.ip())
        .map(Instruction::near_branch_target)
        .collect();
    heads.sort_unstable();
    heads.dedup();
    heads.into_iter().filter_map(move |head| {
        let instructions = round(code, head, &may_have)?;
        let offset = head % 64;
        Some(Loop {
            offset,
            instructions,
        })
    })
}

/// Follows the code from `head` until it branches back there; `None` when it does not. A branch is taken where
/// the code behind it does not come back.
fn round(
    code: &[Instruction],
    head: u64,
    may_have: &impl Fn(&Instruction) -> bool,
) -> Option<Vec<Instruction>> {
    let mut seen = BTreeSet::new();
    let mut open = vec![(Vec::new(), head)];
    while let Some((mut way, address)) = open.pop() {
        let is_new = seen.insert(address);
        let Some(instruction) = at(code, address).filter(|one| is_new && may_have(one)) else {
            continue;
        };
        let (next, target) = (instruction.next_ip(), instruction.near_branch_target());
        way.push(instruction);
        if is_branch(&instruction) && target == head {
            return Some(way);
        }
        match instruction.flow_control() {
            FlowControl::UnconditionalBranch => open.push((way, target)),
            FlowControl::ConditionalBranch => {
                open.push((way.clone(), target));
                open.push((way, next));
            }
            FlowControl::Return | FlowControl::IndirectBranch | FlowControl::Exception => {}
            _ => open.push((way, next)),
        }
    }
    None
}

/// Every way from the beginning of a function to a return, without its calls and jumps to other
/// functions, in which no instruction comes twice. Without the return.
pub fn ways(code: &[Instruction]) -> Vec<Vec<Instruction>> {
    let mut ways = Vec::new();
    let mut open: Vec<(Vec<Instruction>, u64)> = Vec::new();
    open.extend(code.first().map(|first| (Vec::new(), first.ip())));
    while let Some((mut way, address)) = open.pop() {
        let come_before = way.iter().any(|before| before.ip() == address);
        let Some(instruction) = at(code, address).filter(|_| !come_before) else {
            continue;
        };
        let (next, target) = (instruction.next_ip(), instruction.near_branch_target());
        match instruction.flow_control() {
            FlowControl::Return => {
                ways.push(way);
                continue;
            }
            FlowControl::Next => open.push((with(&mut way, instruction), next)),
            FlowControl::UnconditionalBranch => open.push((with(&mut way, instruction), target)),
            FlowControl::ConditionalBranch => {
                let way = with(&mut way, instruction);
                open.push((way.clone(), target));
                open.push((way, next));
            }
            _ => {}
        }
    }
    ways
}

fn with(way: &mut Vec<Instruction>, instruction: Instruction) -> Vec<Instruction> {
    way.push(instruction);
    std::mem::take(way)
}

/// What instructions cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// How many there are.
    pub instructions: usize,
    /// How many of them read or write memory other than the stack.
    pub memory: usize,
}

/// Counts.
pub fn cost(instructions: &[Instruction]) -> Cost {
    let mut factory = InstructionInfoFactory::new();
    let mut has_memory = |instruction: &&Instruction| {
        let used = factory.info(instruction).used_memory();
        used.iter().any(|memory| {
            memory.access() != OpAccess::NoMemAccess && memory.base() != Register::RSP
        })
    };
    Cost {
        instructions: instructions.len(),
        memory: instructions.iter().filter(&mut has_memory).count(),
    }
}

fn at(code: &[Instruction], address: u64) -> Option<Instruction> {
    code.iter()
        .find(|instruction| instruction.ip() == address)
        .copied()
}

/// Whether it calls a function, or leaves for a place that it does not name.
pub fn calls(instruction: &Instruction) -> bool {
    matches!(
        instruction.flow_control(),
        FlowControl::Call | FlowControl::IndirectCall | FlowControl::IndirectBranch
    )
}

fn is_branch(instruction: &Instruction) -> bool {
    matches!(
        instruction.flow_control(),
        FlowControl::ConditionalBranch | FlowControl::UnconditionalBranch
    )
}

/// The instructions of a function, found by its symbol.
pub fn function(program: &Path, name: &str) -> Result<Vec<Instruction>, String> {
    let text = |error: &dyn std::fmt::Display| format!("{}: {error}", program.display());
    let content = fs::read(program).map_err(|error| text(&error))?;
    let file = object::File::parse(&*content).map_err(|error| text(&error))?;
    let symbol = file
        .symbols()
        .find(|symbol| symbol.name() == Ok(name))
        .ok_or_else(|| text(&format!("no symbol {name}")))?;
    let index = symbol.section_index().ok_or("no section")?;
    let section = file.section_by_index(index).map_err(|error| text(&error))?;
    let bytes = section
        .data_range(symbol.address(), symbol.size())
        .map_err(|error| text(&error))?
        .ok_or_else(|| text(&format!("{name} lies outside of its section")))?;
    let decoder = Decoder::with_ip(64, bytes, symbol.address(), DecoderOptions::NONE);
    let instructions: Vec<Instruction> = decoder.into_iter().collect();
    if instructions
        .iter()
        .any(|instruction| instruction.code() == Code::INVALID)
    {
        return Err(text(&format!("{name} does not decode")));
    }
    Ok(instructions)
}
