//! The flags of kafka-producer-perf-test, as Kafka 4.3 has them, and what its producer's settings mean for a load.

use super::Addresses;
use super::load::{LoadPlan, PerfOutput, acks, content, key_value, open_ms, unique};
use clap::Args;
use std::collections::BTreeMap;
use std::path::PathBuf;
use twinlog::config::security::key_problem;
use twinlog::config::{ConfigError, Draft, Properties, nearest, text};
use twinlog::edge::load::{Offer, Settings, Timestamps, Transactional};
use twinlog::load::{Codec, Headers, Keys, Pattern, Shape, Sizes, Values};

const HEADING: &str = "In place of kafka-producer-perf-test";

#[derive(Debug, Default, Args)]
pub struct PerfArgs {
    /// Take that tool's flags, send as it does, and print what it prints. Latency is from the moment that --throughput had meant
    /// a batch to be sent
    #[arg(long, help_heading = HEADING)]
    pub perf_test: bool,

    /// Some of the cluster's brokers
    #[arg(long, value_name = "HOST:PORT[,…]", value_parser = text::addresses, requires = "perf_test", help_heading = HEADING)]
    bootstrap_server: Option<Addresses>,

    /// Records to send
    #[arg(long, value_name = "N", requires = "perf_test", required_if_eq("perf_test", "true"), help_heading = HEADING)]
    num_records: Option<u64>,

    /// Size of each record
    #[arg(long, value_name = "BYTES", requires = "perf_test", conflicts_with = "payload_file", help_heading = HEADING)]
    record_size: Option<usize>,

    /// File with one payload a line, of which each record has one at random
    #[arg(long, value_name = "FILE", requires = "perf_test", help_heading = HEADING)]
    payload_file: Option<PathBuf>,

    /// What is between the payloads of --payload-file [default: \n]
    #[arg(long, value_name = "TEXT", requires = "payload_file", help_heading = HEADING)]
    payload_delimiter: Option<String>,

    /// Not offered: batches are encoded before the start
    #[arg(long, requires = "perf_test", hide = true)]
    payload_monotonic: bool,

    /// Records a second; -1 for as many as are taken
    #[arg(long, value_name = "N", requires = "perf_test", required_if_eq("perf_test", "true"), allow_negative_numbers = true,
          help_heading = HEADING)]
    throughput: Option<f64>,

    /// Settings of Kafka's producer
    #[arg(long, value_name = "KEY=VALUE", num_args = 1.., value_parser = key_value, requires = "perf_test",
          help_heading = HEADING)]
    producer_props: Vec<(String, String)>,

    /// The same, under the tool's new name
    #[arg(long, value_name = "KEY=VALUE", num_args = 1.., value_parser = key_value, requires = "perf_test",
          help_heading = HEADING)]
    command_property: Vec<(String, String)>,

    /// File with such settings
    #[arg(long = "producer.config", value_name = "FILE", requires = "perf_test", help_heading = HEADING)]
    producer_config: Option<PathBuf>,

    /// The same, under the tool's new name
    #[arg(long, value_name = "FILE", requires = "perf_test", help_heading = HEADING)]
    command_config: Option<PathBuf>,

    /// Print the producer's metrics at the end, those that have a meaning here
    #[arg(long, requires = "perf_test", help_heading = HEADING)]
    print_metrics: bool,

    /// So many records are not part of the steady state, which gets a line of its own
    #[arg(long, value_name = "N", requires = "perf_test", help_heading = HEADING)]
    warmup_records: Option<u64>,

    /// How often to print how it goes, ms [default: 5000]
    #[arg(long, value_name = "MS", requires = "perf_test", help_heading = HEADING)]
    reporting_interval: Option<u64>,

    /// Send in transactions, each open for so long, ms [default with --transactional-id or transactional.id: 3000]
    #[arg(long, value_name = "MS", value_parser = open_ms, requires = "perf_test", help_heading = HEADING)]
    transaction_duration_ms: Option<u64>,
}

