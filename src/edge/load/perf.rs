//! A load that prints what kafka-producer-perf-test prints.

use super::connection::Flight;
use super::{Outcome, Tick, Watch};
use crate::edge::clock;
use crate::load::perf_test::{PerfStats, metrics_table};

pub struct PerfWatch {
    /// From the first batch on.
    all: Option<PerfStats>,
    /// What comes after the warm-up.
    steady: Option<PerfStats>,
    warmup_records: u64,
    reporting_us: u64,
}

impl PerfWatch {
    pub fn new(warmup_records: u64, reporting_ms: u64) -> Self {
        Self { all: None, steady: None, warmup_records, reporting_us: reporting_ms * 1000 }
    }

    /// Prints the last lines.
    pub fn finish(&self, outcome: &Outcome, client_id: &str, with_metrics: bool) {
        let now_us = clock::now().mono_us;
        let nothing = PerfStats::new(now_us, self.reporting_us, false);
        print!("{}", self.all.as_ref().unwrap_or(&nothing).total(now_us));
        if let Some(steady) = &self.steady {
            print!("{}", steady.total(now_us));
        }
        if with_metrics {
            print!("{}", metrics_table(&metrics(outcome, client_id)));
        }
    }
}

impl Watch for PerfWatch {
    fn landed(&mut self, flight: &Flight, at_us: u64) {
        let begin_us = flight.intended_us.unwrap_or(flight.sent_us);
        let all = self.all.get_or_insert_with(|| PerfStats::new(begin_us, self.reporting_us, false));
        if self.warmup_records > 0 && self.steady.is_none() && all.count() >= self.warmup_records {
            self.steady = Some(PerfStats::new(begin_us, self.reporting_us, true));
            all.silence();
        }
        let latency_us = at_us.saturating_sub(begin_us);
        let records = u64::from(flight.records);
        print!("{}", all.record(at_us, latency_us, records, flight.value_bytes));
        if let Some(steady) = &mut self.steady {
            print!("{}", steady.record(at_us, latency_us, records, flight.value_bytes));
        }
    }

    fn tick(&mut self, _: &Tick<'_>) {}
}

/// Those of Kafka's producer that have a meaning here.
fn metrics(outcome: &Outcome, client_id: &str) -> Vec<(String, f64)> {
    let report = &outcome.report;
    let total = &outcome.total;
    let seconds = report.seconds.max(1e-6);
    let name = |name: &str| format!("producer-metrics:{name}:{{client-id={client_id}}}");
    let (records, batches) = (report.records as f64, report.batches.max(1) as f64);
    vec![
        (name("batch-size-avg"), report.wire_bytes as f64 / batches),
        (name("outgoing-byte-rate"), report.wire_bytes as f64 / seconds),
        (name("outgoing-byte-total"), report.wire_bytes as f64),
        (name("record-error-rate"), report.failed_records as f64 / seconds),
        (name("record-error-total"), report.failed_records as f64),
        (name("record-queue-time-avg"), total.delay.mean_us() / 1e3),
        (name("record-queue-time-max"), total.delay.max_us() as f64 / 1e3),
        (name("record-send-rate"), records / seconds),
        (name("record-send-total"), records),
        (name("record-size-avg"), report.value_bytes as f64 / records.max(1.0)),
        (name("request-latency-avg"), total.from_sent.mean_us() / 1e3),
        (name("request-latency-max"), total.from_sent.max_us() as f64 / 1e3),
    ]
}
