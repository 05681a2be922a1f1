// SPDX-License-Identifier: MIT OR Apache-2.0
//! Counts instructions in the programs that are measured.

use std::path::Path;

use anyhow::{Context, Error, Result, ensure};
use iced_x86::{FlowControl, Instruction, Register};
use vcpu_tests::disassembly::{self, Loop, function};

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
    let code = function(program, name).map_err(Error::msg)?;
    let rounds: Vec<Loop> = disassembly::loops(&code).collect();
    let head = |round: &Loop| round.instructions[0].ip();
    let is_inner = |round: &Loop| {
        let inside = &round.instructions[1..];
        !rounds.iter().any(|other| {
            inside
                .iter()
                .any(|instruction| instruction.ip() == head(other))
        })
    };
    let is_meant: Vec<bool> = rounds
        .iter()
        .map(|round| kind.is_of(&round.instructions) && is_inner(round))
        .collect();
    let meant = rounds.into_iter().zip(is_meant);
    let meant: Vec<Loop> = meant
        .filter_map(|(round, is)| is.then_some(round))
        .collect();
    ensure!(
        !meant.is_empty(),
        "{name} of {} has no such loop",
        program.display()
    );
    Ok(meant)
}
