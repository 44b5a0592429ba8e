//! What was typed. Turning it into what was meant is the business of [`twinlog::config`].

use clap::builder::styling::{AnsiColor, Styles};
use clap::{Args, Parser, Subcommand, ValueEnum};
use regex::Regex;
use std::ops::Range;
use std::path::PathBuf;
use twinlog::broker::SyntheticCluster;
use twinlog::config::{Address, ConfigError, Draft, LogFormat, Mover, StartFrom, text};
use twinlog::edge::bench::Settings;
use twinlog::load::{Codec, Shape};

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .usage(AnsiColor::Green.on_default().bold())
    .literal(AnsiColor::Cyan.on_default().bold())
    .placeholder(AnsiColor::Cyan.on_default());

/// Keeps a twin of Kafka topics on another cluster: same partitions, same batches, nothing lost, nothing doubled.
#[derive(Debug, Parser)]
#[command(name = "twinlog", version, styles = STYLES, max_term_width = 110, after_help = AFTER_HELP)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

const AFTER_HELP: &str = "\
Examples:
  twinlog mirror --source east:9092 --target west:9092 --topics 'orders,clicks\\..*'
  twinlog bench                  # needs nothing else: two synthetic clusters, every record checked
  twinlog broker --port 9092     # a Kafka cluster in memory, to try things with

Exit codes:
  0    done, or stopped by SIGTERM      3    done, but some partitions were given up; the log says why
  1    failed                           4    another instance took over the link
  2    wrong usage or configuration     130  stopped by Ctrl-C";

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Mirror topics from one cluster to another, until stopped or until caught up.
    ///
    /// Mirrors every partition of the matching topics to the partition of the same number in the topic of the same name. Topics
    /// are created on the target with the source's configuration, new partitions and topics are followed, and a mirror that is
    /// stopped or killed goes on where it was: no record is lost or written twice.
    Mirror(MirrorArgs),
    /// Measure the mirror between two clusters, with every record checked on arrival.
    ///
    /// Puts a load into the source, mirrors it, and checks every batch that arrives on the target. First as fast as it goes, for
    /// the throughput and the cost; then at an even rate, for the latency from the moment each batch was meant to be sent.
    /// Without --source and --target, both clusters are synthetic ones inside this process.
    Bench(BenchArgs),
    /// Serve a synthetic Kafka cluster from memory on 127.0.0.1.
    ///
    /// A cluster for laptops, tests and demos: it lives in memory, keeps the newest records only, and forgets everything when it
    /// ends. Kafka's own clients and tools work with it.
    Broker(BrokerArgs),
    /// Run the mirror in a simulated world full of faults; one seed is one run.
    ///
    /// Each run builds two clusters, one or two mirrors between them, and lets the seed choose what goes wrong: brokers fail,
    /// leaders move, answers get lost, processes are killed. Then it checks that the target is what it should be. The same seed
    /// is the same run, on every machine.
    Sim(SimArgs),
}

#[derive(Debug, Args)]
#[command(after_help = MIRROR_AFTER_HELP)]
pub struct MirrorArgs {
    /// Cluster to read from: some of its brokers
    #[arg(long, value_name = "HOST:PORT[,…]", value_parser = text::addresses, help_heading = "What to mirror")]
    source: Option<Addresses>,

    /// Cluster to write to: some of its brokers
    #[arg(long, value_name = "HOST:PORT[,…]", value_parser = text::addresses, help_heading = "What to mirror")]
    target: Option<Addresses>,

    /// Topics to mirror: regular expressions that match the whole name; may be given again
    #[arg(long, value_name = "REGEX[,…]", value_parser = text::patterns, help_heading = "What to mirror")]
    topics: Vec<Patterns>,

    /// Topics not to mirror, though --topics matches them [internal topics, __.*, count only when named exactly]
    #[arg(long, value_name = "REGEX[,…]", value_parser = text::patterns, help_heading = "What to mirror")]
    exclude: Vec<Patterns>,

    /// Where a partition that was never mirrored begins: earliest, latest, a time such as 2026-01-31T08:00:00Z,
    /// or milliseconds since 1970 [default: earliest]
    #[arg(long, value_name = "START", value_parser = text::start_from, help_heading = "What to mirror")]
    from: Option<StartFrom>,

    /// End with success when everything that was on the source at the start is on the target
    #[arg(long, help_heading = "What to mirror")]
    until_caught_up: bool,

