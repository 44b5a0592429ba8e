//! The reference model: what each source partition holds, and thus what the target may hold.

use crate::broker::Batch;
use crate::sim::traffic::{Contents, Producer, Record};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

/// Everything that was ever written to the source.
pub(super) struct Reference {
    pub(super) partitions: Vec<SourcePartition>,
}

pub(super) struct SourcePartition {
    pub(super) topic: Arc<str>,
    pub(super) partition: i32,
    /// The configuration asks for the same offsets on the target.
    pub(super) wants_identical: bool,
    pub(super) first_offset: i64,
    pub(super) batches: Vec<SourceBatch>,
    pub(super) records: Vec<SourceRecord>,
    /// Transactions that are open.
    pub(super) open: Vec<OpenTransaction>,
    by_body: BTreeMap<Bytes, usize>,
    /// What lies before this was deleted at the source.
    pub(super) log_start: i64,
    /// Offset of the next batch, if no gap comes before it.
    pub(super) log_end: i64,
    /// How many batches were still to be written.
    pub(super) unwritten: usize,
    /// The topic was deleted and created again: what the target holds is all that it will get.
    pub(super) recreated: bool,
    /// The target has appended a control record twice: what it holds may be too long.
    pub(super) was_doubled: bool,
}

/// What a correct mirror does with a batch's records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Pass,
    /// Aborted, or no records at all.
    Skip,
    /// Of an open transaction: nothing of it may be on the target yet.
    Undecided,
}

pub(super) struct SourceBatch {
    pub(super) base_offset: i64,
    pub(super) next_offset: i64,
    /// Indices of its records, as it was written.
    pub(super) records: Range<usize>,
    pub(super) fate: Fate,
    pub(super) producer: Option<Producer>,
    /// As it was written, and as compaction left it since. Empty for a marker.
    pub(super) versions: Vec<Contents>,
    /// Compaction left nothing.
    pub(super) is_gone: bool,
    /// Its checksum does not fit what the source has of it.
    pub(super) is_damaged: bool,
}

/// A batch to be written.
pub(super) struct NewBatch {
    /// So many it takes; compaction may have left fewer records.
    pub(super) offsets: i32,
    /// None: a marker.
    pub(super) contents: Option<Contents>,
    pub(super) producer: Option<Producer>,
    pub(super) fate: Fate,
    pub(super) is_damaged: bool,
}

pub(super) struct SourceRecord {
    pub(super) offset: i64,
    pub(super) batch: usize,
    pub(super) record: Record,
    /// By compaction.
    pub(super) deleted: bool,
    /// How often it was written to the dead letters.
    pub(super) letters: u32,
}

pub(super) struct OpenTransaction {
    pub(super) producer_id: i64,
    pub(super) sequence: i32,
    pub(super) batches: Vec<usize>,
}

