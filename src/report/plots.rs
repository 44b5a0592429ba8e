//! The plots of a benchmark, from what was recorded.

use super::Page;
use super::axis::{Axis, percentile_at};
use super::chart::{Cell, Chart, Line};
use super::colours::{LINES, SHADES};
use crate::stats::{Latency, Phase, ROWS_PER_DECADE, Stage, units};

/// A plot, or why there is none.
pub struct Plot {
    /// For file names and anchors.
    pub name: &'static str,
    pub title: &'static str,
    /// What is to be seen.
    pub caption: String,
    pub chart: Option<Chart>,
}

const POINTS_MAX: usize = 300;
const MB: f64 = 1e6;

pub fn plots(page: &Page<'_>) -> Vec<Plot> {
    vec![throughput(page), stages(page), heat(page), catching_up(page), cpu_per_gb(page)]
}

fn throughput(page: &Page<'_>) -> Plot {
    let samples = page.timeline.samples();
    let span_us = samples.last().map_or(0, |last| last.at_us);
    let rates = page.timeline.rates((span_us / POINTS_MAX as u64).max(50_000));
    let line = |name: &str, colour, rate: fn(&(u64, f64, f64)) -> f64| Line {
        name: name.into(),
        colour,
        points: rates.iter().map(|point| (seconds(point.0), rate(point) / MB)).collect(),
        has_dots: false,
    };
    // What is sent at once goes in much faster than anything comes out.
    let max_of = |rate: fn(&(u64, f64, f64)) -> f64| rates.iter().map(rate).fold(0.0, f64::max);
    let max = max_of(|point| point.1).min(1.2 * max_of(|point| point.2)).max(1.0);
    let chart = Chart {
        x: Axis::linear("seconds since the start", 0.0, seconds(span_us), 10),
        y: Axis::from_zero("MB/s", max / MB, 6),
        lines: vec![
            line("sent into the source", LINES[1], |point| point.1),
            line("arrived on the target", LINES[0], |point| point.2),
        ],
        spans: spans(page.phases),
        ..Chart::default()
    };
    Plot {
        name: "throughput",
        title: "Throughput over time",
        caption: "Record batches, headers included; 1 MB is 1,000,000 bytes. What is put into the source at once (a backlog, \
                  the first of what may be under way at full speed) goes beyond the axis and is drawn at its end."
            .into(),
        chart: (!rates.is_empty()).then_some(chart),
    }
}

fn stages(page: &Page<'_>) -> Plot {
    let known: Vec<(Stage, &Latency)> = Stage::ALL
        .into_iter()
        .map(|stage| (stage, page.stages.of(stage)))
        .filter(|(_, latency)| latency.count() > 0)
        .collect();
    let count = known.iter().map(|(_, latency)| latency.count()).max().unwrap_or(0);
    let max_us = known.iter().map(|(_, latency)| latency.max_us()).max().unwrap_or(0);
    // What takes less than 10 µs is nothing.
    let min_us = known.iter().map(|(_, latency)| latency.at_us(0.5)).min().unwrap_or(0).max(10);
    let x = Axis::percentiles(count);
    let y = Axis::log_us("latency (logarithmic)", min_us, max_us);
    let lines = known.iter().map(|(stage, latency)| Line {
        name: stage.words().into(),
        colour: LINES[*stage as usize],
        points: curve(latency, x.to),
        has_dots: false,
    });
    let part = page.report.stages.as_ref().map_or("", |run| run.part);
    let chart = Chart { lines: lines.collect(), x, y, ..Chart::default() };
    Plot {
        name: "latency-by-stage",
        title: "Latency by stage",
        caption: format!(
            "Of {} batches at {part}. A point says: so many percent of the batches took no longer. The further right, the rarer: \
             each step of the axis is a tenth of the batches that were left.",
            units::count(count)
        ),
        chart: (count > 0).then_some(chart),
    }
}

/// Percentiles against decimal logarithms of µs.
fn curve(latency: &Latency, to: f64) -> Vec<(f64, f64)> {
    let log = |us: u64| (us.max(1) as f64).log10();
    let mut points = vec![(0.0, log(latency.at_us(0.0)))];
    for step in latency.histogram().iter_quantiles(5) {
        let at = percentile_at(step.quantile_iterated_to(), to);
        points.push((at, log(step.value_iterated_to().min(latency.max_us()))));
    }
    points.push((to, log(latency.max_us())));
    points
}

