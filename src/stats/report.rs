//! How a running mirror is doing, and the lines that say so.

use super::{StageBuckets, units};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::ops::AddAssign;
use std::time::Duration;

/// What one shard, or all of them together, have done since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counters {
    /// Batches that the target has acknowledged.
    pub batches: u64,
    /// Records in them.
    pub records: u64,
    /// Their size on the wire, headers included.
    pub bytes: u64,
    /// Batches that were read and not mirrored: control batches, or already on the target.
    pub batches_skipped: u64,
    /// Batches that were taken apart, because the target would have refused them as they were.
    pub batches_rebuilt: u64,
    /// Records that transforms changed, dropped, or could not handle, whatever became of those. What is read again counts again.
    pub records_changed: u64,
    pub records_dropped: u64,
    pub records_failed: u64,
    /// Records, or whole batches, that went to the dead letters.
    pub dead_letters: u64,
    /// Offsets that were filled with control records.
    pub offsets_filled: u64,
    /// Of `batches`: sent without entering user space.
    pub batches_spliced: u64,
    /// Bytes that were read from other replicas than the leaders, mirrored or not.
    pub replica_bytes: u64,
    pub fetch_requests: u64,
    pub produce_requests: u64,
    /// Times that lanes had to ask the target for their position.
    pub questions: u64,
    pub connections_lost: u64,
    /// Milliseconds for which brokers said they throttled us (quotas).
    pub throttled_ms: u64,
    /// Payload bytes held at this moment.
    pub buffered_bytes: u64,
    /// CPU time of the shard's thread, user and system, in µs.
    pub cpu_us: u64,
}

impl AddAssign for Counters {
    fn add_assign(&mut self, other: Self) {
        self.batches += other.batches;
        self.records += other.records;
        self.bytes += other.bytes;
        self.batches_skipped += other.batches_skipped;
        self.batches_rebuilt += other.batches_rebuilt;
        self.records_changed += other.records_changed;
        self.records_dropped += other.records_dropped;
        self.records_failed += other.records_failed;
        self.dead_letters += other.dead_letters;
        self.offsets_filled += other.offsets_filled;
        self.batches_spliced += other.batches_spliced;
        self.replica_bytes += other.replica_bytes;
        self.fetch_requests += other.fetch_requests;
        self.produce_requests += other.produce_requests;
        self.questions += other.questions;
        self.connections_lost += other.connections_lost;
        self.throttled_ms += other.throttled_ms;
        self.buffered_bytes += other.buffered_bytes;
        self.cpu_us += other.cpu_us;
    }
}

/// How many lanes are in which state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaneCounts {
    /// All lanes of the link, stopped ones included.
    pub total: usize,
    /// Lanes that have everything their source partition held when last looked at.
    pub caught_up: usize,
    /// Lanes that stand still for good.
    pub stopped: usize,
    /// Lanes that are not read for now, because somebody wished so.
    pub paused: usize,
}

/// How far the target is behind the source, all lanes together that are not paused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Lag {
    /// Offsets between the lanes' positions and the source's high watermarks.
    pub records: u64,
    /// The same in bytes, estimated by the mean size of the records mirrored so far; None before there are any.
    pub bytes: Option<u64>,
    /// Age of the oldest lane's newest mirrored record if it is behind, in ms; 0 when all are caught up.
    pub ms: Option<u64>,
}

impl Lag {
    fn line(&self, eta: Option<Duration>) -> String {
        if self.records == 0 {
            return "nothing behind".into();
        }
        let mut line = format!("behind: {} records", units::count(self.records));
        if let Some(bytes) = self.bytes {
            line += &format!(", ~{}", units::bytes(bytes));
        }
        if let Some(ms) = self.ms {
            line += &format!(", {}", units::us(ms.saturating_mul(1000)));
        }
        if let Some(eta) = eta {
            line += &format!(" | caught up in {}", units::duration(eta));
        }
        line
    }
}

/// A look at a running mirror.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Since the mirror was started.
    pub elapsed_us: u64,
    pub totals: Counters,
    /// One entry for each shard; `totals` is their sum.
    pub shards: Vec<Counters>,
    pub lanes: LaneCounts,
    /// None until both ends of every lane are known.
    pub lag: Option<Lag>,
    /// How long batches took by stage, if that is counted: while somebody may look.
    #[serde(skip)]
    pub stages: StageBuckets,
}

/// Turns successive reports into rates over the last few seconds.
#[derive(Debug, Default)]
pub struct Meter {
    /// Moment (µs since the start), bytes, records, lag in records.
    recent: VecDeque<(u64, u64, u64, Option<u64>)>,
}

/// How long the window is over which rates are taken.
const WINDOW_US: u64 = 5_000_000;

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rates {
    pub bytes_per_second: f64,
    pub records_per_second: f64,
    /// Until the lag is gone, if it goes on shrinking as it does. None when nothing shrinks or nothing is left.
    pub eta: Option<Duration>,
}