impl Reference {
    /// Topics of two partitions each.
    pub(super) fn new(partitions: i32, batches: usize) -> Self {
        let topics = ["orders", "refunds", "clicks", "views"].map(Arc::<str>::from);
        let partitions = (0..partitions)
            .map(|index| SourcePartition {
                topic: topics[index as usize / 2 % topics.len()].clone(),
                partition: index % 2,
                wants_identical: false,
                first_offset: 0,
                batches: Vec::new(),
                records: Vec::new(),
                open: Vec::new(),
                by_body: BTreeMap::new(),
                log_start: 0,
                log_end: 0,
                unwritten: batches,
                recreated: false,
                was_doubled: false,
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

    /// The highest offset at which a partition of the topic begins.
    pub(super) fn start_of(&self, topic: &str) -> i64 {
        let of_topic = self.partitions.iter().filter(|partition| &*partition.topic == topic);
        of_topic.map(|partition| partition.log_start).max().unwrap_or(0)
    }
}

impl SourcePartition {
    /// A batch was written at `base_offset`.
    pub(super) fn push(&mut self, base_offset: i64, new: NewBatch) {
        let NewBatch { offsets, contents, producer, fate, is_damaged } = new;
        let (batch, first) = (self.batches.len(), self.records.len());
        for (delta, record) in contents.iter().flat_map(|contents| &contents.records) {
            self.by_body.insert(record.body.clone(), self.records.len());
            let (offset, record) = (base_offset + i64::from(*delta), record.clone());
            self.records.push(SourceRecord { offset, batch, record, deleted: false, letters: 0 });
        }
        let next_offset = base_offset + i64::from(offsets);
        self.batches.push(SourceBatch {
            base_offset,
            next_offset,
            records: first..self.records.len(),
            fate,
            producer,
            versions: contents.into_iter().collect(),
            is_gone: false,
            is_damaged,
        });
        self.log_end = next_offset;
    }

    pub(super) fn fate_of(&self, record: usize) -> Fate {
        self.batches[self.records[record].batch].fate
    }

    /// Whether the target needs this record to be complete.
    pub(super) fn is_wanted(&self, record: usize) -> bool {
        let SourceRecord { offset, deleted, letters, .. } = self.records[record];
        self.fate_of(record) == Fate::Pass && !deleted && letters == 0 && offset >= self.log_start
    }

    /// The index of the first record from `from` on that the target should hold. None: it holds all it can.
    pub(super) fn first_wanted(&self, from: usize) -> Option<usize> {
        (from..self.records.len()).find(|&record| self.is_wanted(record))
    }

    /// The index of the first record at or after an offset.
    pub(super) fn first_from(&self, offset: i64) -> usize {
        self.records.partition_point(|record| record.offset < offset)
    }

    /// The batch that passed through untouched, as it once stood on the source.
    pub(super) fn passed(&self, batch: &Batch) -> Option<(usize, &Contents)> {
        let versions = self
            .batches
            .iter()
            .enumerate()
            .flat_map(|(at, source)| source.versions.iter().map(move |version| (at, version)));
        versions
            .filter(|(_, version)| !version.records.is_empty())
            .find(|(_, version)| version.payload == batch.payload)
    }

    /// The index of the record with this body.
    pub(super) fn record_of(&self, body: &Bytes) -> Option<usize> {
        self.by_body.get(body).copied()
    }

    /// The largest number of offsets in a row that may have no record on the target.
    pub(super) fn gap_max(&self) -> i64 {
        let wanted = (0..self.records.len()).filter(|&record| self.is_wanted(record));
        let offsets = wanted.map(|record| self.records[record].offset).chain([self.log_end]);
        let mut last = -1;
        let mut most = 0;
        for offset in offsets {
            most = most.max(offset - last - 1);
            last = offset;
        }
        most
    }

    /// All is written, and decided.
    pub(super) fn is_written(&self) -> bool {
        self.unwritten == 0 && self.open.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::random::Random;

    fn partition() -> SourcePartition {
        let mut random = Random::new(1, "reference");
        let mut partition = Reference::new(1, 0).partitions.remove(0);
        for (nth, fate) in [Fate::Pass, Fate::Skip, Fate::Undecided, Fate::Pass].into_iter().enumerate() {
            let contents = Contents::new(&format!("{nth}"), 2, 0, &mut random);
            let new =
                NewBatch { offsets: 2, contents: Some(contents), producer: None, fate, is_damaged: false };
            partition.push(partition.log_end + 10, new);
        }
        let marker =
            NewBatch { offsets: 1, contents: None, producer: None, fate: Fate::Skip, is_damaged: false };
        partition.push(partition.log_end, marker);
        partition
    }

    #[test]
    fn what_is_wanted_is_decided_kept_and_not_deleted() {
        let mut source = partition();
        assert_eq!(source.first_wanted(0), Some(0));
        assert_eq!(source.first_wanted(2), Some(6), "neither aborted nor undecided records");
        source.records[6].deleted = true;
        assert_eq!(source.first_wanted(2), Some(7));
        source.log_start = 48;
        assert_eq!((source.first_wanted(0), source.log_end), (None, 49));
        assert_eq!(source.first_from(46), 6);
    }

    #[test]
    fn the_largest_gap_ends_at_a_wanted_record_or_at_the_end() {
        let mut source = partition();
        assert_eq!(source.gap_max(), 34, "from 12 up to 45");
        source.log_end = 100;
        assert_eq!(source.gap_max(), 52);
    }
}
