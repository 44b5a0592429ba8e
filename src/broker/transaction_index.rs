//! What a partition keeps of transactions that have ended, by the rules of Kafka's `TransactionIndex` and
//! `ProducerStateManager`.

use super::producer_state::Completed;
use std::collections::{BTreeMap, VecDeque};

/// The ended transactions of one partition.
#[derive(Clone, Debug, Default)]
pub struct TransactionIndex {
    /// In the order of their markers.
    aborted: VecDeque<Aborted>,
    /// Those whose marker lies above the high watermark: (first offset, the marker's offset). They are not stable yet.
    unreplicated: BTreeMap<i64, i64>,
}

/// A transaction whose records no reader of committed records may see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Aborted {
    pub producer_id: i64,
    pub first_offset: i64,
    pub marker_offset: i64,
    /// Nothing before this offset was open when the transaction ended.
    last_stable_offset: i64,
}

impl TransactionIndex {
    /// Notes that a transaction has ended. `first_open_offset` belongs to the first of those that have not.
    pub fn complete(&mut self, completed: Completed, first_open_offset: Option<i64>) {
        let Completed { producer_id, first_offset, marker_offset, aborted } = completed;
        self.unreplicated.insert(first_offset, marker_offset);
        if aborted {
            let last_stable_offset = first_open_offset.unwrap_or(marker_offset + 1);
            self.aborted.push_back(Aborted { producer_id, first_offset, marker_offset, last_stable_offset });
        }
    }

    /// Where the first transaction begins that has ended without being replicated.
    pub fn first_unreplicated_offset(&self) -> Option<i64> {
        self.unreplicated.first_key_value().map(|(&offset, _)| offset)
    }

    /// Markers before the high watermark are replicated.
    pub fn advance_high_watermark(&mut self, high_watermark: i64) {
        self.unreplicated.retain(|_, marker_offset| *marker_offset >= high_watermark);
    }

    /// What begins and ends before the log's start concerns nobody any more.
    pub fn advance_log_start(&mut self, log_start_offset: i64) {
        self.unreplicated.retain(|_, marker_offset| *marker_offset >= log_start_offset);
        while self.aborted.front().is_some_and(|aborted| aborted.marker_offset < log_start_offset) {
            self.aborted.pop_front();
        }
    }

    /// Markers at or after `offset` are lost.
    pub fn truncate(&mut self, offset: i64) {
        self.unreplicated.retain(|_, marker_offset| *marker_offset < offset);
        while self.aborted.back().is_some_and(|aborted| aborted.marker_offset >= offset) {
            self.aborted.pop_back();
        }
    }

    /// The aborted transactions that a reader of the offsets `from..below` has to know.
    pub fn aborted(&self, from: i64, below: i64) -> impl Iterator<Item = &Aborted> {
        let first = self.aborted.partition_point(|aborted| aborted.marker_offset < from);
        let mut is_complete = false;
        let candidates = self.aborted.range(first..).take_while(move |aborted| {
            // What ends later has begun later.
            let before = is_complete;
            is_complete |= aborted.last_stable_offset >= below;
            !before
        });
        candidates.filter(move |aborted| aborted.first_offset < below)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(first_offset: i64, marker_offset: i64) -> Completed {
        Completed { producer_id: first_offset, first_offset, marker_offset, aborted: true }
    }

    #[test]
    fn readers_learn_of_the_aborted_transactions_that_reach_into_their_range() {
        let mut index = TransactionIndex::default();
        index.complete(ended(2, 10), Some(1));
        index.complete(ended(1, 20), None);
        index.complete(ended(30, 40), None);
        index.complete(Completed { aborted: false, ..ended(41, 42) }, None);
        let seen = |from, below| index.aborted(from, below).map(|it| it.first_offset).collect::<Vec<_>>();
        assert_eq!(seen(0, 100), [2, 1, 30]);
        assert_eq!(seen(11, 100), [1, 30]);
        assert_eq!(seen(0, 2), [1], "the first ends before the one that began before it");
        assert!(seen(21, 30).is_empty());
        assert!(seen(41, 100).is_empty());
    }

    #[test]
    fn what_is_lost_or_deleted_is_not_told() {
        let mut index = TransactionIndex::default();
        index.complete(ended(0, 10), None);
        index.complete(ended(20, 30), None);
        assert_eq!(index.first_unreplicated_offset(), Some(0));
        index.advance_high_watermark(11);
        assert_eq!(index.first_unreplicated_offset(), Some(20));
        index.truncate(30);
        assert_eq!(index.first_unreplicated_offset(), None);
        assert_eq!(index.aborted(0, 100).count(), 1);
        index.advance_log_start(11);
        assert_eq!(index.aborted(0, 100).count(), 0);
    }
}
