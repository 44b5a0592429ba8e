//! A benchmark as one page that needs nothing else, and its plots as pictures.
//!
//! [`plots`] turns what was recorded into charts, [`chart`] draws one, [`mod@html`] writes the page around them.

mod axis;
mod chart;
mod colours;
mod html;
mod plots;

pub use html::html;

use crate::load::BenchReport;
use crate::stats::{Heat, Phase, Stages, Timeline, units};

/// Everything that the page shows.
pub struct Page<'a> {
    /// Name and value: command line, machine, commit, ...
    pub facts: &'a [(&'static str, String)],
    pub report: &'a BenchReport,
    pub phases: &'a [Phase],
    pub timeline: &'a Timeline,
    pub heat: &'a Heat,
    pub stages: &'a Stages,
}

/// A plot that stands alone.
pub struct Picture {
    pub file_name: String,
    pub svg: String,
}

/// The plots for which there was something to plot.
pub fn pictures(page: &Page<'_>) -> Result<Vec<Picture>, String> {
    let load = &page.report.load;
    let subtitle = format!(
        "twinlog {}, {} partitions, batches of {}, codec {}{}",
        page.report.mirror.version,
        load.partitions,
        units::memory(load.batch_wire_bytes),
        load.codec,
        if page.report.partial { "; PARTIAL: the run ended early" } else { "" },
    );
    let drawn = plots::plots(page).into_iter().filter_map(|plot| Some((plot.name, plot.title, plot.chart?)));
    drawn
        .map(|(name, title, chart)| {
            Ok(Picture { file_name: format!("{name}.svg"), svg: chart.file(title, &subtitle)? })
        })
        .collect()
}

#[cfg(test)]
mod tests;