    /// Name of this mirror's link. Its progress is kept under this name on the target (topic __twinlog.<LINK>);
    /// an instance started with the same name takes over [default: mirror]
    #[arg(long, value_name = "LINK", value_parser = text::link, help_heading = "How")]
    link: Option<String>,

    /// File with any of these settings; flags override it
    #[arg(long, value_name = "FILE", help_heading = "How")]
    config: Option<PathBuf>,

    /// How payloads travel: auto, copy (through memory), splice (inside the kernel) [default: auto]
    #[arg(long, value_name = "MOVER", value_parser = text::mover, help_heading = "How")]
    mover: Option<Mover>,

    /// Cores to run on, one thread each: 0,1 or 2..5 or all [default: all]
    #[arg(long, value_name = "LIST", value_parser = text::cores, help_heading = "How")]
    cores: Option<Cores>,

    /// Memory for payloads on their way, all cores together [default: 256MiB]
    #[arg(long, value_name = "SIZE", value_parser = text::memory_bytes, help_heading = "How")]
    buffer_bytes: Option<usize>,

    /// Replication factor of topics created on the target [default: the source's, at most the target's brokers]
    #[arg(long, value_name = "N", value_parser = text::replication_factor, help_heading = "How")]
    replication_factor: Option<i16>,

    /// Log lines and the final summary: text or json [default: text]
    #[arg(long, value_name = "FORMAT", value_parser = text::log_format, help_heading = "How")]
    log_format: Option<LogFormat>,

    /// How long a request of a dead connection or a killed instance may still be under way at a broker, ms. After a kill,
    /// partitions whose records are too old for the target to remember the producer wait this long [default: 30000]
    #[arg(long, value_name = "MS", value_parser = text::milliseconds, help_heading = "Seldom needed")]
    zombie_bound_ms: Option<u64>,

    /// How often both clusters are asked for new topics, partitions and leaders, ms; after errors at once [default: 30000]
    #[arg(long, value_name = "MS", value_parser = text::milliseconds, help_heading = "Seldom needed")]
    metadata_refresh_ms: Option<u64>,

    /// Name towards the brokers, for their logs and quotas [default: twinlog-<LINK>]
    #[arg(long, value_name = "NAME", value_parser = text::client_id, help_heading = "Seldom needed")]
    client_id: Option<String>,

    /// Largest answer asked for in one fetch [default: 8MiB]
    #[arg(long, value_name = "SIZE", value_parser = text::memory_bytes, help_heading = "Seldom needed")]
    fetch_bytes_max: Option<usize>,

    /// How long a source broker may hold a fetch that finds nothing, ms [default: 500]
    #[arg(long, value_name = "MS", value_parser = text::milliseconds, help_heading = "Seldom needed")]
    fetch_wait_ms: Option<u64>,

    /// A request unanswered for this long counts as a lost connection, ms [default: 20000]
    #[arg(long, value_name = "MS", value_parser = text::milliseconds, help_heading = "Seldom needed")]
    request_timeout_ms: Option<u64>,

    /// Connections to each target broker, per core [default: 1]
    #[arg(long, value_name = "N", value_parser = text::count, help_heading = "Seldom needed")]
    connections_per_broker: Option<usize>,
}

// The command-line library takes a bare `Vec` for an argument that may be given again.
type Addresses = Vec<Address>;
type Patterns = Vec<Regex>;
type Cores = Vec<usize>;

const MIRROR_AFTER_HELP: &str = "\
Examples:
  Follow two topics and everything under clicks., until interrupted:
    twinlog mirror --source east:9092 --target west:9092 --topics 'orders,payments,clicks\\..*'

  Copy what there is, then end (exit code 0):
    twinlog mirror --source east:9092 --target west:9092 --topics '.*' --until-caught-up

  The same from a file:
    twinlog mirror --config twinlog.toml

    [source]
    bootstrap = ['east1:9092', 'east2:9092']
    [target]
    bootstrap = 'west1:9092'
    [mirror]
    topics = ['orders', 'clicks\\..*']
    buffer-bytes = '512MiB'          # every flag has a key here, without the dashes in front

The first Ctrl-C (or SIGTERM) stops cleanly: nothing more is fetched, what is under way is settled, progress is saved.
The second ends the process at once; that is safe too, the next start only has more to ask.
RUST_LOG=twinlog=debug shows more.";