/// Kafka's default for `linger.ms` since 4.0, and for `batch.size`.
const LINGER_MS: f64 = 5.0;
const BATCH_BYTES: usize = 16_384;
const BATCH_HEADER_BYTES: usize = 61;
const TICK_US: u64 = 1_000_000;
/// `ProducerPerformance.DEFAULT_TRANSACTION_DURATION_MS`.
const TRANSACTION_MS: u64 = 3_000;

/// Settings of Kafka's producer that mean something here.
const MEANT: [&str; 9] = [
    "bootstrap.servers",
    "acks",
    "batch.size",
    "compression.type",
    "linger.ms",
    "max.in.flight.requests.per.connection",
    "max.request.size",
    "request.timeout.ms",
    "transactional.id",
];

impl PerfArgs {
    pub fn plan(
        self,
        topic: String,
        target: Option<Addresses>,
        transactional_id: Option<String>,
    ) -> Result<LoadPlan, ConfigError> {
        if self.payload_monotonic {
            return Err(ConfigError(
                "--payload-monotonic is not offered: batches are encoded before the start".into(),
            ));
        }
        let (mut producer, draft, notes) = self.properties(target)?;
        let values = self.values()?;
        let record_bytes = match &values {
            Values::Pool(pool) => pool.iter().map(bytes::Bytes::len).max().unwrap_or(0),
            _ => self.record_size.unwrap_or(0),
        };
        let batch_bytes = producer.take("batch.size", |text| {
            text.parse().map_err(|_| format!("`{text}` is not a number of bytes"))
        })?;
        let batch_bytes: usize = batch_bytes.unwrap_or(BATCH_BYTES).saturating_sub(BATCH_HEADER_BYTES);
        let rate = self.throughput.filter(|rate| *rate > 0.0);
        let linger_ms = producer.take("linger.ms", |text| {
            text.parse::<f64>().map_err(|_| format!("`{text}` is not a number of ms"))
        })?;
        // A batch takes no longer to fill than the producer waits for it.
        let filled = rate.map(|rate| (rate * linger_ms.unwrap_or(LINGER_MS) / 1e3).clamp(1.0, 1e9) as u32);
        let shape = Shape {
            batch_bytes: batch_bytes.max(record_bytes + 64),
            batch_records_max: filled.unwrap_or(u32::MAX),
            sizes: Sizes::Fixed(record_bytes.max(1)),
            values,
            keys: Keys::None,
            headers: Headers::default(),
            codec: producer.take("compression.type", str::parse)?.unwrap_or(Codec::None),
            seed: 0,
        };
        let transactional_id = transactional_id.or(producer.0.remove("transactional.id").map(|(id, _)| id));
        // As the tool does it: an id asks for transactions as well as a duration does.
        let transactions =
            (transactional_id.is_some() || self.transaction_duration_ms.is_some()).then(|| Transactional {
                transactional_id: transactional_id.unwrap_or_else(|| unique("performance-producer-")),
                open_us: self.transaction_duration_ms.unwrap_or(TRANSACTION_MS) * 1000,
                aborted_percent: 0,
            });
        if transactions.is_some()
            && producer.0.get("acks").is_some_and(|(acks, _)| !matches!(&acks[..], "all" | "-1"))
        {
            return Err(ConfigError("acks must be all when there are transactions".into()));
        }
        let number = |text: &str| text.parse::<u64>().map_err(|_| format!("`{text}` is not a whole number"));
        let settings = Settings {
            target: draft.target_cluster().map_err(|error| {
                ConfigError(error.0.replace("--target HOST:PORT", "--bootstrap-server HOST:PORT"))
            })?,
            read_from: None,
            topics: vec![topic],
            create: None,
            shape,
            replay: None,
            timestamps: Timestamps::Now,
            rates: rate.map(Offer::RecordsPerSecond).into_iter().collect(),
            step_us: 0,
            pattern: Pattern::Constant,
            records: self.num_records,
            duration_us: None,
            warmup_us: 0,
            transactions,
            acks: producer.take("acks", acks)?.unwrap_or(-1),
            in_flight_max: producer
                .take("max.in.flight.requests.per.connection", number)?
                .map_or(5, |count| count.clamp(1, 1000) as usize),
            request_bytes_max: producer
                .take("max.request.size", number)?
                .map_or(1 << 20, |bytes| bytes as usize),
            request_timeout_ms: producer.take("request.timeout.ms", number)?.unwrap_or(30_000).max(1),
            client_id: producer.0.remove("client.id").map_or("perf-producer-client".into(), |(id, _)| id),
            check: false,
            tick_us: TICK_US,
            hlog: None,
        };
        let perf = PerfOutput {
            warmup_records: self.warmup_records.unwrap_or(0),
            reporting_ms: self.reporting_interval.unwrap_or(5000).max(1),
            print_metrics: self.print_metrics,
        };
        Ok(LoadPlan {
            settings,
            json: None,
            name: "kafka-producer-perf-test".into(),
            perf: Some(perf),
            notes,
        })
    }

