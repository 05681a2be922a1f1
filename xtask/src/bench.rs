// SPDX-License-Identifier: MIT OR Apache-2.0
//! `cargo xtask bench`: each row measured, printed beside its bar, and judged.
//!
//! A ratio fails when it is above its bar times the upper end of its A/A interval; a count or a
//! number of bytes has no such interval and fails above the bar. Lower is always better.

mod aligned;
mod data;
mod disassembly;
mod exec;
mod hosted;
mod increment;
mod process;
mod reference;
mod size;
mod startup;
mod statistics;
mod subject;
mod threads;

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use serde_json::{Value, json};

pub use self::data::data;
pub use self::hosted::hosted;
use self::statistics::Ratio;

/// One measured row.
pub struct Row {
    name: &'static str,
    value: f64,
    unit: &'static str,
    /// The A/A interval; `None` for what is counted, not timed.
    interval: Option<(f64, f64)>,
    bar: f64,
}

impl Row {
    fn ratio(name: &'static str, ratio: &Ratio, bar: f64) -> Self {
        let interval = Some((ratio.aa_low, ratio.aa_high));
        Self {
            name,
            value: ratio.value,
            unit: "ratio",
            interval,
            bar,
        }
    }

    fn count(name: &'static str, value: u64, unit: &'static str, bar: u32) -> Self {
        Self {
            name,
            value: value as f64,
            unit,
            interval: None,
            bar: f64::from(bar),
        }
    }

    fn passes(&self) -> bool {
        self.value <= self.bar * self.interval.map_or(1.0, |(_, high)| high)
    }

    fn json(&self) -> Value {
        // A count is written as the integer that it is.
        let value = if self.interval.is_some() {
            json!(self.value)
        } else {
            json!(self.value as u64)
        };
        json!({
            "name": self.name,
            "value": value,
            "unit": self.unit,
            "aa_low": self.interval.map(|(low, _)| low),
            "aa_high": self.interval.map(|(_, high)| high),
        })
    }
}

/// The rows of the first part of the project.
pub fn foundation(json: Option<&Path>) -> Result<ExitCode> {
    println!("{}", machine()?);
    process::pin_to_one_cpu()?;
    let mut rows = Vec::new();
    rows.extend(exec::rows()?);
    rows.push(startup::row()?);
    rows.extend(size::rows()?);
    rows.extend(threads::rows()?);
    rows.push(disassembly::mm_cid_row()?);
    rows.push(increment::row()?);
    finish(&rows, json)
}

/// Prints the rows, writes them where `json` says, and judges.
fn finish(rows: &[Row], json: Option<&Path>) -> Result<ExitCode> {
    print(rows);
    if let Some(path) = json {
        let list = Value::Array(rows.iter().map(Row::json).collect());
        let text = format!("{list:#}\n");
        fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(if rows.iter().all(Row::passes) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// What the figures belong to, and how busy the machine was: other work widens the intervals.
fn machine() -> Result<String> {
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let load = fs::read_to_string("/proc/loadavg")?;
    let load = load.split(' ').next().unwrap_or_default();
    let processors = fs::read_to_string("/proc/cpuinfo")?;
    let models = processors
        .lines()
        .filter_map(|line| line.strip_prefix("model name"));
    let models: Vec<&str> = models
        .map(|model| model.trim_start_matches([' ', '\t', ':']))
        .collect();
    let (count, model) = (models.len(), models.first().unwrap_or(&"an unnamed CPU"));
    let kernel = kernel.trim_end();
    Ok(format!(
        "{count} x {model}, Linux {kernel}, load average {load}"
    ))
}

fn print(rows: &[Row]) {
    println!();
    println!(
        "{:<27} {:>9} {:<12} {:>7} {:>7} {:>9}  verdict",
        "name", "value", "unit", "aa_low", "aa_high", "bar"
    );
    for row in rows {
        let decimals = if row.interval.is_some() { 3 } else { 0 };
        let (low, high) = row
            .interval
            .map_or(("-".into(), "-".into()), |(low, high)| {
                (format!("{low:.3}"), format!("{high:.3}"))
            });
        let verdict = if row.passes() { "ok" } else { "FAILED" };
        let Row {
            name,
            value,
            unit,
            bar,
            ..
        } = row;
        println!(
            "{name:<27} {value:>9.decimals$} {unit:<12} {low:>7} {high:>7} {bar:>9}  {verdict}"
        );
    }
}
