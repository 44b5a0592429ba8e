//! What `twinlog load` found, for people and for programs.

use super::omb::{Heading, OmbResult};
use super::{Measures, Tally};
use crate::stats::{Latency, Percentiles, units};
use serde::Serialize;
use std::fmt;

#[derive(Clone, Debug, Serialize)]
pub struct LoadReport {
    pub version: &'static str,
    /// The load ended before it was over; everything here is of the part before.
    pub partial: bool,
    /// Why it ended early, or what else went wrong.
    pub trouble: Option<String>,
    pub load: LoadSettings,
    /// None at full speed.
    pub offered: Option<Rate>,
    pub achieved: Rate,
    pub seconds: f64,
    pub records: u64,
    pub batches: u64,
    /// Batches as they travelled.
    pub wire_bytes: u64,
    /// Sum of the sizes of the records' values.
    pub value_bytes: u64,
    /// Refused, or on a connection that broke.
    pub failed_records: u64,
    /// Due, and never sent, because the rate was out of reach. In the latency from the intended send they count with the time
    /// that they had waited at the end.
    pub unsent_records: u64,
    pub throttled_ms: u64,
    /// None when there were none.
    pub transactions: Option<TransactionCounts>,
    /// Of the sender's thread.
    pub sender_cpu_seconds: f64,
    /// Acknowledgement of each record, from the moment its batch was meant to be sent.
    pub from_intended: Percentiles,
    /// From the moment it was sent in fact.
    pub from_sent: Percentiles,
    /// From the one moment to the other.
    pub delay: Percentiles,
    /// From the moment it was meant to be sent to the moment that a consumer had it; None when nothing was read back.
    pub end_to_end: Option<Percentiles>,
    /// One for each rate, if there are several.
    pub steps: Vec<Step>,
    /// None when nothing was read back.
    pub checked: Option<ReadBack>,
}

#[derive(Clone, Debug, Serialize)]
pub struct LoadSettings {
    pub topics: Vec<String>,
    pub partitions: u32,
    pub record_bytes: String,
    pub keys: String,
    pub codec: &'static str,
    pub records_per_batch: f64,
    /// Mean size on the wire, header included.
    pub batch_wire_bytes: u64,
    pub acks: i16,
    pub seed: u64,
    /// What batch 0 of every partition is dated; with the seed and the shape, all it takes to check what arrived.
    pub first_timestamp_ms: Option<i64>,
}

/// How transactions ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TransactionCounts {
    pub committed: u64,
    pub aborted: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Rate {
    pub records_per_second: f64,
    pub bytes_per_second: f64,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub struct Step {
    pub offered: Rate,
    pub achieved: Rate,
    pub from_intended: Percentiles,
}

/// What was read back while it was sent.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct ReadBack {
    pub batches_sent: u64,
    /// In batches.
    #[serde(flatten)]
    pub tally: Tally,
}

impl Rate {
    pub fn of(records: u64, bytes: u64, seconds: f64) -> Self {
        let seconds = seconds.max(1e-6);
        Self { records_per_second: records as f64 / seconds, bytes_per_second: bytes as f64 / seconds }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}, {}",
            units::rate(self.records_per_second, "records"),
            units::byte_rate(self.bytes_per_second)
        )
    }
}

impl LoadReport {
    /// Everything was sent, acknowledged, and found where it was looked for.
    pub fn is_clean(&self) -> bool {
        self.trouble.is_none()
            && self.failed_records == 0
            && self.checked.is_none_or(|checked| checked.tally.is_perfect())
    }

    /// The report as a file in the shape of OpenMessaging Benchmark's.
    pub fn json(&self, workload: &str, omb: OmbResult, total: &Measures) -> serde_json::Value {
        let heading = Heading {
            workload,
            message_bytes: self.value_bytes / self.records.max(1),
            topics: self.load.topics.len(),
            partitions: self.load.partitions,
            has_consumer: self.checked.is_some(),
        };
        omb.json(&heading, total, serde_json::json!(self))
    }

