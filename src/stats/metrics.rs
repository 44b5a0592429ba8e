//! A link's figures as text that Prometheus scrapes: OpenMetrics if it asks for that, else Prometheus's own format. Every name
//! begins with `twinlog_`, every series has the label `link`; those of partitions `topic` and `partition` too, those of cores
//! `shard`. Where that is wished, some have [MirrorMaker 2's names](mirrormaker) as well, or instead.

mod classic;
mod mirrormaker;

use super::{Buckets, CheckpointTimes, Counters, LaneLook, Watch};
use crate::config::{MetricsNames, TopicNames};
use crate::time::Now;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeLabelSet, EncodeMetric, MetricEncoder, NoLabelSet,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

/// How the text is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    OpenMetrics,
    /// Prometheus's own, which everybody understands.
    Classic,
}

impl Format {
    /// By the header `Accept` of the request, if there is one.
    pub fn asked_for(accept: &str) -> Self {
        match accept.contains("application/openmetrics-text") {
            true => Self::OpenMetrics,
            false => Self::Classic,
        }
    }

    pub fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Classic => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// By which names figures are served.
#[derive(Clone, Debug, Default)]
pub struct Naming {
    pub names: MetricsNames,
    /// What MirrorMaker calls source and target.
    pub aliases: [String; 2],
    /// What the target calls the topics: that is what MirrorMaker calls them.
    pub topics: TopicNames,
}

/// The text for a look at a link. The error is the formatter's, and does not happen when writing into memory.
pub fn text(
    watch: &Arc<Watch>,
    now: Now,
    naming: &Naming,
    checkpoints: &CheckpointTimes,
    format: Format,
) -> Result<String, fmt::Error> {
    let mut text = String::with_capacity(room(watch.lanes.len(), naming));
    if naming.names.are_own() {
        let labels = [(Cow::Borrowed("link"), Cow::Owned(escaped(&watch.link).into_owned()))];
        let mut registry = Registry::with_prefix_and_labels("twinlog", labels.into_iter());
        registry.register_collector(Box::new(Figures { watch: Arc::clone(watch), now }));
        encode_registry(&mut text, &registry)?;
    }
    if naming.names.are_mirror_makers() {
        mirrormaker::write(&mut text, now, &watch.lanes, naming, checkpoints)?;
    }
    match format {
        Format::OpenMetrics => encode_eof(&mut text)?,
        Format::Classic => text = classic::from_open_metrics(&text),
    }
    Ok(text)
}

/// About how long the text is: tens of MB, which would be moved each time it outgrows its place.
fn room(lanes: usize, naming: &Naming) -> usize {
    let own = if naming.names.are_own() { LANE_BYTES.0 } else { 0 };
    let mirror_makers = if naming.names.are_mirror_makers() { LANE_BYTES.1 } else { 0 };
    lanes.saturating_mul(own + mirror_makers) + REST_BYTES
}

/// As it stands between quotes. Ids of clusters, topics and groups are what brokers say.
fn escaped(label: &str) -> Cow<'_, str> {
    match label.contains(['\\', '"', '\n']) {
        true => Cow::Owned(label.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n")),
        false => Cow::Borrowed(label),
    }
}

#[derive(Debug)]
struct Figures {
    watch: Arc<Watch>,
    now: Now,
}

/// What the series of a partition take, by our names and by MirrorMaker's, and about what the others do.
const LANE_BYTES: (usize, usize) = (700, 1_700);
const REST_BYTES: usize = 64 << 10;

/// A counter of each shard: its name, what it means, and where it is.
type OfShard = (&'static str, &'static str, fn(&Counters) -> u64);
/// A gauge of each partition; where it is not known yet there is no series.
type OfLane = (&'static str, &'static str, fn(&LaneLook, Now) -> Option<f64>);

const OF_SHARDS: [OfShard; 16] = [
    ("batches", "Record batches that the target has acknowledged", |shard| shard.batches),
    ("records", "Records in them", |shard| shard.records),
    ("bytes", "Their size on the wire, headers included", |shard| shard.bytes),
    ("batches_skipped", "Batches read and not mirrored: control batches, or already there", |shard| {
        shard.batches_skipped
    }),
    ("batches_rebuilt", "Batches that were taken apart", |shard| shard.batches_rebuilt),
    (
        "records_changed",
        "Records that transforms changed, those that were read again counted again",
        |shard| shard.records_changed,
    ),
    ("records_dropped", "Records that transforms dropped, counted likewise", |shard| shard.records_dropped),
    ("records_failed", "Records that a transform could not handle, counted likewise", |shard| {
        shard.records_failed
    }),
    ("dead_letters", "Records, or whole batches, that went to the dead letters", |shard| shard.dead_letters),
    ("batches_spliced", "Batches that never entered user space", |shard| shard.batches_spliced),
    ("offsets_filled", "Offsets filled with control records", |shard| shard.offsets_filled),
    ("replica_bytes", "Bytes read from other replicas than the leaders (--rack)", |shard| {
        shard.replica_bytes
    }),
    ("fetch_requests", "Fetch requests", |shard| shard.fetch_requests),
    ("produce_requests", "Produce requests", |shard| shard.produce_requests),
    ("questions", "Times that partitions asked the target for their position", |shard| shard.questions),
    ("connections_lost", "Connections lost", |shard| shard.connections_lost),
];

const OF_LANES: [OfLane; 8] = [
    ("partition_position", "First source offset that is not on the target", |lane, _| {
        lane.position.map(|at| at as f64)
    }),
    ("partition_source_end", "End of the source's decided data", |lane, _| {
        lane.source_end.map(|at| at as f64)
    }),
    ("partition_lag_records", "Offsets between the two", |lane, _| lane.lag_records().map(|lag| lag as f64)),
    ("partition_lag_seconds", "Age of the newest mirrored record, 0 when nothing is behind", |lane, now| {
        lane.lag_ms(now.wall_ms).map(|ms| ms as f64 / 1e3)
    }),
    ("partition_still_seconds", "How long it has been behind without moving", |lane, _| {
        Some(lane.still_ms as f64 / 1e3)
    }),
    ("partition_stopped", "1 if it stands still for good", |lane, _| {
        Some(f64::from(u8::from(lane.stopped.is_some())))
    }),
    ("partition_paused", "1 if it is not read for now, because somebody wished so", |lane, _| {
        Some(f64::from(u8::from(lane.is_paused())))
    }),
    ("partition_dead_letters", "What of it went to the dead letters since the start", |lane, _| {
        Some(lane.dead_letters as f64)
    }),
];

const BATCH_LATENCY: &str =
    "How long batches took: fetched since their timestamp, sent since fetched, acked since sent, total";

impl Collector for Figures {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Self { watch, now } = self;
        let report = &watch.report;
        let shards = || {
            report
                .shards
                .iter()
                .enumerate()
                .map(|(index, counters)| ([("shard", index.to_string())], counters))
        };
        for (name, help, value) in OF_SHARDS {
            family(
                &mut encoder,
                name,
                help,
                None,
                shards().map(|(labels, of)| (labels, ConstCounter::new(value(of)))),
            )?;
        }
        let seconds = |us: u64| ConstCounter::new(us as f64 / 1e6);
        let of_shards = shards().map(|(labels, of)| (labels, seconds(of.cpu_us)));
        family(&mut encoder, "cpu", "CPU time of the shard's thread", Some(&Unit::Seconds), of_shards)?;
        let of_shards = shards().map(|(labels, of)| (labels, seconds(of.throttled_ms * 1000)));
        family(
            &mut encoder,
            "throttled",
            "Time for which brokers said they throttled us",
            Some(&Unit::Seconds),
            of_shards,
        )?;
        let of_shards = shards().map(|(labels, of)| (labels, ConstGauge::new(of.buffered_bytes as f64)));
        family(&mut encoder, "buffered_bytes", "Payload held at this moment", None, of_shards)?;
        // From the start on, empty ones too: what is counted later has grown from 0.
        let of_stages = report.stages.each().map(|(stage, buckets)| ([("stage", stage.key())], buckets));
        family(&mut encoder, "batch_latency", BATCH_LATENCY, Some(&Unit::Seconds), of_stages)?;

