//! What a benchmark found, for people and for programs. Speed and correctness are printed side by side.

use super::omb::{Heading, OmbResult};
use super::{Measures, Tally};
use crate::stats::{Percentiles, StageFigures, units};
use serde::Serialize;
use std::fmt;

#[derive(Clone, Debug, Serialize)]
pub struct BenchReport {
    /// The benchmark ended before it was over; everything here is of the part before.
    pub partial: bool,
    /// Why it ended early, or what else went wrong.
    pub trouble: Option<String>,
    pub load: LoadFacts,
    pub mirror: MirrorFacts,
    /// The backlog that was there before the mirror; None when there was none.
    pub catch_up: Option<CatchUp>,
    /// The part at full speed; None when it was left out.
    pub throughput: Option<Throughput>,
    /// The part at an even rate; None when it was left out.
    pub latency: Option<LatencyRun>,
    /// Where the time goes, in the part at an even rate, or at full speed if that was left out.
    pub stages: Option<StagesRun>,
    pub checked: Checked,
    /// The first part once more for each of these sizes of batches.
    pub sweep: Vec<SweepPoint>,
    /// Largest resident memory of this process (VmHWM).
    pub peak_rss_bytes: u64,
}

#[derive(Clone, Debug, Serialize)]
pub struct LoadFacts {
    pub partitions: u32,
    pub record_bytes: usize,
    pub records_per_batch: u32,
    pub codec: &'static str,
    /// Mean size on the wire, header included.
    pub batch_wire_bytes: u64,
}

