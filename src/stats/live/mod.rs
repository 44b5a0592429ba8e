//! The link as a person watches it: a few figures, what they were in the last hour, and a cell for each partition. It is small,
//! however many partitions there are, and is asked for every second.

mod cells;
mod history;
mod lanes;
mod limiter;

pub use cells::{Cell, cells};
pub use history::{Column, History};
pub use lanes::{LaneLine, LaneList, Order, list, one};

use super::{Counters, LaneCounts, Meter, Noted, Rates, Watch};
use crate::time::Now;
use history::Recent;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// Over so many looks it is judged what the limit is.
const JUDGED_LOOKS: usize = 5;

/// What [`Live`] says at one moment. Programs read it, too: `twinlog top` does.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LiveLook {
    pub version: String,
    pub link: String,
    pub source_cluster: String,
    pub target_cluster: String,
    pub at_ms: i64,
    /// Since the start.
    pub elapsed_ms: u64,
    /// Since control last said how the link is.
    pub silent_ms: u64,
    pub bytes_per_second: f64,
    pub records_per_second: f64,
    /// Until nothing is behind, if it goes on like this.
    pub eta_ms: Option<u64>,
    /// CPU time for each second, all cores together, and of the busiest.
    pub busy_cores: f64,
    pub busiest_core: f64,
    pub cores: usize,
    pub buffered_bytes: u64,
    pub buffer_bytes: u64,
    pub max_rate_bytes: Option<u64>,
    /// None until they are known.
    pub lag_records: Option<u64>,
    pub lag_bytes: Option<u64>,
    pub lag_ms: Option<u64>,
    /// What keeps it from being faster, as far as can be told.
    pub limiter: Option<String>,
    pub lanes: LaneCounts,
    /// Of very many only the first.
    pub sick: Vec<LaneLine>,
    pub sick_count: usize,
    /// What else is not as it should be.
    pub problems: Vec<String>,
    /// One for each partition, by topic and number: see [`Cell`].
    pub cells: String,
    pub history: History,
    /// The newest last.
    pub events: Vec<Noted>,
}

/// Remembers what a look alone does not show.
#[derive(Debug, Default)]
pub struct Live {
    meter: Meter,
    rates: Rates,
    recent: Recent,
    /// Moment (µs since the start), and what each shard had done by then.
    looks: VecDeque<(u64, Vec<Counters>)>,
}

impl Live {
    /// There is a new look, about once a second.
    pub fn note(&mut self, watch: &Watch) {
        let report = &watch.report;
        if self.looks.back().is_some_and(|(elapsed_us, _)| *elapsed_us > report.elapsed_us) {
            // The session began anew, and with it all counters.
            self.meter = Meter::default();
            self.looks.clear();
        }
        self.rates = self.meter.rates(report);
        self.recent
            .note(watch, self.looks.back().map(|(elapsed_us, shards)| (*elapsed_us, shards.as_slice())));
        self.looks.push_back((report.elapsed_us, report.shards.clone()));
        if self.looks.len() > JUDGED_LOOKS {
            self.looks.pop_front();
        }
    }

    pub fn look(&self, watch: &Watch, now: Now, events: Vec<Noted>) -> LiveLook {
        let report = &watch.report;
        let busy = self.busy();
        let limits = watch.limits;
        let (sick, sick_count) = lanes::sick(watch, now);
        LiveLook {
            version: watch.version.into(),
            link: watch.link.clone(),
            source_cluster: watch.source_cluster.clone(),
            target_cluster: watch.target_cluster.clone(),
            at_ms: watch.at.wall_ms,
            elapsed_ms: report.elapsed_us / 1_000,
            silent_ms: watch.silent_ms(now),
            bytes_per_second: self.rates.bytes_per_second.round(),
            records_per_second: self.rates.records_per_second.round(),
            eta_ms: self.rates.eta.map(|eta| u64::try_from(eta.as_millis()).unwrap_or(u64::MAX)),
            busy_cores: rounded(busy.iter().sum()),
            busiest_core: rounded(busy.iter().copied().fold(0.0, f64::max)),
            cores: report.shards.len(),
            buffered_bytes: report.totals.buffered_bytes,
            buffer_bytes: limits.buffer_bytes,
            max_rate_bytes: limits.bytes_per_second,
            lag_records: report.lag.map(|lag| lag.records),
            lag_bytes: report.lag.and_then(|lag| lag.bytes),
            lag_ms: report.lag.and_then(|lag| lag.ms),
            limiter: limiter::limiter(watch, &busy, self.rates.bytes_per_second, self.throttled()),
            // Who was caught up once may not be any more.
            lanes: LaneCounts { caught_up: cells::caught_up(watch), ..report.lanes },
            sick,
            sick_count,
            problems: watch.other_problems(now).collect(),
            cells: cells(watch),
            history: self.recent.history(),
            events,
        }
    }

    /// How busy each shard's thread was in the last seconds, of 1.
    fn busy(&self) -> Vec<f64> {
        self.shares(|counters| counters.cpu_us)
    }

    /// For how much of the time brokers said that they throttled us.
    fn throttled(&self) -> f64 {
        self.shares(|counters| counters.throttled_ms * 1_000).into_iter().fold(0.0, f64::max)
    }

    fn shares(&self, of: fn(&Counters) -> u64) -> Vec<f64> {
        let (Some((from_us, before)), Some((to_us, after))) = (self.looks.front(), self.looks.back()) else {
            return Vec::new();
        };
        let us = to_us.saturating_sub(*from_us).max(1) as f64;
        before
            .iter()
            .zip(after)
            .map(|(before, after)| of(after).saturating_sub(of(before)) as f64 / us)
            .collect()
    }
}

/// Three digits behind the point are plenty.
fn rounded(share: f64) -> f64 {
    (share * 1e3).round() / 1e3
}

#[cfg(test)]
mod tests;
