// SPDX-License-Identifier: MIT OR Apache-2.0
//! What docs/conformance.md shows: for each program and each way, how many runs of it did the same as
//! without the library.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};

use super::way::Way;

/// Rows in the order in which programs were run.
#[derive(Default)]
pub struct Table {
    rows: Vec<String>,
    cells: BTreeMap<(String, &'static str), Cell>,
}

#[derive(Default)]
struct Cell {
    same: u32,
    other: u32,
    skipped: u32,
}

/// How a run ended, beside the one without the library.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The same.
    Same,
    /// Not the same.
    Other,
    /// The program says, with and without the library, that this machine lacks something.
    Skipped,
}

impl Table {
    /// Counts a run of a row's program.
    pub fn count(&mut self, row: &str, way: Way, verdict: Verdict) {
        if !self.rows.iter().any(|known| known == row) {
            self.rows.push(row.to_owned());
        }
        let cell = self.cells.entry((row.to_owned(), way.name())).or_default();
        match verdict {
            Verdict::Same => cell.same += 1,
            Verdict::Other => cell.other += 1,
            Verdict::Skipped => cell.skipped += 1,
        }
    }
}

const COLUMNS: [Way; 5] = [
    Way::Adopt,
    Way::Own,
    Way::TakeOver,
    Way::Off,
    Way::OffUnregistered,
];

impl Display for Table {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        let names = COLUMNS.map(Way::name).join(" | ");
        writeln!(out, "| program | {names} |")?;
        writeln!(out, "|---|{}", "---|".repeat(COLUMNS.len()))?;
        for row in &self.rows {
            write!(out, "| {row} |")?;
            for way in COLUMNS {
                match self.cells.get(&(row.clone(), way.name())) {
                    Some(cell) => write!(out, " {cell} |")?,
                    None => write!(out, " |")?,
                }
            }
            writeln!(out)?;
        }
        Ok(())
    }
}

impl Display for Cell {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        match (self.same, self.other, self.skipped) {
            (1, 0, 0) => write!(out, "same"),
            (same, 0, 0) => write!(out, "{same} same"),
            (0, 0, _) => write!(out, "skips"),
            (same, 0, skipped) => write!(out, "{same} same, {skipped} skip"),
            (same, other, _) => write!(out, "**{other} of {} not**", same + other),
        }
    }
}
