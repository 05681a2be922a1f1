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

/// The loops of a function that are of a kind and have no other such loop in them, in the order in which they
/// begin; at least one. Where the compiler asks for the mode in each round, loops of modes share that question.
pub fn loops(program: &Path, name: &str, kind: Kind) -> Result<Vec<Loop>> {
    let code = function(program, name).map_err(Error::msg)?;
    let of_kind: Vec<Loop> = disassembly::loops(&code)
        .filter(|round| kind.is_of(&round.instructions))
        .collect();
    let heads: Vec<u64> = of_kind
        .iter()
        .map(|round| round.instructions[0].ip())
        .collect();
    let mut meant = of_kind;
    meant.retain(|round| {
        let inside = &round.instructions[1..];
        !inside
            .iter()
            .any(|instruction| heads.contains(&instruction.ip()))
    });
    ensure!(
        !meant.is_empty(),
        "{name} of {} has no such loop",
        program.display()
    );
    Ok(meant)
}
