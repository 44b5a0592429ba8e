//! How a run is going: a live line on a terminal, otherwise a log line now and then.

use super::logging;
use crate::config::LogFormat;
use crate::stats::{Meter, Report};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{IsTerminal, stderr};
use std::time::Duration;

/// How often a log line is written where there is no terminal to draw on.
const LOG_EVERY_US: u64 = 10_000_000;

pub struct Progress {
    format: LogFormat,
    display: Option<ProgressBar>,
    meter: Meter,
    next_log_us: u64,
}

impl Progress {
    /// Draws on stderr if that is a terminal and the log is for people; logs otherwise.
    pub fn new(format: LogFormat) -> Self {
        let display = (format == LogFormat::Text && stderr().is_terminal()).then(live_line);
        Self { format, display, meter: Meter::default(), next_log_us: LOG_EVERY_US }
    }

    /// One of several that go side by side: it only logs.
    pub fn logged(format: LogFormat) -> Self {
        Self { format, display: None, meter: Meter::default(), next_log_us: LOG_EVERY_US }
    }

    /// Shows where the mirror stands. To be called about once a second.
    pub fn show(&mut self, report: &Report) {
        let rates = self.meter.rates(report);
        if let Some(display) = &self.display {
            let (speed, lag) = report.lines(rates);
            display.set_message(format!("{speed}\n           {lag}"));
        } else if report.elapsed_us >= self.next_log_us {
            self.next_log_us = report.elapsed_us + LOG_EVERY_US;
            match self.format {
                LogFormat::Text => {
                    let (speed, lag) = report.lines(rates);
                    tracing::info!("{speed} | {lag}");
                }
                LogFormat::Json => tracing::info!(
                    bytes_per_second = rates.bytes_per_second.round(),
                    records_per_second = rates.records_per_second.round(),
                    lanes = report.lanes.total,
                    caught_up = report.lanes.caught_up,
                    stopped = report.lanes.stopped,
                    lag_records = report.lag.map(|lag| lag.records),
                    lag_bytes = report.lag.and_then(|lag| lag.bytes),
                    lag_ms = report.lag.and_then(|lag| lag.ms),
                    seconds_to_go = rates.eta.map(|eta| eta.as_secs()),
                    "mirroring"
                ),
            }
        }
    }

    /// There is a terminal to draw on.
    pub fn is_live(&self) -> bool {
        self.display.is_some()
    }

    /// Announces a new part of the work.
    pub fn begin(&self, what: &str) {
        match &self.display {
            Some(display) => display.set_message(what.to_owned()),
            None => tracing::info!("{what}"),
        }
    }

    /// Says how the present part goes, on a terminal only.
    pub fn update(&self, text: impl FnOnce() -> String) {
        if let Some(display) = &self.display {
            display.set_message(text());
        }
    }

    /// Takes the live line away.
    pub fn finish(self) {
        if let Some(display) = self.display {
            display.finish_and_clear();
        }
    }
}

fn live_line() -> ProgressBar {
    let display = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template("{spinner:.cyan} {elapsed_precise} {msg}");
    display.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
    display.enable_steady_tick(Duration::from_millis(250));
    logging::print_above(&display);
    display
}
