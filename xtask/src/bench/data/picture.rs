// SPDX-License-Identifier: MIT OR Apache-2.0
//! The thread-scaling picture.

use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::prelude::*;

use super::scaling::Curve;

const SIZE: (u32, u32) = (960, 600);

/// A palette that the colour-blind can tell apart (Okabe and Ito).
const COLORS: [RGBColor; 5] = [
    RGBColor(0, 0, 0),
    RGBColor(0, 114, 178),
    RGBColor(0, 158, 115),
    RGBColor(230, 159, 0),
    RGBColor(213, 94, 0),
];

/// Writes the curves as SVG; both axes are logarithmic.
pub fn draw(path: &Path, curves: &[Curve], machine: &str) -> Result<()> {
    try_draw(path, curves, machine).map_err(|error| anyhow!("{}: {error}", path.display()))
}

type Drawn = Result<(), Box<dyn std::error::Error>>;

fn try_draw(path: &Path, curves: &[Curve], machine: &str) -> Drawn {
    let points = || curves.iter().flat_map(|curve| &curve.points);
    let (mut lowest, mut highest) = (f64::MAX, 0.0_f64);
    for &(_, millions) in points() {
        (lowest, highest) = (lowest.min(millions), highest.max(millions));
    }
    let most = points().map(|&(threads, _)| threads).max().unwrap_or(1);
    let area = SVGBackend::new(path, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let area = area.titled("Increments of counters by many threads", ("sans-serif", 24))?;
    let area = area.titled(machine, ("sans-serif", 14))?;
    // The legend stands above the lines, in the room that the upper limit leaves.
    let mut chart = ChartBuilder::on(&area)
        .margin(12)
        .x_label_area_size(48)
        .y_label_area_size(80)
        .build_cartesian_2d(
            0.0..f64::from(most.ilog2()),
            (lowest / 1.5..highest * 12.0).log_scale(),
        )?;
    chart
        .configure_mesh()
        .x_desc("threads")
        .x_labels(most.ilog2() as usize + 1)
        .x_label_formatter(&|exponent| format!("{:.0}", exponent.exp2()))
        .y_desc("million increments per second, all threads together")
        .y_label_formatter(&|millions| format!("{millions:.0}"))
        .axis_desc_style(("sans-serif", 16))
        .label_style(("sans-serif", 14))
        .light_line_style(WHITE)
        .draw()?;
    for (curve, color) in curves.iter().zip(COLORS) {
        let style = color.stroke_width(2);
        let place = |&(threads, millions): &(u32, f64)| (f64::from(threads).log2(), millions);
        chart
            .draw_series(LineSeries::new(curve.points.iter().map(place), style))?
            .label(curve.label)
            .legend(move |(x, y)| {
                EmptyElement::at((x, y))
                    + PathElement::new([(0, 0), (24, 0)], style)
                    + Circle::new((12, 0), 4, color.filled())
            });
        let points = curve.points.iter().map(place);
        chart.draw_series(points.map(|point| Circle::new(point, 4, color.filled())))?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .legend_area_size(34)
        .label_font(("sans-serif", 15))
        .background_style(WHITE)
        .border_style(BLACK.mix(0.3))
        .draw()?;
    area.present()?;
    Ok(())
}
