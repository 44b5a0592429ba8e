//! The names by which MirrorMaker 2's metrics of JMX usually appear in Prometheus: those that the JMX exporter makes of them with
//! `lowercaseOutputName`, and Strimzi's rules and reporter, too. What they mean is what Kafka's `MirrorSourceMetrics` and
//! `MirrorCheckpointMetrics` say, but for ages and latencies, which are of each batch's newest record instead of every record.
//!
//! They are written by hand: ten thousand partitions have 120,000 of them, whose labels are put together once.

use super::{Naming, escaped};
use crate::stats::{CheckpointTimes, LaneLook, Lately, Passed};
use crate::time::Now;
use std::fmt::{self, Write};

const SOURCE: &str = "kafka_connect_mirror_mirrorsourceconnector_";
const CHECKPOINT: &str = "kafka_connect_mirror_mirrorcheckpointconnector_";

enum Value {
    Whole(u64),
    Fraction(f64),
}

/// A metric of something: its name, its type, what it means, and what it is at that moment (steady clock, µs), if there is
/// anything to say. What ends in `_count` can have no type but that: of a gauge it would not be a name, and a counter has another.
type Metric<T> = (&'static str, &'static str, &'static str, fn(&T, u64) -> Option<Value>);

const GAUGE: &str = "gauge";
const UNKNOWN: &str = "unknown";

const OF_PARTITIONS: [Metric<Passed>; 12] = [
    ("record_count", UNKNOWN, "Number of source records replicated to the target cluster", |passed, _| {
        Some(Value::Whole(passed.records))
    }),
    ("record_rate", GAUGE, "Average number of records replicated per second", |passed, now_us| {
        Some(Value::Fraction(passed.records_lately.per_second(now_us)))
    }),
    ("byte_count", UNKNOWN, "Number of bytes replicated, of batches as they are on the wire", |passed, _| {
        Some(Value::Whole(passed.bytes))
    }),
    ("byte_rate", GAUGE, "Average number of bytes replicated per second", |passed, now_us| {
        Some(Value::Fraction(passed.bytes_lately.per_second(now_us)))
    }),
    ("record_age_ms", GAUGE, "Age of the newest record of a batch when it arrived here", |passed, _| {
        newest(&passed.age_ms)
    }),
    ("record_age_ms_min", GAUGE, "Least of these ages lately", |passed, now_us| min(&passed.age_ms, now_us)),
    ("record_age_ms_max", GAUGE, "Largest of these ages lately", |passed, now_us| {
        max(&passed.age_ms, now_us)
    }),
    ("record_age_ms_avg", GAUGE, "Mean of these ages lately", |passed, now_us| mean(&passed.age_ms, now_us)),
    (
        "replication_latency_ms",
        GAUGE,
        "Age of the newest record of a batch when the target acknowledged it",
        |passed, _| newest(&passed.latency_ms),
    ),
    ("replication_latency_ms_min", GAUGE, "Least of these latencies lately", |passed, now_us| {
        min(&passed.latency_ms, now_us)
    }),
    ("replication_latency_ms_max", GAUGE, "Largest of these latencies lately", |passed, now_us| {
        max(&passed.latency_ms, now_us)
    }),
    ("replication_latency_ms_avg", GAUGE, "Mean of these latencies lately", |passed, now_us| {
        mean(&passed.latency_ms, now_us)
    }),
];

const OF_CHECKPOINTS: [Metric<Lately>; 4] = [
    (
        "checkpoint_latency_ms",
        GAUGE,
        "Time from making a checkpoint to the target's acknowledgement",
        |times, _| newest(times),
    ),
    ("checkpoint_latency_ms_min", GAUGE, "Least of these times lately", min),
    ("checkpoint_latency_ms_max", GAUGE, "Largest of these times lately", max),
    ("checkpoint_latency_ms_avg", GAUGE, "Mean of these times lately", mean),
];

fn newest(lately: &Lately) -> Option<Value> {
    lately.newest().map(Value::Whole)
}

fn min(lately: &Lately, now_us: u64) -> Option<Value> {
    lately.span(now_us).map(|span| Value::Whole(span.min))
}

fn max(lately: &Lately, now_us: u64) -> Option<Value> {
    lately.span(now_us).map(|span| Value::Whole(span.max))
}

fn mean(lately: &Lately, now_us: u64) -> Option<Value> {
    lately.span(now_us).map(|span| Value::Fraction(span.mean))
}

/// Adds them to the text.
pub(super) fn write(
    text: &mut String,
    now: Now,
    lanes: &[LaneLook],
    naming: &Naming,
    checkpoints: &CheckpointTimes,
) -> fmt::Result {
    let [source, target] = naming.aliases.each_ref().map(|alias| escaped(alias));
    let topic_of = |topic: &str| escaped(&naming.topics.on_cluster(topic)).into_owned();
    let of_lanes: Vec<(String, &Passed)> = lanes
        .iter()
        .filter_map(|lane| {
            let (topic, partition) = (topic_of(&lane.topic), lane.partition);
            let labels = format!(
                "{{source=\"{source}\",target=\"{target}\",topic=\"{topic}\",partition=\"{partition}\"}} "
            );
            Some((labels, &**lane.passed.as_ref()?))
        })
        .collect();
    families(text, now, SOURCE, &OF_PARTITIONS, &of_lanes)?;
    let of_groups: Vec<(String, &Lately)> = checkpoints
        .each()
        .map(|(group, topic, partition, times)| {
            let (group, topic) = (escaped(group), topic_of(topic));
            let labels = format!(
                "{{source=\"{source}\",target=\"{target}\",group=\"{group}\",topic=\"{topic}\",partition=\"{partition}\"}} "
            );
            (labels, times)
        })
        .collect();
    families(text, now, CHECKPOINT, &OF_CHECKPOINTS, &of_groups)
}

fn families<T>(
    text: &mut String,
    now: Now,
    prefix: &str,
    metrics: &[Metric<T>],
    things: &[(String, &T)],
) -> fmt::Result {
    if things.is_empty() {
        return Ok(());
    }
    for (name, kind, help, value) in metrics {
        writeln!(text, "# HELP {prefix}{name} {help}\n# TYPE {prefix}{name} {kind}")?;
        for (labels, thing) in things {
            let Some(value) = value(thing, now.mono_us) else { continue };
            text.extend([prefix, name, labels]);
            match value {
                Value::Whole(whole) => writeln!(text, "{whole}")?,
                Value::Fraction(fraction) => writeln!(text, "{fraction}")?,
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::TopicNames;
    use crate::stats::watch::tests::{at, lane};

    #[test]
    fn names_and_labels_are_those_of_the_jmx_exporter() {
        let mut passed = Passed::default();
        passed.record(1_000_000, 10, 6_000, Some([4, 7]));
        let idle = LaneLook { passed: Some(Box::default()), ..lane(1, 0, 0) };
        let lanes = [LaneLook { passed: Some(Box::new(passed)), ..lane(0, 5, 9) }, idle, lane(2, 5, 9)];
        let naming = Naming {
            aliases: ["east".into(), "we\"st".into()],
            topics: TopicNames::new(Some("east.".into()), Vec::new()).unwrap(),
            ..Naming::default()
        };
        let mut checkpoints = CheckpointTimes::default();
        checkpoints.record(1_000_000, "g\n", "orders", 0, 3);
        let mut text = String::new();
        write(&mut text, at(1_000), &lanes, &naming, &checkpoints).unwrap();
        let of = |name: &str, partition: i32| {
            let labels = format!(
                "source=\"east\",target=\"we\\\"st\",topic=\"east.orders\",partition=\"{partition}\""
            );
            let begin = format!("kafka_connect_mirror_mirrorsourceconnector_{name}{{{labels}}} ");
            text.lines().find_map(|line| line.strip_prefix(&begin))
        };
        for (name, value) in [
            ("record_count", "10"),
            ("byte_count", "6000"),
            ("byte_rate", "200"),
            ("record_age_ms", "4"),
            ("record_age_ms_avg", "4"),
            ("replication_latency_ms", "7"),
            ("replication_latency_ms_max", "7"),
        ] {
            assert_eq!(of(name, 0), Some(value), "{name} in\n{text}");
        }
        assert_eq!((of("record_count", 1), of("record_rate", 1)), (Some("0"), Some("0")));
        assert_eq!((of("record_age_ms", 1), of("replication_latency_ms_min", 1)), (None, None));
        assert_eq!(of("record_count", 2), None, "nobody counts it");
        let checkpoint = "kafka_connect_mirror_mirrorcheckpointconnector_checkpoint_latency_ms_max{source=\"east\",\
                          target=\"we\\\"st\",group=\"g\\n\",topic=\"east.orders\",partition=\"0\"} 3\n";
        assert!(text.contains(checkpoint), "{text}");
    }
}
