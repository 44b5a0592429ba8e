//! `twinlog capacity`.

use super::link::{cluster, config_file};
use super::{Addresses, Cores};
use clap::Args;
use std::path::PathBuf;
use std::sync::Arc;
use twinlog::config::{ClusterName, ConfigError, Draft, Mover, text};
use twinlog::edge::capacity::Settings;
use twinlog::edge::shape::read_file;
use twinlog::load::capacity::Slo;
use twinlog::load::{Codec, Keys, Pattern, Shape, Sizes};

#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct CapacityArgs {
    /// What has to be kept: the latency of so many percent of the records, from the moment they are meant to be sent to the moment
    /// that a consumer of the target has them: p99=50ms; several: p50=5ms,p99.9=200ms,max=1s
    #[arg(long, value_name = "GOALS", help_heading = "Promise")]
    slo: Slo,

    /// The rate to plan for, in bytes of batches: 2GB/s [default: the rate that is found]
    #[arg(long, value_name = "RATE", value_parser = byte_rate, help_heading = "Promise")]
    want: Option<f64>,

    /// Cluster to send to and mirror from [default: two synthetic clusters in this process]
    #[arg(long, value_name = "HOST:PORT[,…]", value_parser = text::addresses, help_heading = "Clusters")]
    source: Option<Addresses>,

    /// Cluster to mirror to
    #[arg(long, value_name = "HOST:PORT[,…]", value_parser = text::addresses, help_heading = "Clusters")]
    target: Option<Addresses>,

    /// File with Kafka's client settings for the source (security.protocol, ssl.*, sasl.*, bootstrap.servers)
    #[arg(long, value_name = "FILE", help_heading = "Clusters")]
    source_config: Option<PathBuf>,

    /// The same for the target
    #[arg(long, value_name = "FILE", help_heading = "Clusters")]
    target_config: Option<PathBuf>,

    /// File with the clusters, and with how the mirror is to be run, as `mirror` takes it
    #[arg(long, value_name = "FILE", help_heading = "Clusters")]
    config: Option<PathBuf>,

    /// Replication factor of the topics that are made [default: the clusters']
    #[arg(long, value_name = "N", value_parser = text::replication_factor, help_heading = "Clusters")]
    replication_factor: Option<i16>,

    /// Leave the topics behind
    #[arg(long, help_heading = "Clusters")]
    keep: bool,

    /// The load is what `twinlog shape capture` saw, faster or slower
    #[arg(long, value_name = "FILE",
          conflicts_with_all = ["record_bytes", "batch_bytes", "codec", "random_percent", "partitions", "arrivals"],
          help_heading = "Load")]
    shape: Option<PathBuf>,

    /// Size of a record's value: 1KiB, uniform:100..2KiB, lognormal:MEAN[,SIGMA], or sizes and weights: 100*7,1KiB*2
    /// [default: 1KiB]
    #[arg(long, alias = "record-size", value_name = "SIZES", help_heading = "Load")]
    record_bytes: Option<Sizes>,

    /// Size of a batch before compression; it is sent full [default: 64KiB]
    #[arg(long, value_name = "SIZE", value_parser = text::memory_bytes, help_heading = "Load")]
    batch_bytes: Option<usize>,

    /// Compression: none, gzip, snappy, lz4 or zstd [default: none]
    #[arg(long, value_name = "CODEC", help_heading = "Load")]
    codec: Option<Codec>,

    /// Share of each record that is random and so hardly shrinks, in percent [default: 50]
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(0..=100), help_heading = "Load")]
    random_percent: Option<u8>,

    /// Partitions of the topic that is made [default: 8]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000), help_heading = "Load")]
    partitions: Option<u32>,

    /// How batches lie around the rate: constant; poisson (at random); burst:ON/PERIOD in ms [default: constant]
    #[arg(long, value_name = "PATTERN", help_heading = "Load")]
    arrivals: Option<Pattern>,

    /// Cores for the mirror, one thread each: 0,1 or 2..5 [default: one]
    #[arg(long, value_name = "LIST", value_parser = text::cores, help_heading = "Mirror")]
    cores: Option<Cores>,

    /// How payloads travel: auto, copy (through memory), splice (inside the kernel) [default: auto]
    #[arg(long, value_name = "MOVER", value_parser = text::mover, help_heading = "Mirror")]
    mover: Option<Mover>,

    /// Memory for payloads on their way [default: 256MiB]
    #[arg(long, value_name = "SIZE", value_parser = text::memory_bytes, help_heading = "Mirror")]
    buffer_bytes: Option<usize>,

    /// The rate that is tried first, and doubled while it holds [default: 1MB/s]
    #[arg(long, value_name = "RATE", value_parser = byte_rate, help_heading = "Search")]
    from: Option<f64>,

    /// Try no higher rate than this [default: no bound]
    #[arg(long, value_name = "RATE", value_parser = byte_rate, help_heading = "Search")]
    up_to: Option<f64>,

    /// How long each rate is measured
    #[arg(long, value_name = "TIME", value_parser = text::duration_us, default_value = "5s", help_heading = "Search")]
    step: u64,

    /// How long it is sent before
    #[arg(long, value_name = "TIME", value_parser = text::duration_us, default_value = "2s", help_heading = "Search")]
    warmup: u64,

    /// How long the rate that was found is held against a run; 0 leaves that out
    #[arg(long, value_name = "TIME", value_parser = duration_or_0, default_value = "60s", help_heading = "Search")]
    check: u64,

    /// Write what was found to this file too, as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

