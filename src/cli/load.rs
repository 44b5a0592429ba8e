//! `twinlog load`.

use super::perf_test::PerfArgs;
use super::shape::speed;
use super::{Addresses, link};
use clap::Args;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use twinlog::config::{ClusterName, ConfigError, Draft, text};
use twinlog::edge::clock;
use twinlog::edge::load::{Again, Create, Offer, Settings, Timestamps, Transactional};
use twinlog::edge::shape::read_file;
use twinlog::load::{Codec, Headers, KeyDistributor, Keys, Pattern, Shape, Sizes, Values, Workload};

#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct LoadArgs {
    /// Cluster to send to: some of its brokers
    #[arg(long, value_name = "HOST:PORT[,…]", value_parser = text::addresses, help_heading = "Where to")]
    target: Option<Addresses>,

    /// File with Kafka's client settings for the cluster (security.protocol, ssl.*, sasl.*, bootstrap.servers)
    #[arg(long, value_name = "FILE", conflicts_with = "perf_test", help_heading = "Where to")]
    target_config: Option<PathBuf>,

    /// File whose [target] says the same
    #[arg(long, value_name = "FILE", conflicts_with = "perf_test", help_heading = "Where to")]
    config: Option<PathBuf>,

    /// Topic to send to [default with --workload: twinlog-load]
    #[arg(long, value_name = "TOPIC", required_unless_present = "workload", help_heading = "Where to")]
    topic: Option<String>,

    /// So many topics, named TOPIC-0, TOPIC-1 and so on
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000), conflicts_with = "perf_test",
          help_heading = "Where to")]
    topics: Option<u32>,

    /// Create what is missing of the topics
    #[arg(long, conflicts_with = "perf_test", help_heading = "Where to")]
    create: bool,

    /// Partitions of topics that are created [default: 8]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..=100_000), requires = "create",
          help_heading = "Where to")]
    partitions: Option<i32>,

    /// Replication factor of topics that are created [default: the cluster's]
    #[arg(long, value_name = "N", value_parser = text::replication_factor, requires = "create", help_heading = "Where to")]
    replication_factor: Option<i16>,

    /// Setting of topics that are created; may be given again
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value, requires = "create", help_heading = "Where to")]
    topic_config: Vec<(String, String)>,

    /// How much: 10000 is records a second, 50MB/s bytes of batches; several, one after the other: 1000,2000,4000 (see --step)
    /// [default: as much as is taken]
    #[arg(long, value_name = "RATE[,…]", value_parser = rates, allow_negative_numbers = true, conflicts_with = "perf_test",
          help_heading = "When")]
    rate: Option<Rates>,

    /// How long each of several rates holds [default: 10]
    #[arg(long, value_name = "SECONDS", value_parser = seconds, requires = "rate", help_heading = "When")]
    step: Option<f64>,

    /// How batches lie around the rate: constant; poisson (at random); burst:ON/PERIOD in ms (burst:100/1000: a second's in its
    /// first 100 ms) [default: constant]
    #[arg(long, value_name = "PATTERN", requires = "rate", help_heading = "When")]
    arrivals: Option<Pattern>,

    /// Send what `twinlog shape capture` saw, instead of a rate and a made-up shape: batches of the same sizes, codecs and numbers
    /// of records, to the same partitions, when they came. Over, it begins anew, until --seconds are over [default: once,
    /// all of it, however late]
    #[arg(long, value_name = "FILE",
          conflicts_with_all = ["perf_test", "rate", "records", "workload", "record_bytes", "batch_bytes", "codec",
                                "random_percent", "keys", "headers", "topics", "partitions"],
          help_heading = "When")]
    shape: Option<PathBuf>,

    /// So many times as fast as it came: 4, 0.5 [default: 1]
    #[arg(long, value_name = "FACTOR", value_parser = speed, requires = "shape", help_heading = "When")]
    speed: Option<f64>,

    /// How long to send [default: 30, or until --records are sent, or every step is over]
    #[arg(long, value_name = "SECONDS", value_parser = seconds, conflicts_with = "perf_test", help_heading = "When")]
    seconds: Option<f64>,

    /// How many records to send; with --seconds, whichever is reached first
    #[arg(long, value_name = "N", value_parser = count, conflicts_with = "perf_test", help_heading = "When")]
    records: Option<u64>,

    /// Send so long before measuring begins [default: 0]
    #[arg(long, value_name = "SECONDS", value_parser = seconds, conflicts_with = "perf_test", help_heading = "When")]
    warmup: Option<f64>,

    /// Size of a record's value: 1KiB, uniform:100..2KiB, lognormal:MEAN[,SIGMA], or sizes and weights: 100*7,1KiB*2,64KiB*1
    /// [default: 1KiB]
    #[arg(long, value_name = "SIZES", conflicts_with = "perf_test", help_heading = "What")]
    record_bytes: Option<Sizes>,

    /// Size of a batch before compression; it is sent full [default: 64KiB]
    #[arg(long, value_name = "SIZE", value_parser = text::memory_bytes, conflicts_with = "perf_test", help_heading = "What")]
    batch_bytes: Option<usize>,

    /// Compression: none, gzip, snappy, lz4 or zstd [default: none]
    #[arg(long, value_name = "CODEC", conflicts_with = "perf_test", help_heading = "What")]
    codec: Option<Codec>,

    /// Share of each record that is random and so hardly shrinks, in percent [default: 50]
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(0..=100), conflicts_with = "perf_test",
          help_heading = "What")]
    random_percent: Option<u8>,

    /// Keys: none; unique (one each); uniform:N (N keys, all as frequent); zipf:N[,EXPONENT] (a few very frequent). Counted keys
    /// go to the partitions that Kafka's clients choose, the others take turns [default: unique]
    #[arg(long, value_name = "KEYS", conflicts_with = "perf_test", help_heading = "What")]
    keys: Option<Keys>,

    /// Headers of each record, and the size of their values: 3 or 3x16 [default: 0]
    #[arg(long, value_name = "COUNT[xBYTES]", conflicts_with = "perf_test", help_heading = "What")]
    headers: Option<Headers>,

    /// Seed of everything that is left to chance [default: 0]
    #[arg(long, value_name = "N", conflicts_with = "perf_test", help_heading = "What")]
    seed: Option<u64>,

    /// Dates of the records: sequence (from a minute ago, one ms more from batch to batch, so that the batch's number can be told
    /// from it), or now [default: sequence]
    #[arg(long, value_name = "DATES", value_parser = timestamps, conflicts_with_all = ["perf_test", "check"],
          help_heading = "What")]
    timestamps: Option<Timestamps>,

    /// Who must have a batch before it is acknowledged: all (replicas in sync), 1 (the leader), 0 (nobody answers) [default: all]
    #[arg(long, value_name = "ACKS", value_parser = acks, conflicts_with = "perf_test", help_heading = "How")]
    acks: Option<i16>,

    /// Send in transactions over all partitions, each open for so long, ms. One ends when all of it is acknowledged, and what is
    /// due meanwhile waits
    #[arg(long, value_name = "MS", value_parser = open_ms, conflicts_with_all = ["perf_test", "acks"],
          help_heading = "How")]
    transactions: Option<u64>,

    /// So many of a hundred transactions are aborted [default: 0]
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(0..=100), requires = "transactions",
          help_heading = "How")]
    aborted_percent: Option<u8>,

    /// Transactional id; whoever has it already is shut out [default: twinlog-load- and something different every time]
    #[arg(long, value_name = "ID", help_heading = "How")]
    transactional_id: Option<String>,

    /// Requests to each broker that may be unanswered [default: 5, one producer's; 100 with --shape, which stands for many]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000), conflicts_with = "perf_test",
          help_heading = "How")]
    in_flight: Option<u16>,

    /// Batches for several partitions go in one request up to this size [default: 1MiB]
    #[arg(long, value_name = "SIZE", value_parser = text::memory_bytes, conflicts_with = "perf_test", help_heading = "How")]
    request_bytes: Option<usize>,

    /// A request unanswered for this long counts as failed, ms [default: 30000]
    #[arg(long, value_name = "MS", value_parser = text::milliseconds, conflicts_with = "perf_test", help_heading = "How")]
    request_timeout_ms: Option<u64>,

    /// Name towards the brokers, for their logs and quotas [default: twinlog-load]
    #[arg(long, value_name = "NAME", value_parser = text::client_id, conflicts_with = "perf_test", help_heading = "How")]
    client_id: Option<String>,

    /// Read everything back while it is sent: every batch is checked, and its way to a consumer timed. Nobody else may write to the
    /// topic meanwhile
    #[arg(long, conflicts_with = "perf_test", help_heading = "How")]
    check: bool,

    /// Workload file of OpenMessaging Benchmark; flags override it
    #[arg(long, value_name = "FILE.yaml", conflicts_with = "perf_test", help_heading = "Files")]
    workload: Option<PathBuf>,

    /// Write the results to this file too, in the shape of OpenMessaging Benchmark's result files
    #[arg(long, value_name = "FILE", help_heading = "Files")]
    json: Option<PathBuf>,

    /// Write a histogram log (HdrHistogram's, base64) with a line for each second; values in ns
    #[arg(long, value_name = "FILE", help_heading = "Files")]
    hlog: Option<PathBuf>,

    #[command(flatten)]
    perf: PerfArgs,
}

