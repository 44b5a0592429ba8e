//! When each batch is meant to be sent. The schedule does not wait for anybody: a batch that goes out late, because something
//! in its way was slow, keeps its intended time, and its latency is counted from there (no coordinated omission).

/// Batches at an even rate, partitions in turn.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    start_us: u64,
    /// Index of each partition's first batch under this schedule.
    first_index: u64,
    partitions: u64,
    batches_per_second: f64,
}

impl Schedule {
    /// A schedule for the batches `first_index`.. of every partition, beginning at `start_us` (steady clock).
    pub fn new(start_us: u64, first_index: u64, partitions: u32, batches_per_second: f64) -> Self {
        assert!(partitions > 0 && batches_per_second > 0.0);
        Self { start_us, first_index, partitions: u64::from(partitions), batches_per_second }
    }

    /// The intended send time of one batch; None for a batch of before this schedule.
    pub fn intended_us(&self, partition: u32, index: u64) -> Option<u64> {
        let turn = index.checked_sub(self.first_index)? * self.partitions + u64::from(partition);
        Some(self.start_us + (turn as f64 * 1e6 / self.batches_per_second) as u64)
    }

    /// How many batches, all partitions together, are due at `now_us`.
    pub fn due(&self, now_us: u64) -> u64 {
        match now_us.checked_sub(self.start_us) {
            Some(elapsed_us) => (elapsed_us as f64 * self.batches_per_second / 1e6) as u64 + 1,
            None => 0,
        }
    }

    /// Partition and index of the n-th batch (from 0) of this schedule.
    pub fn nth(&self, n: u64) -> (u32, u64) {
        ((n % self.partitions) as u32, self.first_index + n / self.partitions)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_take_turns_over_partitions_at_an_even_rate() {
        let schedule = Schedule::new(1_000_000, 5, 4, 1000.0);
        assert_eq!(schedule.nth(0), (0, 5));
        assert_eq!(schedule.nth(6), (2, 6));
        assert_eq!(schedule.intended_us(0, 5), Some(1_000_000));
        assert_eq!(schedule.intended_us(2, 6), Some(1_006_000));
        assert_eq!(schedule.intended_us(2, 4), None);
    }

    #[test]
    fn what_is_due_was_intended_by_then() {
        let schedule = Schedule::new(500, 0, 3, 777.0);
        assert_eq!(schedule.due(499), 0);
        assert_eq!(schedule.due(500), 1);
        for now_us in (500..5_000_000).step_by(12_347) {
            let due = schedule.due(now_us);
            let (partition, index) = schedule.nth(due - 1);
            assert!(schedule.intended_us(partition, index).unwrap() <= now_us);
        }
    }
}
