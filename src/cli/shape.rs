//! `twinlog shape`.

use super::link::{cluster, config_file};
use super::{Addresses, Patterns, some_of};
use clap::{Args, Subcommand};
use std::path::PathBuf;
use std::time::Duration;
use twinlog::config::{ClusterName, ConfigError, Draft, text};
use twinlog::edge::shape::{Settings, Span};

#[derive(Debug, Args)]
pub struct ShapeArgs {
    #[command(subcommand)]
    pub command: ShapeCommand,
}

#[derive(Debug, Subcommand)]
pub enum ShapeCommand {
    /// Look at the batches of some topics, and keep when they came, their sizes, codecs and numbers of records
    Capture(Box<CaptureArgs>),
    /// Say what a captured shape is like
    Show(ShowArgs),
    /// Compare two shapes
    Diff(DiffArgs),
}

#[derive(Debug, Args)]
#[command(after_help = CAPTURE_AFTER_HELP)]
pub struct CaptureArgs {
    /// Cluster to look at: some of its brokers
    #[arg(long, value_name = "HOST:PORT[,…]", value_parser = text::addresses)]
    source: Option<Addresses>,

    /// File with Kafka's client settings for the cluster (security.protocol, ssl.*, sasl.*, bootstrap.servers)
    #[arg(long, value_name = "FILE")]
    source_config: Option<PathBuf>,

    /// File whose [source] says the same
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Topics: regular expressions that match the whole name; may be given again
    #[arg(long, value_name = "REGEX[,…]", value_parser = text::patterns, required = true)]
    topics: Vec<Patterns>,

    /// Topics to leave out, though --topics matches them
    #[arg(long, value_name = "REGEX[,…]", value_parser = text::patterns)]
    exclude: Vec<Patterns>,

    /// Look at what comes from now on, for so long (60s, 10m, 1h) [default: 60s]
    #[arg(long, value_name = "TIME", value_parser = text::duration_us, conflicts_with = "last")]
    duration: Option<u64>,

    /// Look at what is there already: batches dated in the last so long (10m, 24h)
    #[arg(long, value_name = "TIME", value_parser = text::duration_us)]
    last: Option<u64>,

    /// End with batches of so many bytes [default: no bound but that of 1,000,000 batches]
    #[arg(long, value_name = "SIZE", value_parser = text::bytes)]
    max_bytes: Option<u64>,

    /// File to write; compressed with zstd if its name ends in .zst
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
}

impl CaptureArgs {
    /// Reads the files that are named.
    pub fn settings(self) -> Result<(Settings, PathBuf), ConfigError> {
        let file = config_file(self.config.as_ref())?;
        let source = cluster(self.source_config.as_ref(), ClusterName::Source)?;
        let draft = Draft { source: self.source, ..Draft::default() }.or(source).or(file);
        let span = match (self.duration, self.last) {
            (_, Some(us)) => Span::Last { ms: us.div_ceil(1000) },
            (us, None) => Span::Next { us: us.unwrap_or(60_000_000) },
        };
        let settings = Settings {
            cluster: draft.source_cluster()?,
            topics: some_of(self.topics).unwrap_or_default(),
            exclude: some_of(self.exclude).unwrap_or_default(),
            span,
            bytes_max: self.max_bytes.unwrap_or(u64::MAX),
            client_id: draft.client_id.unwrap_or_else(|| "twinlog-shape".into()),
            timeout: Duration::from_millis(draft.request_timeout_ms.unwrap_or(10_000)),
        };
        Ok((settings, self.out))
    }
}

#[derive(Debug, Args)]
pub struct ShowArgs {
    /// A file that `twinlog shape capture` wrote
    pub file: PathBuf,

    /// Print it as one JSON object
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = DIFF_AFTER_HELP)]
pub struct DiffArgs {
    /// The shape to compare with
    pub first: PathBuf,

    /// The other one
    pub second: PathBuf,