impl MirrorArgs {
    /// The flags over the config file. Reads the file.
    pub fn draft(self) -> Result<Draft, ConfigError> {
        let file = match &self.config {
            Some(path) => {
                let content = std::fs::read_to_string(path).map_err(|error| {
                    ConfigError(format!("cannot read the config file {}: {error}", path.display()))
                })?;
                Draft::from_toml(&path.display().to_string(), &content)?
            }
            None => Draft::default(),
        };
        let some_of = |all: Vec<Patterns>| (!all.is_empty()).then(|| all.into_iter().flatten().collect());
        let flags = Draft {
            source: self.source,
            target: self.target,
            topics: some_of(self.topics),
            exclude: some_of(self.exclude),
            from: self.from,
            until_caught_up: self.until_caught_up.then_some(true),
            mover: self.mover,
            cores: self.cores,
            link: self.link,
            buffer_bytes: self.buffer_bytes,
            replication_factor: self.replication_factor,
            metadata_refresh_ms: self.metadata_refresh_ms,
            zombie_bound_ms: self.zombie_bound_ms,
            client_id: self.client_id,
            fetch_bytes_max: self.fetch_bytes_max,
            fetch_wait_ms: self.fetch_wait_ms,
            request_timeout_ms: self.request_timeout_ms,
            connections_per_broker: self.connections_per_broker,
            log_format: self.log_format,
        };
        Ok(flags.or(file))
    }
}

#[derive(Debug, Args)]
#[command(after_help = BENCH_AFTER_HELP)]
pub struct BenchArgs {
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

    /// Compression of the batches
    #[arg(long, value_enum, default_value_t = CodecName::None, help_heading = "Load")]
    codec: CodecName,

    /// Share of each record that is random and so hardly shrinks, in percent
    #[arg(long, value_name = "PERCENT", default_value_t = 50, value_parser = clap::value_parser!(u8).range(0..=100),
          help_heading = "Load")]
    random_percent: u8,

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

    /// Write the results to this file too, as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum CodecName {
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
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

The exit code is 1 if anything was lost, doubled, out of order or changed.";

#[derive(Debug, Args)]
#[command(after_help = BROKER_AFTER_HELP)]
pub struct BrokerArgs {
    /// Port of the first broker on 127.0.0.1; the others follow
    #[arg(long, value_name = "PORT", default_value_t = 9092, value_parser = clap::value_parser!(u16).range(1..))]
    port: u16,

    /// Number of brokers
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    brokers: u16,

    /// Topic to begin with, and its number of partitions; may be given again
    #[arg(long, value_name = "NAME[:PARTITIONS]", value_parser = topic)]
    topic: Vec<(String, i32)>,

    /// Memory for all topics together; the oldest batches are dropped, except those of compacted topics
    #[arg(long, value_name = "SIZE", value_parser = text::memory_bytes, default_value = "1GiB")]
    retention_bytes: usize,
}

impl BrokerArgs {
    /// # Errors
    /// The last broker's port would lie above 65535.
    pub fn settings(self) -> Result<SyntheticCluster, String> {
        let last = u32::from(self.port) + u32::from(self.brokers) - 1;
        if last > u32::from(u16::MAX) {
            return Err(format!(
                "{} brokers from port {} on need ports up to {last}",
                self.brokers, self.port
            ));
        }
        let address = |at: u16| Address { host: "127.0.0.1".into(), port: self.port + at };
        let topics = self.topic.into_iter();
        Ok(SyntheticCluster {
            // Mirrors tell clusters apart by their ids.
            cluster_id: format!("synthetic-{}", self.port),
            brokers: (0..self.brokers).map(|at| (i32::from(at) + 1, address(at))).collect(),
            topics: topics
                .map(|(name, partitions)| (name, usize::try_from(partitions).unwrap_or(1)))
                .collect(),
            retention_bytes: self.retention_bytes,
            ..SyntheticCluster::default()
        })
    }
}

const BROKER_AFTER_HELP: &str = "\
Two clusters and a mirror, each in a terminal of its own:
  twinlog broker --port 9092 --topic orders:4
  twinlog broker --port 9192
  twinlog mirror --source localhost:9092 --target localhost:9192 --topics orders";

fn topic(text: &str) -> Result<(String, i32), String> {
    let (name, partitions) = text.split_once(':').unwrap_or((text, "1"));
    match partitions.parse::<i32>() {
        Ok(partitions) if (1..=10_000).contains(&partitions) && !name.is_empty() => {
            Ok((name.into(), partitions))
        }
        _ => Err(format!("`{text}` is not a topic; expected, for example, orders or orders:4")),
    }
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  twinlog sim --seeds 0..2000\n  twinlog sim --seed 1234    # replays one run"
)]
pub struct SimArgs {
    /// The one run to do
    #[arg(long, value_name = "N", required_unless_present = "seeds", conflicts_with = "seeds")]
    seed: Option<u64>,