/// What to do, and what to do with what comes of it.
pub struct LoadPlan {
    pub settings: Settings,
    pub json: Option<PathBuf>,
    /// What the load is called in the results.
    pub name: String,
    /// Print what kafka-producer-perf-test prints.
    pub perf: Option<PerfOutput>,
    /// What was asked for and has no effect.
    pub notes: Vec<String>,
}

pub struct PerfOutput {
    pub warmup_records: u64,
    pub reporting_ms: u64,
    pub print_metrics: bool,
}

// The command-line library takes a bare `Vec` for an argument that may be given again.
type Rates = Vec<Offer>;

const DEFAULT_SECONDS: f64 = 30.0;
const TICK_US: u64 = 1_000_000;

impl LoadArgs {
    /// Reads the files that are named.
    pub fn plan(mut self) -> Result<LoadPlan, ConfigError> {
        if self.perf.perf_test {
            let topic = self.topic.take().unwrap_or_default();
            let perf = std::mem::take(&mut self.perf);
            let mut plan = perf.plan(topic, self.target.take(), self.transactional_id.take())?;
            plan.json = self.json;
            plan.settings.hlog = self.hlog;
            return Ok(plan);
        }
        let workload = match &self.workload {
            Some(path) => Workload::from_yaml(&path.display().to_string(), &content(path)?)?,
            None => Workload::default(),
        };
        let target = self.cluster()?.target_cluster()?;
        let replay = self.replay()?;
        let name = workload.name.clone().unwrap_or_else(|| "twinlog load".into());
        let notes = workload.notes.iter().map(|note| format!("the workload's {note}")).collect();
        let shape = self.shape(&workload)?;
        let rates = match (self.rate.take(), workload.producer_rate) {
            (Some(rates), _) => rates,
            (None, Some(rate)) if rate > 0 => vec![Offer::RecordsPerSecond(rate as f64)],
            (None, _) => Vec::new(),
        };
        let step_us = us(self.step.unwrap_or(10.0));
        if rates.len() > 1 && self.warmup.is_some_and(|warmup| warmup > 0.0) {
            return Err(ConfigError(
                "--warmup does not go with several rates; the first one can be the warm-up".into(),
            ));
        }
        let minutes = workload.test_minutes.map(|minutes| minutes as f64 * 60.0);
        let steps = (rates.len() > 1).then_some(step_us as f64 / 1e6 * rates.len() as f64);
        let in_flight = if replay.is_some() { 100 } else { 5 };
        let once = replay.as_ref().map(|again| again.captured.head.us as f64 / 1e6 / again.speed);
        let duration = match (self.seconds.or(steps).or(minutes).or(once), self.records) {
            (None, None) => Some(DEFAULT_SECONDS),
            (seconds, _) => seconds,
        };
        let warmup = self.warmup.or(workload.warmup_minutes.map(|minutes| minutes as f64 * 60.0));
        let reads = workload.subscriptions_per_topic.unwrap_or(0)
            * workload.consumers_per_subscription.unwrap_or(0)
            > 0;
        let transactions = self.transactional()?;
        let settings = Settings {
            target,
            read_from: None,
            transactions,
            create: self.create(&workload, replay.as_ref()),
            topics: self.topics(&workload, replay.as_ref()),
            shape,
            check: self.check || (reads && self.timestamps != Some(Timestamps::Now)),
            timestamps: match self.timestamps {
                Some(timestamps) => timestamps,
                // So that it can be captured by its timestamps again.
                None if replay.is_some() && !self.check => Timestamps::Now,
                None => Timestamps::Sequence,
            },
            replay,
            rates,
            step_us,
            pattern: self.arrivals.unwrap_or_default(),
            records: self.records,
            duration_us: duration.map(us),
            warmup_us: us(warmup.unwrap_or(0.0)),
            acks: self.acks.unwrap_or(-1),
            in_flight_max: usize::from(self.in_flight.unwrap_or(in_flight)),
            request_bytes_max: self.request_bytes.unwrap_or(1 << 20),
            request_timeout_ms: self.request_timeout_ms.unwrap_or(30_000),
            client_id: self.client_id.unwrap_or_else(|| "twinlog-load".into()),
            tick_us: TICK_US,
            hlog: self.hlog,
        };
        Ok(LoadPlan { settings, json: self.json, name, perf: None, notes })
    }