#[derive(Clone, Debug, Serialize)]
pub struct MirrorFacts {
    pub version: &'static str,
    pub mover: &'static str,
    pub shards: usize,
    pub buffer_bytes: usize,
    /// Cores of this machine that the whole benchmark may use.
    pub machine_cores: usize,
    /// Both clusters live in this process and take their share of its cores.
    pub embedded_clusters: bool,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub struct Throughput {
    pub bytes: u64,
    pub batches: u64,
    pub records: u64,
    /// From the first batch sent to the last one checked.
    pub seconds: f64,
    /// CPU time of the mirror's own threads.
    pub mirror_cpu_seconds: f64,
    pub mirror_cpu_seconds_per_gb: f64,
    pub bytes_per_second: f64,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub struct CatchUp {
    pub bytes: u64,
    /// From the mirror's start to the first batch on the target, and to the last one.
    pub first_arrival_seconds: f64,
    pub seconds: f64,
    /// From the first arrival on.
    pub bytes_per_second: f64,
}

#[derive(Clone, Debug, Serialize)]
pub struct StagesRun {
    pub part: &'static str,
    /// All shards together.
    pub stages: Vec<StageFigures>,
    /// Each shard's own, if there are several.
    pub shards: Vec<Vec<StageFigures>>,
    /// That were not timed on their way, because the mirror had no room to note it.
    pub batches_left_out: u64,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub struct SweepPoint {
    /// Before compression.
    pub batch_bytes: usize,
    pub batch_wire_bytes: u64,
    pub throughput: Throughput,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub struct LatencyRun {
    pub seconds: f64,
    pub offered_bytes_per_second: f64,
    pub achieved_bytes_per_second: f64,
    /// From the moment a batch was meant to be sent to the moment a reader of the target held it.
    pub from_intended: Percentiles,
    /// From the moment it was sent in fact. Smaller, when the sender itself was held up.
    pub from_sent: Percentiles,
}

#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Checked {
    pub batches_sent: u64,
    pub records_sent: u64,
    /// Batches on their way when the benchmark ended early. Not lost.
    pub under_way: u64,
    /// In batches.
    #[serde(flatten)]
    pub tally: Tally,
}

impl BenchReport {
    /// Everything was sent, and arrived, once, in order, unchanged.
    pub fn is_perfect(&self) -> bool {
        self.trouble.is_none() && !self.partial && self.checked.tally.is_perfect()
    }

    /// The report as a file in the shape of OpenMessaging Benchmark's. `facts` go with what is Twinlog's own.
    pub fn json(&self, facts: serde_json::Value, omb: OmbResult, total: &Measures) -> serde_json::Value {
        let Self { load, .. } = self;
        let heading = Heading {
            workload: &format!("twinlog bench, batches of {} ({})", load.batch_wire_bytes, load.codec),
            message_bytes: load.record_bytes as u64,
            topics: 1,
            partitions: load.partitions,
            has_consumer: true,
        };
        let mut own = serde_json::json!(self);
        own["facts"] = facts;
        omb.json(&heading, total, own)
    }
}

impl Throughput {
    pub fn new(
        bytes: u64,
        batches: u64,
        records_per_batch: u32,
        seconds: f64,
        mirror_cpu_seconds: f64,
    ) -> Self {
        Self {
            bytes,
            batches,
            records: batches * u64::from(records_per_batch),
            seconds,
            mirror_cpu_seconds,
            mirror_cpu_seconds_per_gb: mirror_cpu_seconds / (bytes.max(1) as f64 / 1e9),
            bytes_per_second: bytes as f64 / seconds.max(1e-9),
        }
    }
}

impl fmt::Display for BenchReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { load, mirror, .. } = self;
        writeln!(
            f,
            "load        {} partitions, batches of {} ({} records of {}, codec {})",
            units::count(u64::from(load.partitions)),
            units::memory(load.batch_wire_bytes),
            units::count(u64::from(load.records_per_batch)),
            units::memory(load.record_bytes as u64),
            load.codec,
        )?;
        writeln!(
            f,
            "mirror      twinlog {}, {} {}, mover {}, {} of buffers; {} of {} cores{}",
            mirror.version,
            mirror.shards,
            if mirror.shards == 1 { "shard" } else { "shards" },
            mirror.mover,
            units::memory(mirror.buffer_bytes as u64),
            mirror.shards,
            mirror.machine_cores,
            if mirror.embedded_clusters {
                ", shared with both clusters, the sender and the judge"
            } else {
                ""
            },
        )?;
        if let Some(run) = &self.catch_up {
            writeln!(f)?;
            writeln!(
                f,
                "catch-up    {} behind; the first batch arrived after {}, the last after {} ({} from the first on)",
                units::bytes(run.bytes),
                units::us((run.first_arrival_seconds * 1e6) as u64),
                units::us((run.seconds * 1e6) as u64),
                units::byte_rate(run.bytes_per_second),
            )?;
        }
        if let Some(run) = &self.throughput {
            writeln!(f)?;
            writeln!(
                f,
                "throughput  {}   {}   {}   ({} in {:.2} s)",
                units::byte_rate(run.bytes_per_second),
                units::rate(run.records as f64 / run.seconds, "records"),
                units::rate(run.batches as f64 / run.seconds, "batches"),
                units::bytes(run.bytes),
                run.seconds,
            )?;
            writeln!(
                f,
                "cost        {:.3} CPU-seconds per GB, {:.1} µs per batch, in the mirror's own threads",
                run.mirror_cpu_seconds_per_gb,
                run.mirror_cpu_seconds * 1e6 / run.batches.max(1) as f64,
            )?;
        }
        if let Some(run) = &self.latency {
            writeln!(f)?;
            writeln!(
                f,
                "latency     {} offered, {} achieved, for {:.0} s; {} batches",
                units::byte_rate(run.offered_bytes_per_second),
                units::byte_rate(run.achieved_bytes_per_second),
                run.seconds,
                units::count(run.from_intended.count),
            )?;
            percentiles(f, "  from the intended send", &run.from_intended)?;
            percentiles(f, "  from the actual send", &run.from_sent)?;
        }
        if let Some(run) = &self.stages {
            writeln!(f, "by stage    at {}", run.part)?;
            for figures in &run.stages {
                percentiles(f, &format!("  {}", figures.words), &figures.percentiles)?;
            }
            if run.batches_left_out > 0 {
                writeln!(f, "  {} batches were not timed", units::count(run.batches_left_out))?;
            }
        }
        for (number, point) in self.sweep.iter().enumerate() {
            if number == 0 {
                writeln!(f)?;
                writeln!(f, "sweep       size of batches (before compression), at full speed")?;
            }
            writeln!(
                f,
                "  {:<26}{:.3} CPU-seconds per GB, {}",
                units::memory(point.batch_bytes as u64),
                point.throughput.mirror_cpu_seconds_per_gb,
                units::byte_rate(point.throughput.bytes_per_second),
            )?;
        }
        let tally = &self.checked.tally;
        writeln!(f)?;
        writeln!(
            f,
            "checked     {} of {} batches ({} records): {} lost, {} duplicated, {} reordered, {} corrupted{}",
            units::count(tally.arrived),
            units::count(self.checked.batches_sent),
            units::count(self.checked.records_sent),
            units::count(tally.lost),
            units::count(tally.duplicated),
            units::count(tally.reordered),
            units::count(tally.corrupted),
            if tally.is_perfect() { "" } else { "   <== NOT WHAT WAS SENT" },
        )?;
        if self.checked.under_way > 0 {
            let under_way = units::count(self.checked.under_way);
            writeln!(f, "under way   {under_way} batches when it ended, which nobody waited for")?;
        }
        if let Some(trouble) = &self.trouble {
            let what = if self.partial { "PARTIAL" } else { "trouble" };
            writeln!(f, "{what:<12}{trouble}")?;
        }
        write!(f, "memory      {} at most", units::memory(self.peak_rss_bytes))?;
        f.write_str(if mirror.embedded_clusters { ", both clusters included" } else { "" })
    }
}

fn percentiles(f: &mut fmt::Formatter<'_>, name: &str, at: &Percentiles) -> fmt::Result {
    writeln!(f, "{name:<28}{at}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(tally: Tally) -> BenchReport {
        BenchReport {
            load: LoadFacts {
                partitions: 8,
                record_bytes: 1024,
                records_per_batch: 250,
                codec: "none",
                batch_wire_bytes: 262_000,
            },
            mirror: MirrorFacts {
                version: "1",
                mover: "auto",
                shards: 1,
                buffer_bytes: 64 << 20,
                machine_cores: 2,
                embedded_clusters: true,
            },
            throughput: Some(Throughput::new(4_000_000_000, 16_000, 250, 5.0, 1.2)),
            latency: None,
            partial: false,
            trouble: None,
            catch_up: None,
            stages: None,
            sweep: Vec::new(),
            checked: Checked { batches_sent: 16_000, records_sent: 4_000_000, under_way: 0, tally },
            peak_rss_bytes: 300 << 20,
        }
    }

    #[test]
    fn speed_cost_and_correctness_stand_side_by_side() {
        let text = report(Tally { arrived: 16_000, ..Tally::default() }).to_string();
        for part in [
            "800 MB/s",
            "800,000 records/s",
            "3,200 batches/s",
            "0.300 CPU-seconds per GB",
            "75.0 µs per batch",
        ] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
        assert!(text.contains("0 lost, 0 duplicated, 0 reordered, 0 corrupted\n"), "{text}");
    }

    #[test]
    fn imperfection_stands_out_and_json_has_the_counts() {
        let report = report(Tally { arrived: 15_999, lost: 1, ..Tally::default() });
        assert!(!report.is_perfect());
        assert!(report.to_string().contains("NOT WHAT WAS SENT"));
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["checked"]["lost"], 1);
        let early =
            BenchReport { partial: true, trouble: Some("no space".into()), ..self::report(Tally::default()) };
        assert!(!early.is_perfect() && early.to_string().contains("PARTIAL     no space"), "{early}");
        assert_eq!(json["throughput"]["bytes_per_second"], 800_000_000.0);
    }
}
