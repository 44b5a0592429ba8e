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
    /// CPU time of the mirror's own threads.
    pub mirror_cpu_seconds: f64,
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
        writeln!(f, "load        {}", self.load)?;
        writeln!(f, "mirror      {}", self.mirror)?;
        if let Some(run) = &self.catch_up {
            writeln!(f, "\ncatch-up    {run}")?;
        }
        if let Some(run) = &self.throughput {
            writeln!(f, "\nthroughput  {run}")?;
            writeln!(f, "cost        {}", run.cost())?;
        }
        if let Some(run) = &self.latency {
            writeln!(f, "\nlatency     {run}")?;
            writeln!(f, "cost        {}", run.cost())?;
            percentiles(f, "  from the intended send", &run.from_intended)?;
            percentiles(f, "  from the actual send", &run.from_sent)?;
        }
        if let Some(run) = &self.stages {
            writeln!(f, "\nby stage    at {}", run.part)?;
            for figures in &run.stages {
                percentiles(f, &format!("  {}", figures.words), &figures.percentiles)?;
            }
            if run.batches_left_out > 0 {
                writeln!(f, "  {} batches were not timed", units::count(run.batches_left_out))?;
            }
        }
        for (number, point) in self.sweep.iter().enumerate() {
            if number == 0 {
                writeln!(f, "\nsweep       by size of batches before compression, at full speed")?;
            }
            let size = units::memory(point.batch_bytes as u64);
            let rate = units::byte_rate(point.throughput.bytes_per_second);
            writeln!(f, "  {size:<26}{}; {rate}", point.throughput.cost())?;
        }
        let is_perfect = self.checked.tally.is_perfect();
        writeln!(
            f,
            "\nchecked     {}{}",
            self.checked,
            if is_perfect { "" } else { "   <== NOT WHAT WAS SENT" }
        )?;
        if let Some(trouble) = &self.trouble {
            writeln!(f, "{:<12}{trouble}", if self.partial { "PARTIAL" } else { "trouble" })?;
        }
        write!(f, "memory      {}", self.memory())
    }
}

impl BenchReport {
    /// How much was used.
    pub fn memory(&self) -> String {
        let whose = if self.mirror.embedded_clusters { ", both clusters included" } else { "" };
        format!("{} at most{whose}", units::memory(self.peak_rss_bytes))
    }
}

impl fmt::Display for LoadFacts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} partitions, batches of {} ({} records of {}, codec {})",
            units::count(u64::from(self.partitions)),
            units::memory(self.batch_wire_bytes),
            units::count(u64::from(self.records_per_batch)),
            units::memory(self.record_bytes as u64),
            self.codec,
        )
    }
}

impl fmt::Display for MirrorFacts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "twinlog {}, {} {}, mover {}, {} of buffers; {} of {} cores{}",
            self.version,
            self.shards,
            if self.shards == 1 { "shard" } else { "shards" },
            self.mover,
            units::memory(self.buffer_bytes as u64),
            self.shards,
            self.machine_cores,
            match self.embedded_clusters {
                true => ", shared with both clusters, the sender and the judge",
                false => "",
            },
        )
    }
}

impl fmt::Display for CatchUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} behind; the first batch arrived after {}, the last after {} ({} from the first on)",
            units::bytes(self.bytes),
            units::us((self.first_arrival_seconds * 1e6) as u64),
            units::us((self.seconds * 1e6) as u64),
            units::byte_rate(self.bytes_per_second),
        )
    }
}

impl Throughput {
    /// What a GB and a batch cost.
    pub fn cost(&self) -> String {
        format!(
            "{:.3} CPU-seconds per GB, {:.1} µs per batch, in the mirror's own threads",
            self.mirror_cpu_seconds_per_gb,
            self.mirror_cpu_seconds * 1e6 / self.batches.max(1) as f64,
        )
    }
}

impl fmt::Display for Throughput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}   {}   {}   ({} in {:.2} s)",
            units::byte_rate(self.bytes_per_second),
            units::rate(self.records as f64 / self.seconds, "records"),
            units::rate(self.batches as f64 / self.seconds, "batches"),
            units::bytes(self.bytes),
            self.seconds,
        )
    }
}

impl LatencyRun {
    /// How busy the mirror was.
    pub fn cost(&self) -> String {
        format!(
            "{:.1} % of a core, in the mirror's own threads",
            self.mirror_cpu_seconds * 100.0 / self.seconds.max(1e-9)
        )
    }
}

impl fmt::Display for LatencyRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} offered, {} achieved, for {:.0} s; {} batches",
            units::byte_rate(self.offered_bytes_per_second),
            units::byte_rate(self.achieved_bytes_per_second),
            self.seconds,
            units::count(self.from_intended.count),
        )
    }
}

impl fmt::Display for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { batches_sent, records_sent, under_way, tally } = self;
        write!(
            f,
            "{} of {} batches ({} records): {} lost, {} duplicated, {} reordered, {} corrupted",
            units::count(tally.arrived),
            units::count(*batches_sent),
            units::count(*records_sent),
            units::count(tally.lost),
            units::count(tally.duplicated),
            units::count(tally.reordered),
            units::count(tally.corrupted),
        )?;
        match under_way {
            0 => Ok(()),
            _ => write!(f, "; {} were under way when it ended", units::count(*under_way)),
        }
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