    /// The flags over the cluster's file over the config file.
    fn cluster(&self) -> Result<Draft, ConfigError> {
        let file = link::config_file(self.config.as_ref())?;
        let target = link::cluster(self.target_config.as_ref(), ClusterName::Target)?;
        Ok(Draft { target: self.target.clone(), ..Draft::default() }.or(target).or(file))
    }

    fn transactional(&mut self) -> Result<Option<Transactional>, ConfigError> {
        let Some(open_ms) = self.transactions else {
            return match self.transactional_id {
                Some(_) => {
                    Err(ConfigError("--transactional-id is for --transactions, which is missing".into()))
                }
                None => Ok(None),
            };
        };
        Ok(Some(Transactional {
            transactional_id: self.transactional_id.take().unwrap_or_else(|| unique("twinlog-load-")),
            open_us: open_ms * 1000,
            aborted_percent: self.aborted_percent.unwrap_or(0),
        }))
    }

    /// A shape that is sent again.
    fn replay(&self) -> Result<Option<Again>, ConfigError> {
        let Some(path) = &self.shape else { return Ok(None) };
        let captured = read_file(path).map_err(ConfigError)?;
        let whole = self.seconds.is_none();
        Ok(Some(Again { captured: Arc::new(captured), speed: self.speed.unwrap_or(1.0), whole }))
    }