        let info = [
            ("version", watch.version),
            ("source", &*escaped(&watch.source_cluster)),
            ("target", &*escaped(&watch.target_cluster)),
        ];
        let info = std::iter::once((info, ConstGauge::new(1.0)));
        family(&mut encoder, "build", "Version, and ids of the clusters", None, info)?;
        let lag = report.lag;
        let of_link = [
            ("partitions", "Partitions of the link", Some(report.lanes.total as f64)),
            ("partitions_caught_up", "Of these, caught up with", Some(report.lanes.caught_up as f64)),
            ("partitions_stopped", "Of these, stopped for good", Some(report.lanes.stopped as f64)),
            ("partitions_paused", "Of these, paused", Some(report.lanes.paused as f64)),
            (
                "parts",
                "Parts of the link that this instance runs, where instances share it",
                watch.instance.as_ref().map(|instance| instance.parts.len() as f64),
            ),
            (
                "parts_of_link",
                "Parts that the link has, where instances share it",
                watch.instance.as_ref().map(|instance| f64::from(instance.of_parts)),
            ),
            ("topics_left_out", "Topics that match and are not mirrored", Some(watch.left_out.len() as f64)),
            ("problems", "What /health complains of", Some(watch.problem_count(*now) as f64)),
            (
                "lag_records",
                "Offsets that are not mirrored yet, without paused partitions",
                lag.map(|lag| lag.records as f64),
            ),
            (
                "lag_bytes",
                "The same in bytes, estimated",
                lag.and_then(|lag| lag.bytes).map(|bytes| bytes as f64),
            ),
            (
                "lag_seconds",
                "Age of the newest record of the oldest partition that is behind",
                lag.and_then(|lag| lag.ms).map(|ms| ms as f64 / 1e3),
            ),
        ];
        for (name, help, value) in of_link {
            let none: [(&str, &str); 0] = [];
            family(
                &mut encoder,
                name,
                help,
                None,
                value.map(|value| (none, ConstGauge::new(value))).into_iter(),
            )?;
        }
        let lost = std::iter::once(([] as [(&str, &str); 0], ConstCounter::new(watch.lost_offsets)));
        family(&mut encoder, "lost_offsets", "Source offsets lost before they were mirrored", None, lost)?;
        for (name, help, value) in OF_LANES {
            let series = watch
                .lanes
                .iter()
                .filter_map(|lane| Some((lane_labels(lane), ConstGauge::new(value(lane, *now)?))));
            family(&mut encoder, name, help, None, series)?;
        }
        Ok(())
    }
}