impl Meter {
    pub fn rates(&mut self, report: &Report) -> Rates {
        let lag = report.lag.map(|lag| lag.records);
        let now = (report.elapsed_us, report.totals.bytes, report.totals.records, lag);
        self.recent.push_back(now);
        while self.recent.len() > 2 && self.recent.get(1).is_some_and(|old| old.0 + WINDOW_US <= now.0) {
            self.recent.pop_front();
        }
        let first = self.recent.front().copied().unwrap_or(now);
        let seconds = now.0.saturating_sub(first.0) as f64 / 1e6;
        if seconds == 0.0 {
            return Rates::default();
        }
        let shrinking = first.3.zip(now.3).map(|(before, after)| (before as f64 - after as f64) / seconds);
        let eta_s = shrinking
            .zip(now.3)
            .filter(|(speed, left)| *speed > 0.0 && *left > 0)
            .map(|(s, left)| left as f64 / s);
        Rates {
            bytes_per_second: now.1.saturating_sub(first.1) as f64 / seconds,
            records_per_second: now.2.saturating_sub(first.2) as f64 / seconds,
            eta: eta_s.filter(|s| *s < 1e8).map(Duration::from_secs_f64),
        }
    }
}

impl Report {
    /// Adds what another part of the same link has done, whose shards have work of their own.
    pub fn add(&mut self, other: &Self) {
        self.totals += other.totals;
        self.stages += &other.stages;
        self.lanes.total += other.lanes.total;
        self.lanes.caught_up += other.lanes.caught_up;
        self.lanes.stopped += other.lanes.stopped;
        self.lanes.paused += other.lanes.paused;
        self.lag = self.lag.zip(other.lag).map(|(one, other)| Lag {
            records: one.records + other.records,
            bytes: one.bytes.zip(other.bytes).map(|(one, other)| one + other).or(one.bytes).or(other.bytes),
            ms: one.ms.max(other.ms),
        });
    }

    /// How it goes: how fast, and how far behind, each short enough for a line of a narrow terminal.
    pub fn lines(&self, rates: Rates) -> (String, String) {
        let mut speed = format!(
            "{} | {} | {} of {} lanes caught up",
            units::byte_rate(rates.bytes_per_second),
            units::rate(rates.records_per_second, "records"),
            units::count(self.lanes.caught_up as u64),
            units::count(self.lanes.total as u64),
        );
        if self.lanes.stopped > 0 {
            speed += &format!(" | {} STOPPED", units::count(self.lanes.stopped as u64));
        }
        if self.lanes.paused > 0 {
            speed += &format!(" | {} paused", units::count(self.lanes.paused as u64));
        }
        let lag = self.lag.map_or_else(|| "lag not known yet".into(), |lag| lag.line(rates.eta));
        (speed, lag)
    }

    /// CPU time of the shards for each 10^9 bytes; None before the first MB, when it says nothing.
    pub fn cpu_seconds_per_gb(&self) -> Option<f64> {
        (self.totals.bytes >= 1_000_000)
            .then(|| self.totals.cpu_us as f64 / 1e6 / (self.totals.bytes as f64 / 1e9))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(second: u64, bytes: u64, lag: u64) -> Report {
        Report {
            elapsed_us: second * 1_000_000,
            totals: Counters { bytes, records: bytes / 1000, cpu_us: bytes / 2000, ..Counters::default() },
            lanes: LaneCounts { total: 8, caught_up: 3, ..LaneCounts::default() },
            lag: Some(Lag { records: lag, bytes: Some(lag * 1000), ms: Some(2500) }),
            ..Report::default()
        }
    }

    #[test]
    fn rates_are_taken_over_the_last_seconds_only() {
        let mut meter = Meter::default();
        assert_eq!(meter.rates(&report(0, 0, 900_000)), Rates::default());
        meter.rates(&report(1, 100_000_000, 900_000));
        for second in 2..=20 {
            meter.rates(&report(second, 100_000_000 + (second - 1) * 10_000_000, 900_000 - second * 10_000));
        }
        let rates = meter.rates(&report(21, 300_000_000, 690_000));
        assert_eq!((rates.bytes_per_second, rates.records_per_second), (10_000_000.0, 10_000.0));
        assert_eq!(rates.eta, Some(Duration::from_secs(69)));
    }

    #[test]
    fn the_lines_say_what_matters() {
        let mut meter = Meter::default();
        meter.rates(&report(0, 0, 2_000_000));
        let last = report(1, 500_000_000, 1_000_000);
        let (speed, lag) = last.lines(meter.rates(&last));
        assert_eq!(speed, "500 MB/s | 500,000 records/s | 3 of 8 lanes caught up");
        assert_eq!(lag, "behind: 1,000,000 records, ~1.00 GB, 2.50 s | caught up in 1.00 s");
        let done = Report {
            lanes: LaneCounts { total: 8, caught_up: 6, stopped: 1, paused: 1 },
            ..report(2, 500_000_000, 0)
        };
        let (speed, lag) = done.lines(Rates::default());
        assert!(speed.contains("6 of 8") && speed.ends_with("1 STOPPED | 1 paused"), "{speed}");
        assert_eq!(lag, "nothing behind");
    }

    #[test]
    fn the_mean_cost_is_known_once_something_was_mirrored() {
        assert_eq!(report(10, 1_000_000_000, 0).cpu_seconds_per_gb(), Some(0.5));
        assert_eq!(Report::default().cpu_seconds_per_gb(), None);
    }
}