impl CapacityArgs {
    /// Reads the files that are named.
    pub fn settings(self) -> Result<(Settings, Option<PathBuf>), ConfigError> {
        let file = config_file(self.config.as_ref())?;
        let source = cluster(self.source_config.as_ref(), ClusterName::Source)?;
        let target = cluster(self.target_config.as_ref(), ClusterName::Target)?;
        let flags = Draft {
            source: self.source,
            target: self.target,
            cores: self.cores,
            mover: self.mover,
            buffer_bytes: self.buffer_bytes,
            replication_factor: self.replication_factor,
            ..Draft::default()
        };
        let draft = flags.or(source).or(target).or(file);
        let clusters = match (&draft.source, &draft.target) {
            (None, None) => None,
            (Some(_), None) => {
                return Err(ConfigError(
                    "--source without --target: add --target HOST:PORT, or leave out both for two synthetic clusters".into(),
                ));
            }
            (None, Some(_)) => {
                return Err(ConfigError(
                    "--target without --source: add --source HOST:PORT, or leave out both for two synthetic clusters".into(),
                ));
            }
            (Some(_), Some(_)) => Some((draft.source_cluster()?, draft.target_cluster()?)),
        };
        let replay = match &self.shape {
            Some(path) => Some(Arc::new(read_file(path).map_err(ConfigError)?)),
            None => None,
        };
        let shape = Shape {
            sizes: self.record_bytes.unwrap_or(Sizes::Fixed(1024)),
            keys: Keys::Unique,
            ..Shape::plain(
                self.batch_bytes.unwrap_or(64 << 10).max(1),
                1,
                self.codec.unwrap_or(Codec::None),
                usize::from(self.random_percent.unwrap_or(50)),
            )
        };
        match shape.sizes {
            Sizes::Fixed(0) => return Err(ConfigError("--record-bytes must not be 0".into())),
            Sizes::Fixed(bytes) if bytes > shape.batch_bytes => {
                return Err(ConfigError(format!(
                    "a record of {bytes} bytes does not fit into a batch of {}; raise --batch-bytes",
                    shape.batch_bytes
                )));
            }
            _ if shape.batch_bytes > 16 << 20 => {
                return Err(ConfigError("--batch-bytes must be 16MiB or less".into()));
            }
            _ => {}
        }
        if let (Some(from), Some(up_to)) = (self.from, self.up_to)
            && from > up_to
        {
            return Err(ConfigError("--from is more than --up-to, so there is no rate to try".into()));
        }
        let settings = Settings {
            slo: self.slo,
            clusters,
            replication_factor: draft.replication_factor,
            draft,
            shape,
            replay,
            partitions: self.partitions.unwrap_or(8),
            arrivals: self.arrivals.unwrap_or_default(),
            from: self.from,
            up_to: self.up_to,
            step_us: self.step,
            warmup_us: self.warmup,
            check_us: self.check,
            want: self.want,
            keep: self.keep,
        };
        Ok((settings, self.json))
    }
}

/// `50MB/s`
fn byte_rate(text: &str) -> Result<f64, String> {
    let wrong = || format!("`{text}` is not a rate; expected bytes a second: 500kB/s, 50MB/s, 2GB/s");
    let rate = text::bytes(text.trim().strip_suffix("/s").ok_or_else(wrong)?).map_err(|_| wrong())?;
    if rate == 0 { Err(wrong()) } else { Ok(rate as f64) }
}