    fn topics(&self, workload: &Workload, replay: Option<&Again>) -> Vec<String> {
        let topic = self.topic.clone().unwrap_or_else(|| "twinlog-load".into());
        let of_shape = replay.map(|again| again.captured.head.topics.len() as u32);
        match self.topics.or(workload.topics).or(of_shape).unwrap_or(1) {
            1 if self.topics.is_none() => vec![topic],
            count => (0..count).map(|number| format!("{topic}-{number}")).collect(),
        }
    }

    /// A workload makes its topics itself.
    fn create(&self, workload: &Workload, replay: Option<&Again>) -> Option<Create> {
        let of_workload = workload.partitions_per_topic.and_then(|count| i32::try_from(count).ok());
        let of_shape = replay.and_then(|again| i32::try_from(again.captured.partitions_max()).ok());
        let create = Create {
            partitions: self.partitions.or(of_workload).or(of_shape).unwrap_or(8),
            replication_factor: self.replication_factor.unwrap_or(-1),
            configs: self.topic_config.iter().cloned().collect::<BTreeMap<_, _>>(),
        };
        (self.create || of_workload.is_some()).then_some(create)
    }

    fn shape(&self, workload: &Workload) -> Result<Shape, ConfigError> {
        let random_percent = usize::from(self.random_percent.unwrap_or(50));
        let file = workload.payload_file.as_ref().filter(|_| !workload.has_random_payloads);
        let values = match (file, workload.has_random_payloads) {
            _ if self.random_percent.is_some() => Values::Json { random_percent },
            (Some(file), _) => Values::Pool(vec![self.payload(file)?.into()]),
            (None, true) => {
                Values::RandomAndZeros { random_ratio: workload.random_bytes_ratio.unwrap_or(0.0) }
            }
            (None, false) => Values::Json { random_percent },
        };
        let sizes = match (&self.record_bytes, workload.message_bytes) {
            (Some(sizes), _) => sizes.clone(),
            (None, Some(bytes)) => Sizes::Fixed(bytes),
            (None, None) => Sizes::Fixed(1024),
        };
        let keys = match workload.key_distributor {
            KeyDistributor::NoKey if self.workload.is_some() => Keys::None,
            KeyDistributor::NoKey => Keys::Unique,
            // Its clients have 10,000 keys in both cases.
            KeyDistributor::RoundRobin | KeyDistributor::RandomNano => Keys::Uniform(10_000),
        };
        let shape = Shape {
            batch_bytes: self.batch_bytes.unwrap_or(64 << 10).max(1),
            batch_records_max: u32::MAX,
            sizes,
            values,
            keys: self.keys.clone().unwrap_or(keys),
            headers: self.headers.unwrap_or_default(),
            codec: self.codec.unwrap_or(Codec::None),
            seed: self.seed.unwrap_or(0),
        };
        match shape.sizes {
            Sizes::Fixed(0) => Err(ConfigError("--record-bytes must not be 0".into())),
            Sizes::Fixed(bytes) if bytes > shape.batch_bytes => Err(ConfigError(format!(
                "a record of {bytes} bytes does not fit into a batch of {}; raise --batch-bytes",
                shape.batch_bytes
            ))),
            _ if shape.batch_bytes > 16 << 20 => {
                Err(ConfigError("--batch-bytes must be 16MiB or less".into()))
            }
            _ => Ok(shape),
        }
    }

