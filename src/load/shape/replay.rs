//! A shape as a schedule: the arrivals as they were, faster or slower, again from the begin when they are over.

use super::Captured;
use std::sync::Arc;

#[derive(Clone, Debug)]
pub struct Replay {
    captured: Arc<Captured>,
    /// By lane of the shape: the lane to send to.
    lanes: Vec<u32>,
    speed: f64,
    /// The arrival that comes next, and how many rounds are over.
    next: usize,
    round: u64,
}

impl Replay {
    /// To topics that have `partitions` each.
    ///
    /// # Panics
    /// Without a batch, or with a speed that is not more than 0.
    pub fn new(captured: Arc<Captured>, speed: f64, partitions: u32) -> Self {
        assert!(!captured.batches.is_empty() && speed > 0.0);
        let lanes =
            captured.places().iter().map(|(topic, partition)| topic * partitions + partition).collect();
        Self { captured, lanes, speed, next: 0, round: 0 }
    }

    /// When the next batch is due, in µs since the start, and for which lane.
    pub fn take(&mut self) -> (u64, u32) {
        let seen = self.captured.batches[self.next];
        let at_us = self.round * self.captured.head.us + seen.at_us;
        self.next += 1;
        if self.next == self.captured.batches.len() {
            (self.next, self.round) = (0, self.round + 1);
        }
        ((at_us as f64 / self.speed) as u64, self.lanes[seen.lane as usize])
    }

    /// Batches due until `us` after the start.
    pub fn offered(&self, us: u64) -> f64 {
        let Captured { head, batches } = &*self.captured;
        let us = (us as f64 * self.speed) as u64;
        let rest_us = us % head.us;
        let of_this_round = batches.partition_point(|seen| seen.at_us < rest_us);
        ((us / head.us) * batches.len() as u64 + of_this_round as u64) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::super::Seen;
    use super::super::tests::captured;
    use super::*;
    use crate::load::Codec;

    #[test]
    fn arrivals_come_as_they_were_at_any_speed_and_again() {
        let seen = |at_us, lane| Seen { at_us, lane, bytes: 100, records: 1, codec: Codec::None };
        let mut captured = captured(vec![seen(0, 0), seen(400, 3), seen(1000, 2)]);
        captured.head.us = 2000;
        let captured = Arc::new(captured);
        let mut plain = Replay::new(Arc::clone(&captured), 1.0, 3);
        let taken: Vec<(u64, u32)> = (0..4).map(|_| plain.take()).collect();
        assert_eq!(taken, [(0, 0), (400, 3), (1000, 2), (2000, 0)]);
        let mut fast = Replay::new(captured, 4.0, 5);
        let taken: Vec<(u64, u32)> = (0..4).map(|_| fast.take()).collect();
        assert_eq!(taken, [(0, 0), (100, 5), (250, 2), (500, 0)]);
        assert_eq!([0, 1, 101, 251, 500, 501].map(|us| fast.offered(us)), [0.0, 1.0, 2.0, 3.0, 3.0, 4.0]);
    }
}