fn duration_or_0(text: &str) -> Result<u64, String> {
    if text.trim() == "0" { Ok(0) } else { text::duration_us(text) }
}

const AFTER_HELP: &str = "\
Mirrors between the clusters, sends a load to the source and reads it back from the target, every batch checked. The rate is doubled
while the promise is kept, then the knee is searched between the last that held and the first that did not; a rate counts as failed
when it fails twice. The load is an open loop: what is due does not wait for anybody. On clusters of your own the topics
twinlog-capacity-… are made, and deleted at the end (on both, with the link's __twinlog.twinlog-capacity-…); nothing else is
touched, but they get as much load as they can take: see --up-to.

What limits is the sign that is nearest to its bound at the lowest rate that failed:
  CPU of the mirror    its busiest core works for 85 % of the time or more
  this machine's cores none is idle for 5 % of the time and the mirror waits for its own, which comes before all others
  source, target       a broker's answers (to the load, to a small probe) take half of the promised time; synthetic ones:
                       busy threads
  window, buffers      a full fetch is always under way; the buffers are full
  round trips          the network's ways alone take the promised time
  load generator       its threads are at their end: then the mirror may be able to do more, and that is said

The rate of a core is the one found, if the mirror's CPU was the limit; otherwise it is concluded from how busy its cores were, to
70 %. The plan scales cores, connections and buffers by that.

Examples:
  twinlog capacity --slo p99=50ms                                                    # on this machine, nothing else needed
  twinlog capacity --slo p99=50ms --source east:9092 --target west:9092 --want 2GB/s
  twinlog capacity --slo p99=20ms,max=1s --shape orders.shape --check 0 --json capacity.json
  twinlog capacity --slo p99=50ms --record-bytes 200 --batch-bytes 16KiB --codec lz4 --partitions 100

Exit codes: 0 a rate was found and the check held; 1 no rate holds, the check did not, or something failed; 2 wrong usage;
130 stopped by Ctrl-C: what was found until then is printed, marked as partial, and the topics are deleted.";

#[cfg(test)]
mod tests {
    use super::super::{Cli, Command};
    use super::*;
    use clap::Parser;

    fn settings(line: &str) -> Result<Settings, String> {
        let line = format!("twinlog capacity {line}");
        let cli = Cli::try_parse_from(line.split_whitespace()).map_err(|error| error.to_string())?;
        let Command::Capacity(args) = cli.command else { panic!("not a capacity") };
        args.settings().map(|(settings, _)| settings).map_err(|error| error.0)
    }

    #[test]
    fn flags_become_settings_and_mistakes_are_named() {
        let all = settings(
            "--slo p99=50ms --source a:1 --target b:1 --want 2GB/s --record-size 200 --codec lz4 --partitions 5 --cores 0,1 \
             --mover splice --from 2MB/s --up-to 1GB/s --step 1s --check 0 --keep",
        )
        .unwrap();
        assert_eq!((all.want, all.from, all.up_to, all.check_us), (Some(2e9), Some(2e6), Some(1e9), 0));
        assert_eq!((all.partitions, all.shape.codec, all.shape.sizes), (5, Codec::Lz4, Sizes::Fixed(200)));
        assert_eq!((all.draft.cores, all.draft.mover), (Some(vec![0, 1]), Some(Mover::Splice)));
        assert!(all.keep && all.clusters.is_some());
        let plain = settings("--slo p99=50ms").unwrap();
        assert_eq!((plain.clusters, plain.check_us, plain.step_us), (None, 60_000_000, 5_000_000));
        for (line, word) in [
            ("", "--slo"),
            ("--slo p99", "p99=50ms"),
            ("--slo p99=1ms --source a:1", "--target"),
            ("--slo p99=1ms --target a:1", "--source"),
            ("--slo p99=1ms --want 5", "not a rate"),
            ("--slo p99=1ms --from 5MB/s --up-to 1MB/s", "--up-to"),
            ("--slo p99=1ms --record-bytes 1MiB", "--batch-bytes"),
            ("--slo p99=1ms --shape f --codec lz4", "cannot be used"),
            ("--slo p99=1ms --shape no-such-file", "no-such-file"),
        ] {
            let problem = settings(line).unwrap_err();
            assert!(problem.contains(word), "{line}: {problem}");
        }
    }
}
