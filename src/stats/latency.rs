//! Latency distributions that can be merged without losing their tails.

use super::units;
use hdrhistogram::Histogram;
use serde::Serialize;
use std::fmt;

/// A histogram of durations from 1 µs to one hour, each kept to three significant digits.
#[derive(Clone, Debug)]
pub struct Latency(Histogram<u64>);

const LONGEST_US: u64 = 3_600_000_000;

/// What is printed of a distribution, in µs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Percentiles {
    pub count: u64,
    pub mean_us: f64,
    pub p50_us: u64,
    pub p90_us: u64,
    pub p99_us: u64,
    pub p99_9_us: u64,
    pub p99_99_us: u64,
    pub max_us: u64,
}

impl fmt::Display for Percentiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "p50 {}   p90 {}   p99 {}   p99.9 {}   p99.99 {}   max {}",
            units::us(self.p50_us),
            units::us(self.p90_us),
            units::us(self.p99_us),
            units::us(self.p99_9_us),
            units::us(self.p99_99_us),
            units::us(self.max_us),
        )
    }
}

impl Default for Latency {
    fn default() -> Self {
        Self(Histogram::new_with_bounds(1, LONGEST_US, 3).expect("the bounds are in order"))
    }
}

impl Latency {
    /// Counts one duration; longer ones than an hour count as an hour.
    pub fn record_us(&mut self, duration_us: u64) {
        self.0.saturating_record(duration_us);
    }

    /// Counts one duration for `count` things that all took it.
    pub fn record_many_us(&mut self, duration_us: u64, count: u64) {
        self.0.saturating_record_n(duration_us, count);
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// The duration that so large a share (0.99 for 99 %) does not exceed; 0 when nothing was recorded.
    pub fn at_us(&self, quantile: f64) -> u64 {
        self.0.value_at_quantile(quantile)
    }

    pub fn mean_us(&self) -> f64 {
        self.0.mean()
    }

    pub fn max_us(&self) -> u64 {
        self.0.max()
    }

    pub fn histogram(&self) -> &Histogram<u64> {
        &self.0
    }

    pub fn merge(&mut self, other: &Latency) {
        self.0.add(&other.0).expect("all have the same bounds");
    }

    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The usual percentiles; all 0 when nothing was recorded.
    pub fn percentiles(&self) -> Percentiles {
        let at = |quantile| self.0.value_at_quantile(quantile);
        Percentiles {
            count: self.0.len(),
            mean_us: self.0.mean(),
            p50_us: at(0.5),
            p90_us: at(0.9),
            p99_us: at(0.99),
            p99_9_us: at(0.999),
            p99_99_us: at(0.9999),
            max_us: self.0.max(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merged_distributions_keep_their_tails() {
        let (mut low, mut high) = (Latency::default(), Latency::default());
        for us in 1..=990 {
            low.record_us(us);
        }
        for _ in 0..10 {
            high.record_us(1_000_000);
        }
        low.merge(&high);
        let percentiles = low.percentiles();
        assert_eq!((percentiles.count, percentiles.p50_us, percentiles.p90_us), (1000, 500, 900));
        assert!(percentiles.p99_us <= 991);
        assert!((999_000..=1_001_000).contains(&percentiles.p99_9_us), "{percentiles:?}");
    }

    #[test]
    fn nothing_and_too_much() {
        let mut latency = Latency::default();
        assert_eq!(latency.percentiles(), Percentiles::default());
        latency.record_us(u64::MAX);
        assert!(latency.percentiles().max_us >= LONGEST_US);
    }
}