    pub fn percentiles_of(measures: &Measures) -> [Percentiles; 3] {
        let Measures { from_intended, from_sent, delay, .. } = measures;
        [from_intended, from_sent, delay].map(Latency::percentiles)
    }
}

impl fmt::Display for LoadReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { load, .. } = self;
        let topics = match &load.topics[..] {
            [topic] => format!("topic {topic}"),
            topics => format!("{} topics", topics.len()),
        };
        writeln!(
            f,
            "load        {topics}, {} partitions; batches of {} ({:.0} records of {}, {}, codec {}), acks {}",
            units::count(u64::from(load.partitions)),
            units::memory(load.batch_wire_bytes),
            load.records_per_batch,
            load.record_bytes,
            load.keys,
            load.codec,
            if load.acks == -1 { "all".to_owned() } else { load.acks.to_string() },
        )?;
        match &self.offered {
            Some(offered) => writeln!(f, "offered     {offered}")?,
            None => writeln!(f, "offered     as much as is taken")?,
        }
        writeln!(
            f,
            "achieved    {}   ({} records, {} batches, {} in {:.2} s){}",
            self.achieved,
            units::count(self.records),
            units::count(self.batches),
            units::bytes(self.wire_bytes),
            self.seconds,
            if self.partial { "   <== PARTIAL" } else { "" },
        )?;
        if self.unsent_records > 0 {
            writeln!(
                f,
                "not sent    {} records that were due: the rate was out of reach",
                units::count(self.unsent_records)
            )?;
        }
        if self.failed_records > 0 {
            writeln!(f, "failed      {} records", units::count(self.failed_records))?;
        }
        if let Some(TransactionCounts { committed, aborted }) = self.transactions {
            writeln!(
                f,
                "in          {} transactions that were committed, {aborted} aborted",
                units::count(committed)
            )?;
        }
        if self.throttled_ms > 0 {
            writeln!(f, "throttled   {} by the brokers' quotas", units::us(self.throttled_ms * 1000))?;
        }
        writeln!(f)?;
        writeln!(f, "latency of the acknowledgement, by records")?;
        if self.offered.is_some() {
            percentiles(f, "  from the intended send", &self.from_intended)?;
        }
        percentiles(f, "  from the actual send", &self.from_sent)?;
        if self.offered.is_some() {
            percentiles(f, "  delay of the send", &self.delay)?;
        }
        if let Some(end_to_end) = &self.end_to_end {
            percentiles(f, "  to a consumer", end_to_end)?;
        }
        for (number, step) in (1..).zip(&self.steps) {
            writeln!(
                f,
                "step {number:<7}{} offered, {} achieved; p50 {}, p99 {}, max {}",
                units::rate(step.offered.records_per_second, "records"),
                units::rate(step.achieved.records_per_second, "records"),
                units::us(step.from_intended.p50_us),
                units::us(step.from_intended.p99_us),
                units::us(step.from_intended.max_us),
            )?;
        }
        if let Some(ReadBack { batches_sent, tally }) = &self.checked {
            writeln!(
                f,
                "checked     {} of {} batches: {} lost, {} duplicated, {} reordered, {} corrupted{}",
                units::count(tally.arrived),
                units::count(*batches_sent),
                units::count(tally.lost),
                units::count(tally.duplicated),
                units::count(tally.reordered),
                units::count(tally.corrupted),
                if tally.is_perfect() { "" } else { "   <== NOT WHAT WAS SENT" },
            )?;
        }
        if let Some(trouble) = &self.trouble {
            writeln!(f, "{:<12}{trouble}", if self.partial { "ended early" } else { "trouble" })?;
        }
        write!(
            f,
            "sender      {:.3} CPU-seconds per GB, {:.0} % of a core",
            self.sender_cpu_seconds / (self.wire_bytes.max(1) as f64 / 1e9),
            100.0 * self.sender_cpu_seconds / self.seconds.max(1e-6),
        )
    }
}

fn percentiles(f: &mut fmt::Formatter<'_>, name: &str, at: &Percentiles) -> fmt::Result {
    writeln!(f, "{name:<26}{at}")
}