    /// The payload of a workload: its path counts from here, or from where the workload file is or a folder above it.
    fn payload(&self, file: &str) -> Result<Vec<u8>, ConfigError> {
        let folders = self.workload.as_deref().map(Path::ancestors).into_iter().flatten().skip(1);
        let candidates = std::iter::once(PathBuf::from(file)).chain(folders.map(|folder| folder.join(file)));
        let found = candidates.into_iter().find_map(|path| std::fs::read(path).ok());
        found.ok_or_else(|| ConfigError(format!("cannot read the workload's payloadFile {file}")))
    }
}

pub(super) fn content(path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path)
        .map_err(|error| ConfigError(format!("cannot read {}: {error}", path.display())))
}

/// How long a transaction is open. In no time nothing could be sent.
pub(super) fn open_ms(text: &str) -> Result<u64, String> {
    match text::milliseconds(text)? {
        0 => Err("a transaction must be open for 1 ms or longer".into()),
        ms => Ok(ms),
    }
}

/// A transactional id that nobody else has.
pub(super) fn unique(prefix: &str) -> String {
    format!("{prefix}{}-{}", std::process::id(), clock::now().wall_ms)
}

fn us(seconds: f64) -> u64 {
    (seconds * 1e6) as u64
}

fn seconds(text: &str) -> Result<f64, String> {
    let seconds = text.parse().ok().filter(|seconds| (0.0..=1e8).contains(seconds));
    seconds.ok_or_else(|| format!("`{text}` is not a number of seconds"))
}

fn count(text: &str) -> Result<u64, String> {
    let count = text.replace('_', "").parse().ok().filter(|count| *count > 0);
    count.ok_or_else(|| format!("`{text}` is not a number of records (1 or more)"))
}

fn rates(text: &str) -> Result<Rates, String> {
    let rates = text.split(',').map(|part| {
        let part = part.trim();
        let (offer, rate) = match part.strip_suffix("/s") {
            Some(bytes) => {
                let rate = text::bytes(bytes)? as f64;
                (Offer::BytesPerSecond(rate), rate)
            }
            None => {
                let rate = part.replace('_', "").parse().unwrap_or(f64::NAN);
                (Offer::RecordsPerSecond(rate), rate)
            }
        };
        if rate > 0.0 && rate <= 1e12 {
            Ok(offer)
        } else {
            Err(format!(
                "`{part}` is not a rate; expected records a second (10000) or bytes (50MB/s), more than 0"
            ))
        }
    });
    let rates: Rates = rates.collect::<Result<_, String>>()?;
    if rates.len() > 100 { Err("more than 100 rates".into()) } else { Ok(rates) }
}

pub(super) fn acks(text: &str) -> Result<i16, String> {
    match text {
        "all" | "-1" => Ok(-1),
        "1" => Ok(1),
        "0" => Ok(0),
        _ => Err(format!("`{text}` is none of: all, 1, 0")),
    }
}

