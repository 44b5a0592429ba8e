//! `twinlog bench`.

use super::{Addresses, Cores};
use clap::Args;
use std::path::PathBuf;
use twinlog::config::{Mover, text};
use twinlog::edge::bench::Settings;
use twinlog::load::{Codec, Shape};

#[derive(Debug, Args)]
#[command(after_help = BENCH_AFTER_HELP)]
pub struct BenchArgs {
    /// How much to put into the source before the mirror starts, to see it catch up; 0 leaves that part out
    /// [default: 256MiB with --report or --svg-dir, otherwise 0]
    #[arg(long, value_name = "SIZE", value_parser = text::bytes, help_heading = "Load")]
    backlog: Option<u64>,

    /// How much to send in the first part, as fast as the mirror takes it; 0 leaves that part out
    #[arg(long, value_name = "SIZE", value_parser = text::bytes, default_value = "4GiB", help_heading = "Load")]
    size: u64,

    /// How long to send in the second part; 0 leaves that part out
    #[arg(long, value_name = "SECONDS", default_value_t = 15, help_heading = "Load")]
    seconds: u64,

    /// Rate of the second part, in MB/s (of 1,000,000 bytes) [default: half of what the first part reached]
    #[arg(long, value_name = "MB/S", value_parser = megabytes_per_second, help_heading = "Load")]
    rate: Option<f64>,

    /// Partitions to spread the load over
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=10_000),
          help_heading = "Load")]
    partitions: u32,

    /// Size of a batch before compression
    #[arg(long, value_name = "SIZE", value_parser = text::memory_bytes, default_value = "256KiB", help_heading = "Load")]
    batch_bytes: usize,

    /// Size of a record's value
    #[arg(long, value_name = "SIZE", value_parser = text::memory_bytes, default_value = "1024", help_heading = "Load")]
    record_bytes: usize,

    /// Compression of the batches: none, gzip, snappy, lz4 or zstd
    #[arg(long, value_name = "CODEC", default_value_t = Codec::None, help_heading = "Load")]
    codec: Codec,

    /// Share of each record that is random and so hardly shrinks, in percent
    #[arg(long, value_name = "PERCENT", default_value_t = 50, value_parser = clap::value_parser!(u8).range(0..=100),
          help_heading = "Load")]
    random_percent: u8,

    /// Repeat the first part (with 1 GiB at most) with each of these sizes of batches, for the cost against the size
    #[arg(long, value_name = "SIZE,…", value_parser = text::memory_bytes, value_delimiter = ',', help_heading = "Load")]
    sweep: Vec<usize>,

    /// Cores for the mirror, one thread each: 0,1 or 2..5 or all
    #[arg(long, value_name = "LIST", value_parser = text::cores, default_value = "0", help_heading = "Mirror")]
    cores: Cores,

    /// How payloads travel: auto, copy (through memory), splice (inside the kernel)
    #[arg(long, value_name = "MOVER", value_parser = text::mover, default_value = "auto", help_heading = "Mirror")]
    mover: Mover,

    /// Memory for payloads on their way
    #[arg(long, value_name = "SIZE", value_parser = text::memory_bytes, default_value = "64MiB", help_heading = "Mirror")]
    buffer_bytes: usize,

    /// Cluster to send the load to, instead of a synthetic one
    #[arg(long, value_name = "HOST:PORT[,…]", value_parser = text::addresses, requires = "target", help_heading = "Clusters")]
    source: Option<Addresses>,

    /// Cluster to mirror to; the topic twinlog-bench-… is made on both, and deleted at the end
    #[arg(long, value_name = "HOST:PORT[,…]", value_parser = text::addresses, requires = "source", help_heading = "Clusters")]
    target: Option<Addresses>,

    /// Write one self-contained page with all figures and plots, for a browser
    #[arg(long, value_name = "FILE.html", help_heading = "Results")]
    report: Option<PathBuf>,

    /// Write each plot into this folder, as an SVG file
    #[arg(long, value_name = "DIR", help_heading = "Results")]
    svg_dir: Option<PathBuf>,

    /// Write the results as JSON, in the shape of OpenMessaging Benchmark's result files; everything else under `twinlog`
    #[arg(long, value_name = "FILE", help_heading = "Results")]
    json: Option<PathBuf>,

    /// Write the latencies as a log of HdrHistogram: each second, one line for each stage (tags fetched, sent, acked, visible) and
    /// one without a tag from the intended send to the consumer
    #[arg(long, value_name = "FILE", help_heading = "Results")]
    hlog: Option<PathBuf>,
}

fn megabytes_per_second(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if rate > 0.0 && rate <= 1e6 => Ok(rate),
        _ => Err(format!("`{text}` is not a rate in MB/s")),
    }
}

const BENCH_AFTER_HELP: &str = "\
Examples:
  twinlog bench                                          # throughput, cost and latency, in half a minute
  twinlog bench --batch-bytes 16KiB --partitions 100     # small batches, many partitions
  twinlog bench --codec zstd --record-bytes 200 --size 1GiB
  twinlog bench --size 0 --rate 50 --seconds 60          # latency at 50 MB/s only
  twinlog bench --source east:9092 --target west:9092    # on clusters of your own
  twinlog bench --report out.html --sweep 4KiB,16KiB,64KiB,256KiB,1MiB    # a page with plots; the costs of small batches

Latency is told by stage: from the send into the source until the mirror has the batch's header, until the batch is in the socket
to the target, until the target has acknowledged it, until a consumer of the target has it; and from the intended send to there.
A run that ends early (Ctrl-C, a cluster that goes away) writes what there is, marked as partial.

The exit code is 1 if anything was lost, doubled, out of order or changed.";

/// What to measure, and where the results go.
pub struct BenchPlan {
    pub settings: Settings,
    pub json: Option<PathBuf>,
    pub report: Option<PathBuf>,
    pub svg_dir: Option<PathBuf>,
}

/// Enough to see the mirror catch up, and little enough to keep it in memory.
const BACKLOG_BYTES: u64 = 256 << 20;

impl BenchArgs {
    pub fn plan(self) -> BenchPlan {
        let shape =
            Shape::plain(self.batch_bytes, self.record_bytes, self.codec, usize::from(self.random_percent));
        let has_plots = self.report.is_some() || self.svg_dir.is_some();
        let settings = Settings {
            external: self.source.zip(self.target),
            backlog_bytes: self.backlog.unwrap_or(if has_plots { BACKLOG_BYTES } else { 0 }),
            size_bytes: self.size,
            seconds: self.seconds,
            bytes_per_second: self.rate.map(|megabytes| megabytes * 1e6),
            partitions: self.partitions,
            shape,
            cores: self.cores,
            mover: self.mover,
            buffer_bytes: self.buffer_bytes,
            sweep: self.sweep,
            hlog: self.hlog,
        };
        BenchPlan { settings, json: self.json, report: self.report, svg_dir: self.svg_dir }
    }
}