    fn values(&self) -> Result<Values, ConfigError> {
        let Some(file) = &self.payload_file else {
            return match self.record_size {
                Some(0) => Err(ConfigError("--record-size must be 1 or more".into())),
                Some(_) => Ok(Values::Letters),
                None => Err(ConfigError("--record-size or --payload-file is missing".into())),
            };
        };
        let delimiter = self.payload_delimiter.as_deref().unwrap_or("\n").replace("\\n", "\n");
        let content = content(file)?;
        // As Java's Scanner: what follows the last delimiter counts unless it is nothing.
        let mut payloads: Vec<&str> = content.split(delimiter.as_str()).collect();
        if payloads.last() == Some(&"") {
            payloads.pop();
        }
        if payloads.is_empty() {
            return Err(ConfigError(format!("{} is empty", file.display())));
        }
        Ok(Values::Pool(payloads.into_iter().map(|payload| payload.as_bytes().to_vec().into()).collect()))
    }

    /// The producer's settings that mean something here, and those of the cluster. What has no effect is noted, and what is no
    /// setting is refused.
    fn properties(&self, target: Option<Addresses>) -> Result<(Producer, Draft, Vec<String>), ConfigError> {
        let mut all: BTreeMap<String, (String, String)> = BTreeMap::new();
        for path in [&self.producer_config, &self.command_config].into_iter().flatten() {
            let properties = Properties::from_file(&path.display().to_string(), &content(path)?)?;
            for (key, value) in properties.iter() {
                all.insert(key.to_owned(), (value.text.expose().to_owned(), value.origin.clone()));
            }
        }
        for (key, value) in self.producer_props.iter().chain(&self.command_property) {
            all.insert(key.clone(), (value.clone(), format!("--producer-props {key}")));
        }
        let (mut producer, mut cluster, mut notes) = (BTreeMap::new(), Properties::default(), Vec::new());
        for (key, (value, origin)) in all {
            if MEANT.contains(&key.as_str()) || key == "client.id" {
                producer.insert(key, (value, origin));
                continue;
            }
            match key_problem(&key) {
                Some(problem) => {
                    let hint = nearest(&key, MEANT)
                        .map(|near| format!("there is no setting `{key}`; did you mean `{near}`?"));
                    return Err(ConfigError(format!("{origin}: {}", hint.unwrap_or(problem))));
                }
                // Of those of Kafka's clients that have no effect here the cluster's reader warns.
                None if key.ends_with(".serializer") => {}
                None => cluster.set(key, value.into(), origin),
            }
        }
        if producer.contains_key("linger.ms") && self.throughput.is_none_or(|rate| rate <= 0.0) {
            notes.push("linger.ms has no effect at full speed: batches are sent full".into());
        }
        let mut producer = Producer(producer);
        let bootstrap = producer.take("bootstrap.servers", text::addresses)?;
        let target = self.bootstrap_server.clone().or(target).or(bootstrap);
        Ok((producer, Draft { target, target_properties: cluster, ..Draft::default() }, notes))
    }
}

/// Settings by key: value, and where it was typed.
struct Producer(BTreeMap<String, (String, String)>);

