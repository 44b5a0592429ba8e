//! The result of a load or a benchmark in the shape of OpenMessaging Benchmark's result files (its `TestResult`), for the tools
//! that draw them.
//!
//! As there, `publishLatency` is in ms and begins at the actual send, `publishDelayLatency` in µs is from the intended send to the
//! actual one, and `endToEndLatency` is in ms. What is missing there stands beside: `publishLatencyFromIntended` in the same form,
//! and everything that Twinlog knows under `twinlog`.

use super::Measures;
use crate::stats::Latency;
use serde_json::{Map, Value, json};

/// How long one entry of the lists is about, as in OpenMessaging Benchmark.
pub const PERIOD_US: u64 = 10_000_000;

const QUANTILES: [(&str, f64); 7] = [
    ("50pct", 0.5),
    ("75pct", 0.75),
    ("95pct", 0.95),
    ("99pct", 0.99),
    ("999pct", 0.999),
    ("9999pct", 0.9999),
    ("99999pct", 0.99999),
];
/// In percent.
const ALL_QUANTILES: [f64; 17] =
    [0.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 75.0, 80.0, 90.0, 95.0, 99.0, 99.9, 99.99, 99.999, 100.0];

/// What stands at the head of the file.
#[derive(Clone, Debug)]
pub struct Heading<'a> {
    pub workload: &'a str,
    /// Mean size of a record's value.
    pub message_bytes: u64,
    pub topics: usize,
    pub partitions: u32,
    pub has_consumer: bool,
}

/// A result in the making: period by period.
#[derive(Clone, Debug, Default)]
pub struct OmbResult {
    lists: Map<String, Value>,
    sent_records: u64,
    consumed_records: u64,
}

/// One family of fields, the histogram behind it, and whether it is in ms.
fn families(measures: &Measures) -> [(&'static str, &Latency, bool); 4] {
    [
        ("publishLatency", &measures.from_sent, true),
        ("publishLatencyFromIntended", &measures.from_intended, true),
        ("publishDelayLatency", &measures.delay, false),
        ("endToEndLatency", &measures.end_to_end, true),
    ]
}

/// Whole µs, or ms with decimals.
fn value(us: u64, in_ms: bool) -> Value {
    if in_ms { json!(us as f64 / 1e3) } else { json!(us) }
}

impl OmbResult {
    /// No period has been added.
    pub fn is_empty(&self) -> bool {
        self.lists.is_empty()
    }

    /// Adds what was measured in a period.
    pub fn period(&mut self, measures: &Measures, seconds: f64) {
        let rate = |count: u64| json!(count as f64 / seconds.max(1e-6));
        self.sent_records += measures.records;
        self.consumed_records += measures.consumed_records;
        self.push("publishRate", rate(measures.records));
        self.push("publishErrorRate", rate(measures.failed_records));
        self.push("consumeRate", rate(measures.consumed_records));
        let has_consumer = self.consumed_records > 0;
        let backlog = if has_consumer { self.sent_records.saturating_sub(self.consumed_records) } else { 0 };
        self.push("backlog", json!(backlog));
        for (family, latency, in_ms) in families(measures) {
            let mean = latency.mean_us();
            self.push(&format!("{family}Avg"), json!(if in_ms { mean / 1e3 } else { mean }));
            for (name, quantile) in QUANTILES {
                self.push(&format!("{family}{name}"), value(latency.at_us(quantile), in_ms));
            }
            self.push(&format!("{family}Max"), value(latency.max_us(), in_ms));
        }
    }

    fn push(&mut self, name: &str, value: Value) {
        let list = self.lists.entry(name).or_insert_with(|| json!([]));
        if let Some(list) = list.as_array_mut() {
            list.push(value);
        }
    }

    /// The whole file; `own` is everything that Twinlog knows.
    pub fn json(self, heading: &Heading<'_>, total: &Measures, own: Value) -> Value {
        let mut all = Map::new();
        all.insert("workload".into(), json!(heading.workload));
        all.insert("driver".into(), json!("twinlog"));
        all.insert("messageSize".into(), json!(heading.message_bytes));
        all.insert("topics".into(), json!(heading.topics));
        all.insert("partitions".into(), json!(heading.partitions));
        all.insert("producersPerTopic".into(), json!(1));
        all.insert("consumersPerTopic".into(), json!(u8::from(heading.has_consumer)));
        all.extend(self.lists);
        for (family, latency, in_ms) in families(total) {
            let mut capital = family.to_owned();
            capital[..1].make_ascii_uppercase();
            let mean = latency.mean_us();
            let name = |suffix: &str| format!("aggregated{capital}{suffix}");
            all.insert(name("Avg"), json!(if in_ms { mean / 1e3 } else { mean }));
            for (suffix, quantile) in QUANTILES {
                all.insert(name(suffix), value(latency.at_us(quantile), in_ms));
            }
            all.insert(name("Max"), value(latency.max_us(), in_ms));
            let quantiles = ALL_QUANTILES
                .map(|percent| (format!("{percent:?}"), value(latency.at_us(percent / 100.0), in_ms)));
            all.insert(name("Quantiles"), Value::Object(quantiles.into_iter().collect()));
        }
        all.insert("twinlog".into(), own);
        Value::Object(all)
    }
}
