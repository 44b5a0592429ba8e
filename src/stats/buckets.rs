//! How long batches take, stage by stage, in a few fixed buckets: cheap enough for every batch of a mirror that is watched, and
//! what Prometheus calls a classic histogram.

use super::Stage;
use std::ops::AddAssign;

/// Upper bounds of the buckets but the last, which has none. Half a millisecond is what a broker next door takes, and five minutes
/// is what alerts begin with.
pub const BOUNDS_US: [u64; 13] = [
    500,
    1_000,
    2_500,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    1_000_000,
    5_000_000,
    30_000_000,
    300_000_000,
];

/// Durations, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Buckets {
    /// Those that do not exceed a bound, nor fit below the one before; in the last, those that exceed all.
    counts: [u64; BOUNDS_US.len() + 1],
    sum_us: u128,
}

impl Buckets {
    pub fn record_us(&mut self, duration_us: u64) {
        let bucket = BOUNDS_US.partition_point(|bound_us| *bound_us < duration_us);
        self.counts[bucket] += 1;
        self.sum_us += u128::from(duration_us);
    }

    /// Bucket by bucket: its upper bound (none for the last), and what is in it and in no other.
    pub fn counts(&self) -> impl Iterator<Item = (Option<u64>, u64)> {
        let bounds = BOUNDS_US.into_iter().map(Some).chain([None]);
        bounds.zip(self.counts)
    }

    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    pub fn sum_seconds(&self) -> f64 {
        self.sum_us as f64 / 1e6
    }
}

impl AddAssign<&Self> for Buckets {
    fn add_assign(&mut self, other: &Self) {
        self.counts.iter_mut().zip(other.counts).for_each(|(mine, theirs)| *mine += theirs);
        self.sum_us += other.sum_us;
    }
}

/// When one batch was where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Way {
    /// The timestamp of its newest record; below 0 if it has none.
    pub newest_ms: i64,
    /// Of the steady clock, in µs.
    pub fetched_us: u64,
    pub sent_us: u64,
    pub acked_us: u64,
    /// By the clock on the wall when it was acknowledged.
    pub acked_wall_ms: i64,
}

impl Way {
    /// From the newest record's timestamp to the batch's arrival here. None: it has no timestamp. Clocks of two machines may
    /// differ; a record from the future came in no time.
    pub fn age_us(&self) -> Option<u64> {
        let since_fetched_us = self.acked_us.saturating_sub(self.fetched_us);
        Some(self.total_us()?.saturating_sub(since_fetched_us))
    }

    /// From the same to the target's acknowledgement.
    pub fn total_us(&self) -> Option<u64> {
        let total_ms = self.acked_wall_ms.saturating_sub(self.newest_ms).max(0).unsigned_abs();
        (self.newest_ms >= 0).then_some(total_ms.saturating_mul(1000))
    }
}

/// The buckets of each stage that a mirror knows of by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StageBuckets([Buckets; 4]);

impl StageBuckets {
    pub const STAGES: [Stage; 4] = [Stage::Fetched, Stage::Sent, Stage::Acked, Stage::Total];

    /// Counts a batch, if it was timed on its way.
    pub fn record(&mut self, way: &Way) {
        let [fetched, sent, acked, total] = &mut self.0;
        sent.record_us(way.sent_us.saturating_sub(way.fetched_us));
        acked.record_us(way.acked_us.saturating_sub(way.sent_us));
        if let (Some(age_us), Some(total_us)) = (way.age_us(), way.total_us()) {
            fetched.record_us(age_us);
            total.record_us(total_us);
        }
    }

    pub fn each(&self) -> impl Iterator<Item = (Stage, &Buckets)> {
        Self::STAGES.into_iter().zip(&self.0)
    }
}

impl AddAssign<&Self> for StageBuckets {
    fn add_assign(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(mine, theirs)| *mine += theirs);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_belongs_to_its_bucket_and_the_last_has_the_rest() {
        let mut buckets = Buckets::default();
        for us in [0, 500, 501, 300_000_000, 300_000_001, u64::MAX] {
            buckets.record_us(us);
        }
        let found: Vec<_> = buckets.counts().filter(|(_, count)| *count > 0).collect();
        assert_eq!(found, [(Some(500), 2), (Some(1_000), 1), (Some(300_000_000), 1), (None, 2)]);
        assert_eq!(buckets.count(), 6);
        assert!(buckets.sum_seconds() > 1.8e13);
        assert!(BOUNDS_US.is_sorted());
    }

    #[test]
    fn a_batch_is_counted_in_every_stage_of_its_way() {
        let way = Way {
            newest_ms: 1_000,
            fetched_us: 90_000,
            sent_us: 90_700,
            acked_us: 94_000,
            acked_wall_ms: 1_020,
        };
        assert_eq!((way.age_us(), way.total_us()), (Some(16_000), Some(20_000)));
        let mut stages = StageBuckets::default();
        stages.record(&way);
        let mut all = stages;
        all += &stages;
        let sums: Vec<_> =
            all.each().map(|(stage, of)| (stage.key(), of.count(), of.sum_seconds())).collect();
        assert_eq!(
            sums,
            [("fetched", 2, 0.032), ("sent", 2, 0.0014), ("acked", 2, 0.0066), ("total", 2, 0.04)]
        );
    }

    #[test]
    fn of_a_batch_without_a_timestamp_nobody_knows_the_age() {
        let way = Way { newest_ms: -1, ..Way::default() };
        let mut stages = StageBuckets::default();
        stages.record(&way);
        let counts: Vec<_> = stages.each().map(|(_, of)| of.count()).collect();
        assert_eq!(counts, [0, 1, 1, 0]);
        let ahead = Way { newest_ms: 5_000, acked_wall_ms: 4_000, ..Way::default() };
        assert_eq!((ahead.age_us(), ahead.total_us()), (Some(0), Some(0)));
    }
}