impl Producer {
    fn take<T>(
        &mut self,
        key: &str,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<Option<T>, ConfigError> {
        let Some((value, origin)) = self.0.remove(key) else { return Ok(None) };
        read(value.trim()).map(Some).map_err(|problem| ConfigError(format!("{origin}: {problem}")))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Cli, Command};
    use super::*;
    use clap::Parser;

    fn plan(line: &str) -> Result<LoadPlan, ConfigError> {
        let line = format!("twinlog load --perf-test --topic t --num-records 1000 {line}");
        let Command::Load(args) = Cli::try_parse_from(line.split_whitespace()).unwrap().command else {
            panic!("not a load")
        };
        args.plan()
    }

    #[test]
    fn its_flags_and_its_producers_settings_are_understood() {
        let LoadPlan { settings, perf, .. } = plan(
            "--record-size 100 --throughput 50000 --producer-props bootstrap.servers=a:1,b:2 acks=1 batch.size=32768 \
             compression.type=lz4 linger.ms=2 client.id=me --print-metrics",
        )
        .unwrap();
        assert_eq!((settings.target.bootstrap.len(), settings.acks), (2, 1));
        assert_eq!(settings.shape.batch_bytes, 32_768 - 61);
        // 2 ms of 50,000 records a second.
        assert_eq!((settings.shape.batch_records_max, settings.shape.codec), (100, Codec::Lz4));
        assert_eq!((settings.records, settings.client_id.as_str()), (Some(1000), "me"));
        assert_eq!(settings.rates, [Offer::RecordsPerSecond(50_000.0)]);
        assert!(perf.unwrap().print_metrics);
        let unlimited = plan("--bootstrap-server c:3 --record-size 10 --throughput -1").unwrap().settings;
        assert_eq!((unlimited.rates.len(), unlimited.shape.batch_records_max), (0, u32::MAX));
        assert_eq!(unlimited.acks, -1);
    }

    #[test]
    fn what_is_not_understood_is_named() {
        let to = "--bootstrap-server c:3 --throughput -1";
        for (line, words) in [
            (
                format!("{to} --record-size 10 --producer-props batch.sise=3"),
                "batch.sise|did you mean `batch.size`?",
            ),
            (format!("{to} --record-size 10 --producer-props acks=2"), "acks|`2` is none of"),
            (
                format!("{to} --record-size 10 --transactional-id x --producer-props acks=1"),
                "acks must be all",
            ),
            (format!("{to} --payload-monotonic"), "--payload-monotonic"),
            (to.to_owned(), "--record-size"),
            ("--throughput -1 --record-size 10".to_owned(), "--bootstrap-server"),
        ] {
            let problem = plan(&line).err().unwrap().0;
            for word in words.split('|') {
                assert!(problem.contains(word), "{line}: {problem}");
            }
        }
        for (flags, id, ms) in [
            ("--transactional-id x", "x", 3_000),
            ("--transactional-id x --producer-props transactional.id=y", "x", 3_000),
            ("--transaction-duration-ms 50 --producer-props transactional.id=y", "y", 50),
            ("--transaction-duration-ms 50", "performance-producer-", 50),
        ] {
            let found = plan(&format!("{to} --record-size 10 {flags}")).unwrap().settings.transactions;
            let found = found.unwrap();
            assert!(found.transactional_id.starts_with(id), "{flags}: {found:?}");
            assert_eq!((found.open_us, found.aborted_percent), (ms * 1000, 0), "{flags}");
        }
        // What Kafka's clients know and has no effect here is told of, not refused.
        let known = plan(&format!("{to} --record-size 10 --producer-props buffer.memory=1000000")).unwrap();
        assert!(
            known.settings.target.security.warnings.iter().any(|warning| warning.contains("buffer.memory"))
        );
    }

    #[test]
    fn payloads_come_from_a_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "one\ntwo\nthree\n").unwrap();
        let line = format!("--bootstrap-server c:3 --throughput -1 --payload-file {}", file.path().display());
        let Values::Pool(pool) = plan(&line).unwrap().settings.shape.values else { panic!("no pool") };
        assert_eq!(pool, ["one", "two", "three"]);
    }
}
