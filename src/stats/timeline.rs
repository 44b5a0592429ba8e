//! What had been sent and what had arrived, moment by moment.

/// More samples than this are thinned out.
const SAMPLES_MAX: usize = 1 << 14;

/// Totals at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// Since the start.
    pub at_us: u64,
    pub sent_bytes: u64,
    pub arrived_bytes: u64,
}

/// A part of a run; times since the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Phase {
    pub name: &'static str,
    pub begin_us: u64,
    pub end_us: u64,
}

/// The parts of a benchmark.
impl Phase {
    pub const BACKLOG: &str = "backlog";
    pub const CATCH_UP: &str = "catching up";
    pub const FULL_SPEED: &str = "full speed";
    pub const EVEN_RATE: &str = "even rate";
}

impl Sample {
    /// On the source and not yet on the target.
    pub fn lag_bytes(&self) -> u64 {
        self.sent_bytes.saturating_sub(self.arrived_bytes)
    }
}

#[derive(Clone, Debug)]
pub struct Timeline {
    samples: Vec<Sample>,
    every_us: u64,
}

impl Timeline {
    /// A sample is kept when the last one is at least this old.
    pub fn new(every_us: u64) -> Self {
        Self { samples: Vec::new(), every_us }
    }

    pub fn record(&mut self, sample: Sample) {
        if self.samples.last().is_some_and(|last| sample.at_us < last.at_us + self.every_us) {
            return;
        }
        if self.samples.len() == SAMPLES_MAX {
            let mut at = 0;
            self.samples.retain(|_| {
                at += 1;
                at % 2 == 1
            });
            self.every_us *= 2;
        }
        self.samples.push(sample);
    }

    pub fn samples(&self) -> &[Sample] {
        &self.samples
    }

    /// From moments (the middle of each span of `span_us`) to bytes a second: sent, and arrived.
    pub fn rates(&self, span_us: u64) -> Vec<(u64, f64, f64)> {
        let Some(mut from) = self.samples.first() else { return Vec::new() };
        let mut rates = Vec::new();
        for sample in &self.samples {
            let us = sample.at_us - from.at_us;
            if us >= span_us.max(1) {
                let rate = |before: u64, after: u64| after.saturating_sub(before) as f64 * 1e6 / us as f64;
                let sent = rate(from.sent_bytes, sample.sent_bytes);
                let arrived = rate(from.arrived_bytes, sample.arrived_bytes);
                rates.push((from.at_us + us / 2, sent, arrived));
                from = sample;
            }
        }
        rates
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(samples: u64) -> Timeline {
        let mut line = Timeline::new(10);
        for at in 0..samples {
            line.record(Sample { at_us: at * 10, sent_bytes: at * 3, arrived_bytes: at });
        }
        line
    }

    #[test]
    fn rates_are_those_of_the_samples() {
        let line = line(101);
        assert_eq!(line.samples()[100].lag_bytes(), 200);
        let rates = line.rates(500);
        assert_eq!(rates, [(250, 300_000.0, 100_000.0), (750, 300_000.0, 100_000.0)]);
        assert!(Timeline::new(1).rates(1).is_empty());
    }

    #[test]
    fn a_long_run_has_no_more_samples_than_there_is_room_for() {
        let line = line(10 * SAMPLES_MAX as u64);
        let samples = line.samples();
        assert!(samples.len() <= SAMPLES_MAX && samples.len() > SAMPLES_MAX / 4, "{}", samples.len());
        assert!(samples.is_sorted_by_key(|sample| sample.at_us));
    }
}
