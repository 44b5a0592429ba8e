//! What kafka-producer-perf-test prints (Kafka's `ProducerPerformance.Stats`, 4.3), figure by figure. Its MB are 1,048,576 bytes,
//! its latencies whole milliseconds, its bytes those of the records' values.

use crate::stats::Latency;

const MB: f64 = 1_048_576.0;
const PERCENTILES: [f64; 4] = [0.5, 0.95, 0.99, 0.999];

/// Counts one run, or the part of it after the warm-up.
pub struct PerfStats {
    start_us: u64,
    reporting_us: u64,
    is_steady: bool,
    is_silent: bool,
    count: u64,
    bytes: u64,
    latency_sum_ms: u64,
    latencies: Latency,
    latency_max_ms: u64,
    window: Window,
}

#[derive(Default)]
struct Window {
    start_us: u64,
    count: u64,
    bytes: u64,
    latency_sum_ms: u64,
    latency_max_ms: u64,
}

impl PerfStats {
    pub fn new(now_us: u64, reporting_us: u64, is_steady: bool) -> Self {
        Self {
            start_us: now_us,
            reporting_us,
            is_steady,
            is_silent: false,
            count: 0,
            bytes: 0,
            latency_sum_ms: 0,
            latencies: Latency::default(),
            latency_max_ms: 0,
            window: Window { start_us: now_us, ..Window::default() },
        }
    }

    /// Another one prints the windows from now on.
    pub fn silence(&mut self) {
        self.is_silent = true;
    }

    pub fn count(&self) -> u64 {
        self.count
    }

    /// Counts records that took so long; the answer is what there is to print.
    pub fn record(&mut self, now_us: u64, latency_us: u64, records: u64, bytes: u64) -> String {
        let latency_ms = latency_us / 1000;
        self.count += records;
        self.bytes += bytes;
        self.latency_sum_ms += latency_ms * records;
        self.latency_max_ms = self.latency_max_ms.max(latency_ms);
        self.latencies.record_many_us(latency_us, records);
        let window = &mut self.window;
        window.count += records;
        window.bytes += bytes;
        window.latency_sum_ms += latency_ms * records;
        window.latency_max_ms = window.latency_max_ms.max(latency_ms);
        if now_us.saturating_sub(window.start_us) < self.reporting_us {
            return String::new();
        }
        let mut text = String::new();
        if self.is_steady && self.count == self.window.count {
            text += "In steady state.\n";
        }
        if !self.is_silent {
            text += &self.window_line(now_us);
        }
        self.window = Window { start_us: now_us, ..Window::default() };
        text
    }

    fn window_line(&self, now_us: u64) -> String {
        let Window { start_us, count, bytes, latency_sum_ms, latency_max_ms } = &self.window;
        let seconds = seconds(*start_us, now_us);
        format!(
            "{count} records sent, {:.1} records/sec ({:.2} MB/sec), {:.1} ms avg latency, {:.1} ms max latency.\n",
            *count as f64 / seconds,
            *bytes as f64 / seconds / MB,
            *latency_sum_ms as f64 / (*count).max(1) as f64,
            *latency_max_ms as f64,
        )
    }

    /// The last line.
    pub fn total(&self, now_us: u64) -> String {
        let seconds = seconds(self.start_us, now_us);
        // As all of Kafka's latencies, these are cut off, not rounded.
        let [p50, p95, p99, p999] = PERCENTILES.map(|quantile| self.latencies.at_us(quantile) / 1000);
        format!(
            "{}{} records sent, {:.6} records/sec ({:.2} MB/sec), {:.2} ms avg latency, {:.2} ms max latency, {p50} ms 50th, \
             {p95} ms 95th, {p99} ms 99th, {p999} ms 99.9th.\n",
            self.count,
            if self.is_steady { " steady state" } else { "" },
            self.count as f64 / seconds,
            self.bytes as f64 / seconds / MB,
            self.latency_sum_ms as f64 / self.count.max(1) as f64,
            self.latency_max_ms as f64,
        )
    }
}

/// At least a millisecond, which is the least that Kafka's tool can tell.
fn seconds(start_us: u64, now_us: u64) -> f64 {
    (now_us.saturating_sub(start_us) / 1000).max(1) as f64 / 1e3
}

/// The table of `--print-metrics`: names as Kafka has them, in order.
pub fn metrics_table(metrics: &[(String, f64)]) -> String {
    let mut metrics: Vec<&(String, f64)> = metrics.iter().collect();
    metrics.sort_by(|a, b| a.0.cmp(&b.0));
    let width = metrics.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let mut text = format!("\n{:<width$}   Value\n", "Metric Name");
    for (name, value) in metrics {
        text += &format!("{name:<width$} : {value:.3}\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_those_of_kafkas_tool() {
        let mut stats = PerfStats::new(1_000_000, 5_000_000, false);
        assert_eq!(stats.record(2_000_000, 3_900, 100, 102_400), "");
        assert_eq!(
            stats.record(6_000_000, 8_000, 100, 102_400),
            "200 records sent, 40.0 records/sec (0.04 MB/sec), 5.5 ms avg latency, 8.0 ms max latency.\n"
        );
        stats.record(6_100_000, 1_000, 200, 204_800);
        assert_eq!(
            stats.total(11_000_000),
            "400 records sent, 40.000000 records/sec (0.04 MB/sec), 3.25 ms avg latency, 8.00 ms max latency, \
             1 ms 50th, 8 ms 95th, 8 ms 99th, 8 ms 99.9th.\n"
        );
    }

    #[test]
    fn the_part_after_the_warm_up_has_its_own_lines() {
        let mut steady = PerfStats::new(0, 1_000, true);
        let text = steady.record(2_000, 1_000, 10, 10);
        assert!(text.starts_with("In steady state.\n10 records sent, 5000.0 records/sec"), "{text}");
        assert!(!steady.record(4_000, 1_000, 10, 10).contains("steady"));
        assert!(steady.total(4_000).starts_with("20 steady state records sent, "));
        let mut silent = PerfStats::new(0, 1_000, false);
        silent.silence();
        assert_eq!(silent.record(2_000, 1_000, 10, 10), "");
    }

    #[test]
    fn metrics_stand_in_order_below_each_other() {
        let table = metrics_table(&[("b:long:{}".into(), 1.0), ("a:{}".into(), 2.5)]);
        assert_eq!(table, "\nMetric Name   Value\na:{}      : 2.500\nb:long:{} : 1.000\n");
    }
}
