//! What a partition remembers of its idempotent producers, by the rules of Kafka's `ProducerStateManager`,
//! `ProducerAppendInfo` and `ProducerStateEntry`.

use super::batch::Batch;
use kafka_protocol::error::ResponseError;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Batches that an exact repeat is recognised against (`ProducerStateEntry.NUM_BATCHES_TO_RETAIN`).
const BATCHES_REMEMBERED: usize = 5;

/// The producers of one partition, by producer id.
#[derive(Clone, Debug, Default)]
pub struct ProducerStates {
    entries: BTreeMap<i64, Entry>,
}

/// One producer, as DescribeProducers shows it.
#[derive(Clone, Debug)]
pub struct Entry {
    pub epoch: i16,
    /// Newest last.
    batches: VecDeque<Written>,
    /// The newest batch's largest record timestamp: what expiry goes by, not the time of the append.
    pub last_timestamp_ms: i64,
}

#[derive(Clone, Copy, Debug)]
struct Written {
    first_sequence: i32,
    last_sequence: i32,
    base_offset: i64,
    last_offset: i64,
}

/// What the state says to a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Append,
    /// Written before: answered as a success, with where it was written then.
    Duplicate {
        base_offset: i64,
        last_offset: i64,
    },
}

impl Entry {
    /// The last sequence written; -1 when none is known.
    pub fn last_sequence(&self) -> i32 {
        self.batches.back().map_or(-1, |batch| batch.last_sequence)
    }
}

impl ProducerStates {
    pub fn iter(&self) -> impl Iterator<Item = (i64, &Entry)> {
        self.entries.iter().map(|(&producer_id, entry)| (producer_id, entry))
    }

    /// Judges a batch from a client without changing anything.
    ///
    /// # Errors
    /// INVALID_PRODUCER_EPOCH for an older epoch, OUT_OF_ORDER_SEQUENCE_NUMBER for a gap, an overlap, a repeat that is not
    /// remembered, and for a new epoch that does not begin at sequence 0. A producer that is not known may begin anywhere.
    pub fn judge(&self, batch: &Batch) -> Result<Verdict, ResponseError> {
        let Some(entry) = self.entries.get(&batch.producer_id()) else { return Ok(Verdict::Append) };
        let epoch = batch.producer_epoch();
        if epoch == entry.epoch
            && let Some(written) = entry.batches.iter().find(|written| {
                written.first_sequence == batch.base_sequence()
                    && written.last_sequence == batch.last_sequence()
            })
        {
            return Ok(Verdict::Duplicate {
                base_offset: written.base_offset,
                last_offset: written.last_offset,
            });
        }
        if epoch < entry.epoch {
            return Err(ResponseError::InvalidProducerEpoch);
        }
        let expected = if epoch > entry.epoch { 0 } else { entry.last_sequence().wrapping_add(1) & i32::MAX };
        if batch.base_sequence() == expected {
            Ok(Verdict::Append)
        } else {
            Err(ResponseError::OutOfOrderSequenceNumber)
        }
    }

    /// Remembers a batch that was appended.
    pub fn record(&mut self, batch: &Batch) {
        if batch.producer_id() < 0 || batch.is_control() {
            return;
        }
        let entry = self.entries.entry(batch.producer_id()).or_insert_with(|| Entry {
            epoch: batch.producer_epoch(),
            batches: VecDeque::new(),
            last_timestamp_ms: -1,
        });
        if entry.epoch != batch.producer_epoch() {
            entry.epoch = batch.producer_epoch();
            entry.batches.clear();
        }
        if entry.batches.len() == BATCHES_REMEMBERED {
            entry.batches.pop_front();
        }
        entry.batches.push_back(Written {
            first_sequence: batch.base_sequence(),
            last_sequence: batch.last_sequence(),
            base_offset: batch.base_offset(),
            last_offset: batch.last_offset(),
        });
        entry.last_timestamp_ms = batch.max_timestamp();
    }

    /// Forgets producers whose last batch's records are `expiration_ms` old (`producer.id.expiration.ms`), busy or not.
    pub fn expire(&mut self, wall_ms: i64, expiration_ms: i64) {
        self.entries.retain(|_, entry| wall_ms.saturating_sub(entry.last_timestamp_ms) < expiration_ms);
    }

    /// What is left after the broker wrote its snapshot, stopped, and read it again: each producer's newest batch, and only
    /// producers that have not expired.
    pub fn reload_snapshot(&mut self, wall_ms: i64, expiration_ms: i64) {
        self.expire(wall_ms, expiration_ms);
        for entry in self.entries.values_mut() {
            let older = entry.batches.len().saturating_sub(1);
            entry.batches.drain(..older);
        }
    }

    /// Forgets what was written at or after `offset`; producers that this concerns get the state that the batches which are
    /// left of the log tell of.
    pub fn truncate<'a>(&mut self, offset: i64, left: impl Iterator<Item = &'a Batch>) {
        let mut concerned = BTreeSet::new();
        self.entries.retain(|&producer_id, entry| {
            let kept = entry.batches.iter().all(|written| written.last_offset < offset);
            if !kept {
                concerned.insert(producer_id);
            }
            kept
        });
        if !concerned.is_empty() {
            left.filter(|batch| concerned.contains(&batch.producer_id()))
                .for_each(|batch| self.record(batch));
        }
    }

    pub fn clear(&mut self) {
        self.entries.clear();
    }
}
