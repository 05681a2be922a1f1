// SPDX-License-Identifier: MIT OR Apache-2.0
//! Counts instructions in the programs that are measured.

use std::path::Path;

use anyhow::{Context, Error, Result, ensure};
use iced_x86::{FlowControl, Instruction, Register};
use vcpu_tests::disassembly::{self, Loop, calls, function};

use super::Row;
use crate::program::{Form, Profile, build};

/// mm_cid_read_instructions.
pub fn mm_cid_row() -> Result<Row> {
    let program = build("bench-mm-cid", Form::Static, Profile::Release)?;
    let mut instructions = function(&program, "read_mm_cid").map_err(Error::msg)?;
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
    /// Whether such an instruction may be in a round. Who calls a function is not on the fast path.
    fn may_have(self, instruction: &Instruction) -> bool {
        let segment = instruction.segment_prefix();
        let is_locked = instruction.has_lock_prefix();
        match self {
            Self::Any => true,
            _ if calls(instruction) => false,
            Self::Gs => !is_locked,
            Self::Section => segment != Register::GS && !is_locked,
            Self::Locked => segment != Register::GS && segment != Register::FS,
        }
    }

    /// Whether one such must be.
    fn must_have(self, instruction: &Instruction) -> bool {
        match self {
            Self::Any => true,
            Self::Gs => instruction.segment_prefix() == Register::GS,
            Self::Section => instruction.segment_prefix() == Register::FS,
            Self::Locked => instruction.has_lock_prefix(),
        }
    }
}

/// The loops of a function that are of a kind and have no other such loop in them, in the order in which they
/// begin; at least one. Where the compiler asks for the mode in each round, loops of modes share that question; and
/// where it has a jump back into the middle of a round, that is no loop of its own.
pub fn loops(program: &Path, name: &str, kind: Kind) -> Result<Vec<Loop>> {
    let code = function(program, name).map_err(Error::msg)?;
    let of_kind: Vec<Loop> = disassembly::loops(&code, |one| kind.may_have(one))
        .filter(|round| round.instructions.iter().any(|one| kind.must_have(one)))
        .collect();
    let head = |round: &Loop| round.instructions[0].ip();
    let has = |round: &Loop, address| round.instructions.iter().any(|one| one.ip() == address);
    let is_outer = |round: &Loop| {
        of_kind.iter().any(|other| {
            let is_the_same = has(other, head(round)) && head(round) <= head(other);
            has(round, head(other)) && !is_the_same
        })
    };
    let are_outer: Vec<bool> = of_kind.iter().map(is_outer).collect();
    let meant: Vec<Loop> = of_kind
        .into_iter()
        .zip(are_outer)
        .filter_map(|(round, is_outer)| (!is_outer).then_some(round))
        .collect();
    ensure!(
        !meant.is_empty(),
        "{name} of {} has no such loop",
        program.display()
    );
    Ok(meant)
}