fn heat(page: &Page<'_>) -> Plot {
    let max = page.heat.max();
    let row = |row: usize| row as f64 / ROWS_PER_DECADE as f64;
    let column = |column: usize| seconds(column as u64 * page.heat.column_us());
    let rows = || page.heat.cells().map(|(_, row, _)| row);
    let (lowest, highest) = (rows().min().unwrap_or(0), rows().max().unwrap_or(0));
    let shade = |count: u32| {
        let share = f64::from(count).ln() / f64::from(max.max(2)).ln();
        ((share * SHADES.len() as f64) as usize).min(SHADES.len() - 1)
    };
    let end_s = page.heat.cells().map(|(at, ..)| column(at + 1)).fold(0.0, f64::max);
    let us = |row: f64| 10f64.powf(row) as u64;
    let chart = Chart {
        x: Axis::linear("seconds since the start", 0.0, end_s, 10),
        y: Axis::log_us("latency (logarithmic)", us(row(lowest)) + 1, us(row(highest + 1))),
        cells: page
            .heat
            .cells()
            .map(|(at, of, count)| Cell {
                from: (column(at), row(of)),
                to: (column(at + 1), row(of + 1)),
                shade: shade(count),
            })
            .collect(),
        shades: Some(("1 batch".into(), format!("{} batches", units::count(u64::from(max))))),
        spans: spans(page.phases),
        ..Chart::default()
    };
    Plot {
        name: "latency-heat-map",
        title: "Latency over time",
        caption: format!(
            "How many batches arrived in each {}, by their latency (from the intended send at an even rate, from the actual send \
             otherwise); the shades are logarithmic. At full speed the latency is that of the batches waiting in line.",
            units::us(page.heat.column_us())
        ),
        chart: (max > 0).then_some(chart),
    }
}

fn catching_up(page: &Page<'_>) -> Plot {
    let phase = page.phases.iter().find(|phase| phase.name == Phase::CATCH_UP).copied();
    let chart = phase.and_then(|phase| {
        let within = page.timeline.samples().iter();
        let within = within.filter(|at| (phase.begin_us..=phase.end_us).contains(&at.at_us));
        let mut points: Vec<(f64, f64)> = within
            .map(|sample| (seconds(sample.at_us - phase.begin_us), sample.lag_bytes() as f64 / MB))
            .collect();
        if page.report.catch_up.is_some() {
            points.push((seconds(phase.end_us - phase.begin_us), 0.0));
        }
        let end_s = points.last()?.0;
        let max = points.iter().map(|(_, lag)| *lag).fold(0.0, f64::max);
        let every = points.len().div_ceil(POINTS_MAX);
        let last = points.len() - 1;
        let kept = points.iter().enumerate().filter(|(at, _)| at % every == 0 || *at == last);
        Some(Chart {
            x: Axis::linear("seconds since the mirror was started", 0.0, end_s, 10),
            y: Axis::from_zero("MB behind", max, 6),
            lines: vec![Line {
                name: "behind".into(),
                colour: LINES[0],
                points: kept.map(|(_, point)| *point).collect(),
                has_dots: false,
            }],
            ..Chart::default()
        })
    });
    let caption = match phase {
        Some(_) => {
            "The backlog was in the source before the mirror was started. The first stretch is the start itself: finding \
                    the clusters, making the topic, taking the link's lock."
        }
        None => {
            "Left out: no backlog was put into the source before the mirror was started. --backlog SIZE does that."
        }
    };
    Plot { name: "catching-up", title: "Lag while catching up", caption: caption.into(), chart }
}

fn cpu_per_gb(page: &Page<'_>) -> Plot {
    let sweep = &page.report.sweep;
    let log2 = |bytes: usize| (bytes.max(1) as f64).log2();
    let mut points: Vec<(f64, f64, usize)> = sweep
        .iter()
        .map(|point| (log2(point.batch_bytes), point.throughput.mirror_cpu_seconds_per_gb, point.batch_bytes))
        .collect();
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    let max = points.iter().map(|point| point.1).fold(0.0, f64::max);
    let ends = points.first().zip(points.last()).map(|(first, last)| (first.0 - 0.5, last.0 + 0.5));
    let chart = ends.map(|(from, to)| Chart {
        x: Axis {
            label: "size of a batch before compression (logarithmic)".into(),
            from,
            to,
            ticks: points.iter().map(|(at, _, bytes)| (*at, size(*bytes))).collect(),
            light: Vec::new(),
        },
        y: Axis::from_zero("CPU-seconds per GB", max, 6),
        lines: vec![Line {
            name: "cost".into(),
            colour: LINES[0],
            points: points.iter().map(|(at, cost, _)| (*at, *cost)).collect(),
            has_dots: true,
        }],
        ..Chart::default()
    });
    let caption = match chart {
        Some(_) => {
            "Of the mirror's own threads, user and system, for 1,000,000,000 bytes of batches at full speed."
        }
        None => {
            "Left out: one run has one size of batches. --sweep 4KiB,16KiB,64KiB,256KiB,1MiB repeats the part at full speed \
                 for each of these."
        }
    };
    Plot { name: "cpu-per-gb", title: "CPU per GB against batch size", caption: caption.into(), chart }
}

fn spans(phases: &[Phase]) -> Vec<(f64, f64, String)> {
    phases
        .iter()
        .map(|phase| (seconds(phase.begin_us), seconds(phase.end_us), phase.name.to_owned()))
        .collect()
}

fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
}

/// `64 KiB`, without decimals that say nothing.
pub fn size(bytes: usize) -> String {
    units::memory(bytes as u64).replace(".00 ", " ").replace(".0 ", " ")
}