    /// The second is meant to be so many times as fast as the first
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0, value_parser = speed)]
    pub speed: f64,

    /// What may differ, in percent
    #[arg(long, value_name = "PERCENT", default_value_t = 2.0)]
    pub tolerance: f64,

    /// Print it as one JSON object
    #[arg(long)]
    pub json: bool,
}

pub(super) fn speed(text: &str) -> Result<f64, String> {
    let factor =
        text.trim_end_matches(['x', '×']).parse().ok().filter(|factor| (0.001..=1000.0).contains(factor));
    factor.ok_or_else(|| format!("`{text}` is no factor from 0.001 to 1000"))
}

const CAPTURE_AFTER_HELP: &str = "\
Only the headers of batches are looked at: payloads are dropped in the kernel without being read (with TLS, after decryption), and
no key, value or record header gets into the file. It is lines of JSON: a head with the topics' names and partitions, then one line
for each batch: µs since the one before, partition, bytes, records, codec. About 20 bytes a batch, a third of that as .zst.

Of what comes from now on, the time is that of its arrival here. Of what is there already, it is the batch's latest timestamp, in
whole ms: when it was sent, or appended, whichever the topic has.

Examples:
  twinlog shape capture --source east:9092 --topics 'orders|clicks' --out busy-minute.shape.zst
  twinlog shape capture --source-config east.properties --topics orders --last 10m --max-bytes 2GB --out orders.shape
  twinlog shape show orders.shape
  twinlog load --target west:9092 --topic t --create --shape orders.shape --speed 4     # the same, four times as fast
  twinlog capacity --shape orders.shape --slo p99=50ms                                  # what does a mirror need for it?

Exit codes: 0 done, 1 failed, or there was not a single batch; 2 wrong usage; 130 stopped by Ctrl-C: what was seen until then is in
the file.";

const DIFF_AFTER_HELP: &str = "\
Compares counts, rates, sizes, numbers of records, codecs, the spread over partitions, and when the bytes came. Exit code 1 if
something differs by more than --tolerance.

Example: is a replay what it should be?
  twinlog load --target west:9092 --topic t --create --shape orders.shape --speed 4
  twinlog shape capture --source west:9092 --topics t --last 10m --out replay.shape
  twinlog shape diff orders.shape replay.shape --speed 4";

#[cfg(test)]
mod tests {
    use super::super::{Cli, Command};
    use super::*;
    use clap::Parser;

    fn capture(line: &str) -> Result<(Settings, PathBuf), String> {
        let line = format!("twinlog shape capture {line}");
        let cli = Cli::try_parse_from(line.split_whitespace()).map_err(|error| error.to_string())?;
        let Command::Shape(ShapeArgs { command: ShapeCommand::Capture(args) }) = cli.command else {
            panic!("not a capture")
        };
        args.settings().map_err(|error| error.0)
    }

    #[test]
    fn flags_become_settings_and_mistakes_are_named() {
        let (settings, out) = capture("--source a:1 --topics x,y --last 10m --out f.shape").unwrap();
        assert_eq!((settings.topics.len(), settings.span), (2, Span::Last { ms: 600_000 }));
        assert_eq!(out, PathBuf::from("f.shape"));
        let (settings, _) = capture("--source a:1 --topics x --out f --max-bytes 1MB").unwrap();
        assert_eq!((settings.bytes_max, settings.span), (1_000_000, Span::Next { us: 60_000_000 }));
        for (line, word) in [
            ("--topics x --out f", "--source"),
            ("--source a:1 --out f", "--topics"),
            ("--source a:1 --topics x", "--out"),
            ("--source a:1 --topics x --out f --last 10m --duration 5s", "cannot be used"),
            ("--source a:1 --topics x --out f --last 10", "unit"),
        ] {
            let problem = capture(line).unwrap_err();
            assert!(problem.contains(word), "{line}: {problem}");
        }
        assert_eq!((speed("4"), speed("0.5x")), (Ok(4.0), Ok(0.5)));
        assert!(speed("0").is_err() && speed("fast").is_err());
    }
}
