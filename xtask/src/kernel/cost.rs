// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the series costs, in instructions: of a context switch against the stock kernel, and of the
//! prctl.
//!
//! QEMU advances the clock of a machine of one processor by one nanosecond an instruction. So the
//! figures are counts, not times: they do not depend on the host or on what else runs there, and can
//! be tested for. What is counted is described in tests/guest/src/bin/cost.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};

use super::boot::boot;
use super::build::{Kernel, build};
use super::console::complaints;
use super::guest::Guest;
use super::machine::Machine;
use super::plan::{Outcome, Plan};
use super::version::Selection;
use crate::test::tally::Tally;

/// The boots' name.
pub const NAME: &str = "cost";

/// Instructions that a switch may take more than on the stock kernel, by the mode.
const SWITCH: [(&str, f64); 2] = [("off", 4.0), ("on", 14.0)];

/// Instructions of a call, from user space and back.
const PRCTL: f64 = 3000.0;

/// How far the runs of a row may lie apart, in instructions, for the bars to mean something.
const RESOLUTION: f64 = 0.5;

/// Seconds for the program, on a busy host.
const SECONDS: u64 = 300;

/// A row as the guest prints it: the mean of several runs, the least and the greatest.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Count {
    low: f64,
    mean: f64,
    high: f64,
}

type Counts = BTreeMap<String, Count>;

/// A row with its bar.
struct Row {
    name: String,
    value: f64,
    bar: f64,
    explanation: String,
}

/// Boots the stock kernel and the patched one, prints the rows and tallies them.
pub fn test(
    selection: &Selection,
    patched: &Kernel,
    guest: &Guest,
    tally: &mut Tally,
) -> Result<()> {
    let stock = Selection {
        stock: true,
        ..selection.clone()
    };
    let stock = count(&build(&stock)?, guest, "stock")?;
    let patched = count(patched, guest, "patched")?;
    let rows = rows(&stock, &patched)?;
    println!("\n{:<28} {:>8} {:>6}", "instructions", "value", "bar");
    for row in rows {
        let Row {
            name,
            value,
            bar,
            explanation,
        } = &row;
        let verdict = if row.passes() { "ok" } else { "FAIL" };
        println!("{name:<28} {value:>8.2} {bar:>6} {verdict:<4} {explanation}");
        if row.passes() {
            tally.passed();
        } else {
            tally.failed(format!("{selection} {NAME}: {name}: {value} above {bar}"));
        }
    }
    Ok(())
}

fn count(kernel: &Kernel, guest: &Guest, which: &str) -> Result<Counts> {
    let plan = format!("{NAME} {SECONDS} VCPU_RT_GS=off /bin/cost {which}\n");
    let plan = Plan::parse(&plan)?;
    let machine = Machine {
        smp: 1,
        memory: 512,
        cpu: "max".into(),
        preempt: Some("full".into()),
        append: Vec::new(),
        qemu: Vec::new(),
        in_turn: false,
        icount: true,
        timeout: 2 * SECONDS,
        silence: 2 * SECONDS,
    };
    let boot = boot(kernel, &machine, &guest.initramfs(kernel, &plan, 1)?)?;
    for (_, outcome) in plan.outcomes(&boot.console) {
        if outcome != Outcome::Passed {
            bail!("the guest of the {which} kernel: {outcome:?}");
        }
    }
    if let Some(complaint) = complaints(&boot.console).into_iter().next() {
        bail!("the {which} kernel says {complaint}");
    }
    parse(&boot.console)
}

/// The lines `cost NAME LOW MEAN HIGH` of a console.
fn parse(console: &str) -> Result<Counts> {
    let lines = console
        .lines()
        .filter_map(|line| line.strip_prefix("cost "));
    let row = |line: &str| {
        let (name, numbers) = line.split_once(' ')?;
        let mut numbers = numbers.split(' ').map(|number| number.parse().ok());
        let mut number = || numbers.next().flatten();
        let [low, mean, high] = [number()?, number()?, number()?];
        Some((name.to_owned(), Count { low, mean, high }))
    };
    lines
        .map(|line| row(line).with_context(|| format!("no row: {line}")))
        .collect()
}

/// All rows that must be there.
fn rows(stock: &Counts, patched: &Counts) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for between in ["threads", "processes"] {
        let name = format!("switch-{between}-off");
        let stock = get(stock, &name)?.mean;
        for (mode, bar) in SWITCH {
            let name = format!("switch-{between}-{mode}");
            let patched = get(patched, &name)?.mean;
            rows.push(Row {
                name,
                value: patched - stock,
                bar,
                explanation: format!("{patched:.2} - {stock:.2}"),
            });
        }
    }
    let calls: Vec<_> = patched
        .iter()
        .filter(|(name, _)| name.starts_with("prctl-"))
        .collect();
    if calls.is_empty() {
        bail!("the guest printed no row of the prctl");
    }
    rows.extend(calls.into_iter().map(|(name, count)| Row {
        name: name.clone(),
        value: count.high,
        bar: PRCTL,
        explanation: String::new(),
    }));
    let spreads = stock.values().chain(patched.values());
    rows.push(Row {
        name: "widest A/A interval".into(),
        value: spreads.map(Count::spread).fold(0.0, f64::max),
        bar: RESOLUTION,
        explanation: "of a row, over its runs".into(),
    });
    Ok(rows)
}

fn get<'a>(counts: &'a Counts, name: &str) -> Result<&'a Count> {
    counts
        .get(name)
        .with_context(|| format!("the guest printed no row {name}"))
}

impl Count {
    fn spread(&self) -> f64 {
        self.high - self.low
    }
}

impl Row {
    fn passes(&self) -> bool {
        self.value <= self.bar
    }
}

#[cfg(test)]
mod tests {
    use super::{parse, rows};

    const STOCK: &str = "== cost\ncost switch-threads-off 5281.50 5281.50 5281.50\n\
                         cost switch-processes-off 5300.00 5300.00 5300.00\n-- cost: passed\n";

    /// The names of the rows above their bars.
    fn failed(patched: &str) -> Vec<String> {
        let rows = rows(&parse(STOCK).unwrap(), &parse(patched).unwrap()).unwrap();
        let failed = rows.into_iter().filter(|row| !row.passes());
        failed.map(|row| row.name).collect()
    }

    fn patched(off: f64, on: f64, get: &str) -> String {
        format!(
            "cost switch-threads-off {off} {off} {off}\ncost switch-threads-on {on} {on} {on}\n\
             cost switch-processes-off 5304 5304 5304\ncost switch-processes-on 5314 5314 5314\n\
             cost prctl-get {get}\n"
        )
    }

    #[test]
    fn each_bar_is_met_or_not() {
        let met = patched(5285.5, 5295.5, "300 300 300");
        assert!(failed(&met).is_empty());
        let off = patched(5286.0, 5295.5, "300 300 300");
        assert_eq!(failed(&off), ["switch-threads-off"]);
        let on = patched(5285.5, 5296.0, "3001 3001 3001");
        assert_eq!(failed(&on), ["switch-threads-on", "prctl-get"]);
        let wide = patched(5285.5, 5295.5, "300 300.1 301");
        assert_eq!(failed(&wide), ["widest A/A interval"]);
    }

    #[test]
    fn a_row_that_is_missing_is_an_error() {
        let stock = parse(STOCK).unwrap();
        assert!(rows(&stock, &stock).is_err());
        assert!(parse("cost a 1 2\n").is_err());
        assert!(parse("cost a 1 2 x\n").is_err());
    }
}