fn timestamps(text: &str) -> Result<Timestamps, String> {
    match text {
        "sequence" => Ok(Timestamps::Sequence),
        "now" => Ok(Timestamps::Now),
        _ => Err(format!("`{text}` is none of: sequence, now")),
    }
}

pub(super) fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => Ok((key.trim().to_owned(), value.trim().to_owned())),
        _ => Err(format!("`{text}` is not KEY=VALUE")),
    }
}

const AFTER_HELP: &str = "\
Examples:
  twinlog load --target west:9092 --topic t --create                      # half a minute, as much as is taken
  twinlog load --target west:9092 --topic t --rate 50MB/s --check         # at a rate; every batch read back and checked
  twinlog load … --rate 10000,20000,40000,80000 --step 20                 # where does latency go up?
  twinlog load … --rate 5000 --arrivals burst:100/1000 --record-bytes lognormal:800,1.2 --keys zipf:100000,1.1 --codec lz4
  twinlog load … --rate 20MB/s --seconds 300 --json result.json --hlog latency.hlog
  twinlog load … --rate 5000 --transactions 500 --aborted-percent 10      # what does a mirror make of them?
  twinlog load --target west:9092 --topic t --create --shape orders.shape --speed 4     # see twinlog shape capture --help
  twinlog load --target west:9092 --workload 1-topic-16-partitions-1kb.yaml
  twinlog load --perf-test --topic t --num-records 1000000 --record-size 100 --throughput -1 \\
               --producer-props bootstrap.servers=west:9092 acks=all

What is due is set beforehand and does not wait for the brokers. Latency counts from the moment a batch was meant to be sent;
beside it stands what most tools show, from the moment it was sent in fact. A rate that is out of reach shows: in what was
achieved, in what was due and never sent, and in the latency of what had to wait. Batches are encoded once, before the start, and
failed ones are counted, not sent again; a failure in a transaction ends the load. Records are counted in latencies, not batches.

Exit codes: 0 done; 1 failed, or something was refused, lost or changed; 2 wrong usage; 130 stopped by Ctrl-C, with the results
so far, which are marked as partial.";

#[cfg(test)]
mod tests {
    use super::super::{Cli, Command};
    use super::*;
    use clap::Parser;

    fn plan(line: &str) -> Result<LoadPlan, ConfigError> {
        let line = format!("twinlog load {line}");
        let Command::Load(args) = Cli::try_parse_from(line.split_whitespace()).unwrap().command else {
            panic!("not a load")
        };
        args.plan()
    }

    fn refused(line: &str) -> String {
        let line = format!("twinlog load {line}");
        Cli::try_parse_from(line.split_whitespace()).unwrap_err().to_string()
    }

    #[test]
    fn flags_become_settings() {
        let LoadPlan { settings, .. } = plan(
            "--target a:1 --topic t --create --partitions 3 --topic-config retention.ms=1000 --rate 1000,5MB/s --step 2 \
             --arrivals burst:100/1000 --record-bytes uniform:10..20 --keys zipf:100 --codec lz4 --acks 1 --seed 7 --check",
        )
        .unwrap();
        assert_eq!(settings.topics, ["t"]);
        let create = settings.create.unwrap();
        assert_eq!((create.partitions, create.replication_factor), (3, -1));
        assert_eq!(create.configs["retention.ms"], "1000");
        assert_eq!(settings.rates, [Offer::RecordsPerSecond(1000.0), Offer::BytesPerSecond(5e6)]);
        assert_eq!((settings.step_us, settings.duration_us), (2_000_000, Some(4_000_000)));
        assert_eq!(settings.pattern, Pattern::Burst { on_us: 100_000, period_us: 1_000_000 });
        assert_eq!(settings.shape.sizes, Sizes::Uniform(10, 20));
        assert_eq!((settings.shape.codec, settings.shape.seed, settings.acks), (Codec::Lz4, 7, 1));
        assert!(settings.check);
        let plain = plan("--target a:1 --topic t").unwrap().settings;
        assert_eq!((plain.rates.len(), plain.duration_us, plain.records), (0, Some(30_000_000), None));
        let counted = plan("--target a:1 --topic t --records 200_000").unwrap().settings;
        assert_eq!((counted.duration_us, counted.records), (None, Some(200_000)));
    }

