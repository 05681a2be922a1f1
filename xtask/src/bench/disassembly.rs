// SPDX-License-Identifier: MIT OR Apache-2.0
//! Counts instructions in the programs that are measured.

use anyhow::{Context, Error, Result, ensure};
use iced_x86::FlowControl;
use vcpu_tests::disassembly::function;

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
