// SPDX-License-Identifier: MIT OR Apache-2.0
//! Counts instructions in the programs that are measured.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use iced_x86::{Code, Decoder, DecoderOptions, FlowControl, Instruction, Register};
use object::{Object, ObjectSection, ObjectSymbol};

use super::Row;
use crate::program::{Form, Profile, build};

/// mm_cid_read_instructions.
pub fn mm_cid_row() -> Result<Row> {
    let program = build("bench-mm-cid", Form::Static, Profile::Release)?;
    let mut instructions = function(&program, "read_mm_cid")?;
    let last = instructions.pop().context("read_mm_cid is empty")?;
    ensure!(
        last.flow_control() == FlowControl::Return,
        "read_mm_cid ends with {last}"
    );
    println!("the mm_cid read:");
    for instruction in &instructions {
        println!("  {instruction}");
    }
    Ok(Row::count(
        "mm_cid_read_instructions",
        instructions.len() as u64,
        "instructions",
        1,
    ))
}

/// A loop of a function.
pub struct Loop {
    /// Where it begins within a 64-byte line.
    pub offset: u64,
    /// The instructions of one round when no forward branch is taken.
    pub instructions: Vec<Instruction>,
}

/// Which of a function's loops is meant: where the mode is asked for before the loop, the compiler makes
/// one for each.
#[derive(Clone, Copy)]
pub enum Kind {
    /// The first one.
    Any,
    /// It has `%gs:` operands.
    Gs,
    /// It has a critical section, and no `%gs:` operands.
    Section,
    /// It has a locked instruction, and no critical section.
    Locked,
}

impl Kind {
    fn is_of(self, instructions: &[Instruction]) -> bool {
        let has = |segment| {
            instructions
                .iter()
                .any(|instruction| instruction.segment_prefix() == segment)
        };
        let is_locked = instructions.iter().any(Instruction::has_lock_prefix);
        match self {
            Self::Any => true,
            Self::Gs => has(Register::GS),
            Self::Section => has(Register::FS) && !has(Register::GS) && !is_locked,
            Self::Locked => is_locked && !has(Register::FS) && !has(Register::GS),
        }
    }
}

/// The innermost loops of a function that are of a kind, in the order in which they begin; at least
/// one.
pub fn loops(program: &Path, name: &str, kind: Kind) -> Result<Vec<Loop>> {
    let code = function(program, name)?;
    let mut heads: Vec<u64> = code
        .iter()
        .filter(|branch| is_branch(branch) && branch.near_branch_target() <= branch.ip())
        .map(Instruction::near_branch_target)
        .collect();
    heads.sort_unstable();
    heads.dedup();
    let rounds: Vec<(u64, Vec<Instruction>)> = heads
        .iter()
        .filter_map(|&head| Some((head, round(&code, head)?)))
        .collect();
    let is_inner = |instructions: &[Instruction]| {
        let inside = &instructions[1..];
        !rounds
            .iter()
            .any(|(head, _)| inside.iter().any(|instruction| instruction.ip() == *head))
    };
    let loops: Vec<Loop> = rounds
        .iter()
        .filter(|(_, instructions)| kind.is_of(instructions) && is_inner(instructions))
        .map(|(head, instructions)| Loop {
            offset: head % 64,
            instructions: instructions.clone(),
        })
        .collect();
    ensure!(
        !loops.is_empty(),
        "{name} of {} has no such loop",
        program.display()
    );
    Ok(loops)
}

/// Follows the code from `head` until it branches back there; `None` when it does not.
fn round(code: &[Instruction], head: u64) -> Option<Vec<Instruction>> {
    let mut instructions = Vec::new();
    let mut address = head;
    while instructions.len() < code.len() {
        let instruction = *code
            .iter()
            .find(|instruction| instruction.ip() == address)?;
        instructions.push(instruction);
        if is_branch(&instruction) && instruction.near_branch_target() == head {
            return Some(instructions);
        }
        address = match instruction.flow_control() {
            FlowControl::UnconditionalBranch => instruction.near_branch_target(),
            FlowControl::Return => return None,
            _ => instruction.next_ip(),
        };
    }
    None
}

fn is_branch(instruction: &Instruction) -> bool {
    matches!(
        instruction.flow_control(),
        FlowControl::ConditionalBranch | FlowControl::UnconditionalBranch
    )
}

/// The instructions of a function, found by its symbol.
fn function(program: &Path, name: &str) -> Result<Vec<Instruction>> {
    let content = fs::read(program)?;
    let file = object::File::parse(&*content)?;
    let symbol = file
        .symbols()
        .find(|symbol| symbol.name() == Ok(name))
        .with_context(|| format!("{} has no symbol {name}", program.display()))?;
    let section = file.section_by_index(symbol.section_index().context("no section")?)?;
    let bytes = section
        .data_range(symbol.address(), symbol.size())?
        .with_context(|| format!("{name} lies outside of its section"))?;
    let decoder = Decoder::with_ip(64, bytes, symbol.address(), DecoderOptions::NONE);
    let instructions: Vec<Instruction> = decoder.into_iter().collect();
    ensure!(
        instructions
            .iter()
            .all(|instruction| instruction.code() != Code::INVALID),
        "{name} of {} does not decode",
        program.display()
    );
    Ok(instructions)
}