    #[test]
    fn mistakes_are_named() {
        for (line, word) in [
            ("--target a:1", "--topic"),
            ("--target a:1 --topic t --rate 0", "is not a rate"),
            ("--target a:1 --topic t --rate 5MB", "is not a rate"),
            ("--target a:1 --topic t --arrivals poisson", "--rate"),
            ("--target a:1 --topic t --rate 1 --arrivals burst:5", "burst:ON/PERIOD"),
            ("--target a:1 --topic t --partitions 3", "--create"),
            ("--target a:1 --topic t --codec zip", "zstd"),
            ("--target a:1 --topic t --num-records 3", "--perf-test"),
            ("--target a:1 --topic t --check --timestamps now", "cannot be used"),
        ] {
            let problem = refused(line);
            assert!(problem.contains(word), "{line}: {problem}");
        }
        for (line, word) in [
            ("--topic t", "--target"),
            ("--target a:1 --topic t --record-bytes 100KiB", "--batch-bytes"),
            ("--target a:1 --topic t --rate 1,2 --warmup 5", "--warmup"),
            ("--target a:1 --workload no-such-file.yaml", "no-such-file.yaml"),
        ] {
            let problem = plan(line).err().unwrap().0;
            assert!(problem.contains(word), "{line}: {problem}");
        }
    }

    #[test]
    fn a_shape_is_sent_once_to_topics_like_its_own() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let head = concat!(
            r#"{"twinlog_shape":1,"version":"x","begin_ms":0,"us":2000000,"clock":"arrival","ended":"as-asked","#,
            r#""topics":[{"name":"a","partitions":3},{"name":"b","partitions":12}],"#,
            r#""left_out":{"control":0,"empty":0,"dated_otherwise":0}}"#
        );
        let content = format!("{head}\n[0,14,1000,5,0]\n");
        std::fs::write(file.path(), content).unwrap();
        let path = file.path().display();
        let settings =
            plan(&format!("--target a:1 --topic t --create --shape {path} --speed 4")).unwrap().settings;
        assert_eq!(settings.topics, ["t-0", "t-1"]);
        assert_eq!((settings.create.unwrap().partitions, settings.duration_us), (12, Some(500_000)));
        assert_eq!((settings.timestamps, settings.rates.len()), (Timestamps::Now, 0));
        let checked =
            plan(&format!("--target a:1 --topic t --shape {path} --check --seconds 9")).unwrap().settings;
        assert_eq!((checked.timestamps, checked.duration_us), (Timestamps::Sequence, Some(9_000_000)));
        assert!(
            plan("--target a:1 --topic t --shape no-such.shape").err().unwrap().0.contains("no-such.shape")
        );
        assert!(refused(&format!("--target a:1 --topic t --shape {path} --rate 5")).contains("--rate"));
        assert!(refused("--target a:1 --topic t --speed 4").contains("--shape"));
    }

    #[test]
    fn a_workload_file_is_followed_and_flags_win() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let content = "name: n\ntopics: 2\npartitionsPerTopic: 16\nmessageSize: 100\nuseRandomizedPayloads: true\n\
                       randomBytesRatio: 0.5\nrandomizedPayloadPoolSize: 10\nsubscriptionsPerTopic: 1\n\
                       consumerPerSubscription: 1\nproducersPerTopic: 1\nproducerRate: 500\ntestDurationMinutes: 2\n";
        std::fs::write(file.path(), content).unwrap();
        let line = format!("--target a:1 --workload {} --seconds 5", file.path().display());
        let LoadPlan { settings, name, notes, .. } = plan(&line).unwrap();
        assert_eq!((name.as_str(), settings.topics.len()), ("n", 2));
        assert_eq!(settings.create.unwrap().partitions, 16);
        assert_eq!(settings.rates, [Offer::RecordsPerSecond(500.0)]);
        assert_eq!((settings.duration_us, settings.check), (Some(5_000_000), true));
        assert_eq!(settings.shape.values, Values::RandomAndZeros { random_ratio: 0.5 });
        assert_eq!(settings.shape.keys, Keys::None);
        assert!(notes.iter().any(|note| note.contains("randomizedPayloadPoolSize")), "{notes:?}");
    }
}