impl EncodeMetric for &Buckets {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        // The encoder knows the last bucket by that, and adds up by itself.
        let bound = |us: Option<u64>| us.map_or(f64::MAX, |us| us as f64 / 1e6);
        let counts: Vec<(f64, u64)> = self.counts().map(|(us, count)| (bound(us), count)).collect();
        encoder.encode_histogram::<NoLabelSet>(self.sum_seconds(), self.count(), &counts, None)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

fn lane_labels(lane: &LaneLook) -> [(&'static str, String); 2] {
    [("topic", escaped(&lane.topic).into_owned()), ("partition", lane.partition.to_string())]
}

/// One metric with its series.
fn family<L: EncodeLabelSet, M: EncodeMetric>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    unit: Option<&Unit>,
    series: impl Iterator<Item = (L, M)>,
) -> fmt::Result {
    let mut series = series.peekable();
    let Some((_, first)) = series.peek() else { return Ok(()) };
    let mut encoder = encoder.encode_descriptor(name, help, unit, first.metric_type())?;
    for (labels, metric) in series {
        metric.encode(encoder.encode_family(&labels)?)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::watch::tests::{at, lane, watch};
    use crate::stats::{InstanceLook, Way};

    fn text(watch: Watch) -> String {
        let (naming, checkpoints) = (Naming::default(), CheckpointTimes::default());
        super::text(&Arc::new(watch), at(0), &naming, &checkpoints, Format::OpenMetrics).unwrap()
    }

    #[test]
    fn every_series_names_the_link_and_what_it_is_about() {
        let unknown = LaneLook { position: None, ..lane(1, 0, 9) };
        let stopped = LaneLook { stopped: Some("because".into()), ..lane(2, 4, 9) };
        let mut watch = watch(vec![lane(0, 5, 9), unknown, stopped]);
        let way =
            Way { newest_ms: -1, fetched_us: 0, sent_us: 20_000, acked_us: 400_000_000, acked_wall_ms: 0 };
        watch.report.stages.record(&way);
        let text = text(watch);
        for line in [
            r#"twinlog_batches_total{link="east-west",shard="0"} 7"#,
            r#"twinlog_cpu_seconds_total{link="east-west",shard="0"} 1.5"#,
            r#"twinlog_lag_seconds{link="east-west"} 2.5"#,
            r#"twinlog_batch_latency_seconds_bucket{link="east-west",le="0.0005",stage="sent"} 0"#,
            r#"twinlog_batch_latency_seconds_bucket{link="east-west",le="0.025",stage="sent"} 1"#,
            r#"twinlog_batch_latency_seconds_bucket{link="east-west",le="300.0",stage="acked"} 0"#,
            r#"twinlog_batch_latency_seconds_bucket{link="east-west",le="+Inf",stage="acked"} 1"#,
            r#"twinlog_batch_latency_seconds_sum{link="east-west",stage="sent"} 0.02"#,
            r#"twinlog_batch_latency_seconds_count{link="east-west",stage="total"} 0"#,
            r#"twinlog_lag_bytes{link="east-west"} 1000.0"#,
            r#"twinlog_problems{link="east-west"} 1.0"#,
            r#"twinlog_build{link="east-west",version="1.2.3",source="S",target="T"} 1.0"#,
            r#"twinlog_partition_position{link="east-west",topic="orders",partition="0"} 5.0"#,
            r#"twinlog_partition_lag_records{link="east-west",topic="orders",partition="0"} 4.0"#,
            r#"twinlog_partition_lag_seconds{link="east-west",topic="orders",partition="0"} 2.5"#,
            r#"twinlog_partition_stopped{link="east-west",topic="orders",partition="2"} 1.0"#,
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
        assert!(
            !text.contains(r#"twinlog_partition_position{link="east-west",topic="orders",partition="1"}"#)
        );
        assert!(text.ends_with("# EOF\n"));
    }

    /// What Grafana and Prometheus are told to look for is there, all of it.
    #[test]
    fn dashboards_and_alerts_name_series_that_there_are() {
        let instance = Some(InstanceLook { of_parts: 8, ..InstanceLook::default() });
        let text = text(Watch { instance, ..watch(vec![lane(0, 5, 9)]) });
        let is_part = |c: char| c.is_ascii_lowercase() || c == '_';
        let exported: Vec<&str> = text
            .lines()
            .filter_map(|line| line.split(['{', ' ']).next())
            .filter(|name| *name != "#")
            .collect();
        let files =
            [include_str!("../../deploy/alerts.yaml"), include_str!("../../deploy/grafana-dashboard.json")];
        for file in files {
            let named: Vec<&str> = file
                .match_indices("twinlog_")
                .map(|(at, _)| file[at..].split(|c: char| !is_part(c)).next().unwrap_or_default())
                .collect();
            assert!(named.len() >= 8, "{named:?}");
            for name in named {
                assert!(exported.contains(&name), "{name} is not in\n{text}");
            }
        }
    }

    #[test]
    fn a_name_is_described_once() {
        let text = text(watch(vec![lane(0, 5, 9), lane(1, 5, 9)]));
        let mut types: Vec<&str> = text.lines().filter(|line| line.starts_with("# TYPE")).collect();
        let count = types.len();
        types.sort_unstable();
        types.dedup();
        assert_eq!(types.len(), count, "{text}");
    }

    #[test]
    fn what_brokers_say_stays_between_its_quotes() {
        let mut watch = watch(vec![LaneLook { topic: "a\\\"b".into(), ..lane(0, 5, 9) }]);
        watch.source_cluster = "x\"} 1\ntwinlog_problems 0".into();
        let text = text(watch);
        assert!(text.contains(r#"source="x\"} 1\ntwinlog_problems 0","#), "{text}");
        assert!(text.contains(r#"topic="a\\\"b""#), "{text}");
    }

    #[test]
    fn each_is_served_what_it_asked_for() {
        let accept = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        assert_eq!(Format::asked_for(accept), Format::OpenMetrics);
        assert_eq!((Format::asked_for("*/*"), Format::asked_for("")), (Format::Classic, Format::Classic));
        let mut watch = watch(vec![LaneLook { passed: Some(Box::default()), ..lane(0, 5, 9) }]);
        watch.report.lag = None;
        let serve = |names, format| {
            let naming = Naming { names, ..Naming::default() };
            super::text(&Arc::new(watch.clone()), at(0), &naming, &CheckpointTimes::default(), format)
                .unwrap()
        };
        let has = |text: &str| (text.contains("\ntwinlog_"), text.contains("\nkafka_connect_mirror_"));
        let own = serve(MetricsNames::Twinlog, Format::Classic);
        assert_eq!(has(&own), (true, false));
        assert!(own.contains("# TYPE twinlog_batches_total counter\ntwinlog_batches_total{"), "{own}");
        assert!(!own.contains("# EOF") && !own.contains("# UNIT"));
        assert_eq!(has(&serve(MetricsNames::MirrorMaker, Format::Classic)), (false, true));
        let both = serve(MetricsNames::Both, Format::OpenMetrics);
        assert!(has(&both) == (true, true) && both.ends_with("# EOF\n"), "{both}");
    }
}
