//! The reference model: what each source partition holds, and thus which batches the target may hold next.

use crate::sim::traffic::{Fate, SourceBatch};
use std::sync::Arc;

/// Everything that was ever written to the source.
pub(super) struct Reference {
    pub(super) partitions: Vec<SourcePartition>,
}

pub(super) struct SourcePartition {
    pub(super) topic: Arc<str>,
    pub(super) partition: i32,
    pub(super) batches: Vec<SourceBatch>,
    /// What lies before this was deleted at the source.
    pub(super) log_start: i64,
    /// How many batches were still to be written.
    pub(super) unwritten: usize,
    /// The topic was deleted and created again: what the target holds is all that it will get.
    pub(super) recreated: bool,
}

impl Reference {
    /// Topics of two partitions each.
    pub(super) fn new(partitions: i32, batches: usize) -> Self {
        let topics = ["orders", "refunds", "clicks", "views"].map(Arc::<str>::from);
        let partitions = (0..partitions)
            .map(|index| SourcePartition {
                topic: topics[index as usize / 2 % topics.len()].clone(),
                partition: index % 2,
                batches: Vec::new(),
                log_start: 0,
                unwritten: batches,
                recreated: false,
            })
            .collect();
        Self { partitions }
    }

    /// Topic names with their number of partitions.
    pub(super) fn topics(&self) -> Vec<(Arc<str>, i32)> {
        let mut topics: Vec<(Arc<str>, i32)> = Vec::new();
        for partition in &self.partitions {
            match topics.iter_mut().find(|(name, _)| *name == partition.topic) {
                Some((_, count)) => *count += 1,
                None => topics.push((partition.topic.clone(), 1)),
            }
        }
        topics
    }
}

/// What stands at the next place of a target partition.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// The batch with this index.
    Batch(usize),
    Duplicate(usize),
    /// It comes too early: the batch with the first index should stand here.
    Hole {
        missing: usize,
        found: usize,
    },
    /// It was to be left out.
    NotToBeMirrored(usize),
    Unknown,
}

impl SourcePartition {
    pub(super) fn end(&self) -> i64 {
        self.batches.last().map_or(self.log_start, |batch| batch.next_offset)
    }

    /// Which batch a payload is, when the batches before index `from` stand on the target.
    pub(super) fn recognise(&self, from: usize, payload: &[u8]) -> Next {
        let mut missing = None;
        for (index, batch) in self.batches.iter().enumerate().skip(from) {
            if batch.payload == payload && batch.fate == Fate::Pass {
                return match missing {
                    None => Next::Batch(index),
                    Some(missing) => Next::Hole { missing, found: index },
                };
            }
            if batch.payload == payload && batch.fate != Fate::Pass {
                return Next::NotToBeMirrored(index);
            }
            if missing.is_none() && !self.may_be_left_out(index) {
                missing = Some(index);
            }
        }
        let before = self.batches.iter().take(from).position(|batch| batch.payload == payload);
        before.map_or(Next::Unknown, Next::Duplicate)
    }

    /// Nothing that passes lies in the batch, or the source has deleted it.
    pub(super) fn may_be_left_out(&self, index: usize) -> bool {
        let batch = &self.batches[index];
        batch.fate == Fate::Skip || batch.next_offset <= self.log_start
    }

    /// The index of the first batch from `from` on that the target should hold by now. None: it holds all it can.
    pub(super) fn first_missing(&self, from: usize) -> Option<usize> {
        let missing = (from..self.batches.len()).find(|&index| !self.may_be_left_out(index))?;
        (self.batches[missing].fate == Fate::Pass).then_some(missing)
    }

    /// Whether there is, or was, a batch that the lane has to stop at.
    pub(super) fn may_halt(&self) -> bool {
        self.batches.iter().any(|batch| batch.fate == Fate::Halt)
    }

    /// Whether the log begins within a batch, of which the rest would have to be cut out.
    pub(super) fn begins_within_a_batch(&self) -> bool {
        let is_cut =
            |batch: &SourceBatch| batch.base_offset < self.log_start && self.log_start < batch.next_offset;
        self.batches.iter().any(is_cut)
    }

    /// Whether the lane comes to a batch that it has to stop at.
    pub(super) fn halts(&self) -> bool {
        self.batches.iter().any(|batch| batch.fate == Fate::Halt && batch.next_offset > self.log_start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn partition(fates: &[(&'static str, Fate)], log_start: i64) -> SourcePartition {
        let mut reference = Reference::new(1, 0);
        let mut partition = reference.partitions.remove(0);
        partition.log_start = log_start;
        partition.batches = (0..)
            .zip(fates)
            .map(|(offset, &(payload, fate))| SourceBatch {
                base_offset: offset,
                next_offset: offset + 1,
                records: 1,
                codec: 0,
                base_timestamp_ms: 0,
                max_timestamp_ms: 0,
                payload: Bytes::from_static(payload.as_bytes()),
                fate,
            })
            .collect();
        partition
    }

    #[test]
    fn a_payload_is_recognised_by_where_it_may_stand() {
        use Fate::{Pass, Skip};
        let source = partition(&[("a", Pass), ("b", Pass), ("m", Skip), ("c", Pass), ("d", Pass)], 0);
        assert_eq!(source.recognise(2, b"c"), Next::Batch(3));
        assert_eq!(source.recognise(2, b"d"), Next::Hole { missing: 3, found: 4 });
        assert_eq!(source.recognise(2, b"a"), Next::Duplicate(0));
        assert_eq!(source.recognise(2, b"m"), Next::NotToBeMirrored(2));
        assert_eq!(source.recognise(2, b"z"), Next::Unknown);
        assert_eq!(source.first_missing(5), None);
    }

    #[test]
    fn what_the_source_deleted_may_be_missing() {
        let source = partition(&[("a", Fate::Pass), ("b", Fate::Pass), ("c", Fate::Pass)], 2);
        assert_eq!(source.recognise(0, b"c"), Next::Batch(2));
        assert_eq!(source.recognise(0, b"b"), Next::Batch(1), "deleted after it was read");
        assert_eq!(source.first_missing(0), Some(2));
    }
}
