//! The samples of a long run: as a table for machines, as a picture, and what they rise by.

use std::fmt::Write as _;
use std::path::Path;

use plotters::prelude::*;

use crate::vitals::Vitals;

/// One look from outside.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// Seconds since the run began, and since this daemon's start.
    pub at: f64,
    pub age: f64,
    pub life: u32,
    pub vitals: Vitals,
    pub history: u64,
    pub ahead: u64,
    /// Packets a second into and out of the gateway since the last look.
    pub inward: f64,
    pub outward: f64,
    pub ring_lost: u64,
    pub in_kernel: usize,
}

/// Least squares: how much `y` rises with `x`.
pub fn slope(points: &[(f64, f64)]) -> f64 {
    let count = points.len() as f64;
    let (x, y) = points.iter().fold((0.0, 0.0), |(x, y), point| (x + point.0 / count, y + point.1 / count));
    let along: f64 = points.iter().map(|point| (point.0 - x) * (point.1 - y)).sum();
    let across: f64 = points.iter().map(|point| (point.0 - x).powi(2)).sum();
    if across > 0.0 { along / across } else { 0.0 }
}

/// The samples as comma-separated values, under a line of names.
pub fn csv(samples: &[Sample]) -> String {
    let mut text = "seconds,life,age_seconds,resident_bytes,descriptors,threads,cpu_ticks,history_bytes,wal_bytes,\
                    packets_in_per_second,packets_out_per_second,ring_lost,in_kernel\n"
        .to_owned();
    for sample in samples {
        let Sample { at, age, life, vitals, history, ahead, inward, outward, ring_lost, in_kernel } = sample;
        let Vitals { resident, descriptors, threads, ticks } = vitals;
        writeln!(
            text,
            "{at:.1},{life},{age:.1},{resident},{descriptors},{threads},{ticks},{history},{ahead},{inward:.0},\
             {outward:.0},{ring_lost},{in_kernel}"
        )
        .unwrap();
    }
    text
}

/// A panel's title, and what it shows of a sample.
type Curve = (&'static str, fn(&Sample) -> f64);

/// Draws memory, packets and files over time into an SVG file.
pub fn draw(samples: &[Sample], path: &Path) {
    let area = SVGBackend::new(path, (960, 720)).into_drawing_area();
    area.fill(&WHITE).unwrap();
    let last = samples.last().map_or(1.0, |sample| sample.at) / 60.0;
    let curves: [Curve; 3] = [
        ("resident memory of the daemon, MB", |sample| sample.vitals.resident as f64 / 1e6),
        ("packets a second into the gateway", |sample| sample.inward),
        ("history and its log, MB", |sample| (sample.history + sample.ahead) as f64 / 1e6),
    ];
    for (panel, (title, value)) in area.split_evenly((curves.len(), 1)).iter().zip(curves) {
        let most = samples.iter().map(value).fold(0.1, f64::max) * 1.1;
        let mut chart = ChartBuilder::on(panel)
            .caption(title, ("sans-serif", 16))
            .margin(8)
            .x_label_area_size(44)
            .y_label_area_size(64)
            .build_cartesian_2d(0.0..last, 0.0..most)
            .unwrap();
        chart.configure_mesh().x_desc("minutes").draw().unwrap();
        // A line for each of the daemon's lives.
        for life in 0..=samples.last().map_or(0, |sample| sample.life) {
            let points = samples.iter().filter(|sample| sample.life == life).map(|s| (s.at / 60.0, value(s)));
            chart.draw_series(LineSeries::new(points, RGBColor(0, 110, 60).stroke_width(2))).unwrap();
        }
    }
    area.present().unwrap();
}