    /// The runs to do, the last number excluded
    #[arg(long, value_name = "A..B", value_parser = seeds)]
    seeds: Option<Range<u64>>,

    /// Print everything that happens (for one run)
    #[arg(long, requires = "seed")]
    trace: bool,
}

impl BenchArgs {
    /// What to measure, and the file for the results.
    pub fn settings(self) -> (Settings, Option<PathBuf>) {
        let shape = Shape {
            batch_bytes: self.batch_bytes,
            record_bytes: self.record_bytes,
            codec: match self.codec {
                CodecName::None => Codec::None,
                CodecName::Gzip => Codec::Gzip,
                CodecName::Snappy => Codec::Snappy,
                CodecName::Lz4 => Codec::Lz4,
                CodecName::Zstd => Codec::Zstd,
            },
            random_percent: usize::from(self.random_percent),
        };
        let settings = Settings {
            external: self.source.zip(self.target),
            size_bytes: self.size,
            seconds: self.seconds,
            bytes_per_second: self.rate.map(|megabytes| megabytes * 1e6),
            partitions: self.partitions,
            shape,
            cores: self.cores,
            mover: self.mover,
            buffer_bytes: self.buffer_bytes,
        };
        (settings, self.json)
    }
}

impl SimArgs {
    pub fn trace(&self) -> bool {
        self.trace
    }

    pub fn seeds(&self) -> Range<u64> {
        self.seeds.clone().or(self.seed.map(|seed| seed..seed.saturating_add(1))).unwrap_or(0..1)
    }
}

fn seeds(text: &str) -> Result<Range<u64>, String> {
    let problem = || format!("`{text}` is not a range of seeds; expected, for example, 0..2000");
    let (first, end) = text.split_once("..").ok_or_else(problem)?;
    let range = first.parse().map_err(|_| problem())?..end.parse().map_err(|_| problem())?;
    if range.is_empty() { Err(problem()) } else { Ok(range) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_commands_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn flags_become_a_draft() {
        let line = "twinlog mirror --source a:1,b:2 --target c:3 --topics x,y --topics z --from latest --cores 0..1 \
                    --until-caught-up --buffer-bytes 64MiB";
        let Command::Mirror(args) = Cli::parse_from(line.split_whitespace()).command else {
            panic!("not a mirror")
        };
        let mirror = args.draft().unwrap().build().unwrap();
        assert_eq!((mirror.source.bootstrap.len(), mirror.topics.len()), (2, 3));
        assert_eq!(
            (mirror.from, mirror.cores, mirror.until_caught_up),
            (StartFrom::Latest, vec![0, 1], true)
        );
        assert_eq!(mirror.buffer_bytes, 64 << 20);
    }

    #[test]
    fn every_default_in_the_help_is_the_default() {
        let line = ["twinlog", "mirror", "--source", "a:1", "--target", "c:3", "--topics", "x"];
        let Command::Mirror(args) = Cli::parse_from(line).command else { panic!("not a mirror") };
        let mirror = args.draft().unwrap().build().unwrap();
        let help = Cli::command().find_subcommand_mut("mirror").unwrap().render_long_help().to_string();
        for default in [
            format!("[default: {}]", mirror.link),
            format!("[default: {}]", mirror.zombie_bound_ms),
            format!("[default: {}]", mirror.metadata_refresh_ms),
            format!("[default: {}]", mirror.fetch_wait_ms),
            format!("[default: {}]", mirror.request_timeout_ms),
            format!("[default: {}]", mirror.connections_per_broker),
            format!("[default: {}MiB]", mirror.buffer_bytes >> 20),
            format!("[default: {}MiB]", mirror.fetch_bytes_max >> 20),
        ] {
            assert!(help.contains(&default), "{default} is not in the help");
        }
    }

    #[test]
    fn topics_and_seeds_are_read() {
        assert_eq!(topic("orders:4"), Ok(("orders".into(), 4)));
        assert_eq!(topic("orders"), Ok(("orders".into(), 1)));
        assert!(topic("orders:0").is_err() && topic(":1").is_err());
        assert_eq!(seeds("3..7"), Ok(3..7));
        assert!(seeds("7..3").is_err() && seeds("7").is_err());
    }
}
