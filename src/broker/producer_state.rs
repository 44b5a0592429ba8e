//! What a partition remembers of its idempotent and transactional producers, by the rules of Kafka's `ProducerStateManager`,
//! `ProducerAppendInfo` and `ProducerStateEntry`.

use super::batch::Batch;
use super::marker::Marker;
use kafka_protocol::error::ResponseError;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Batches that an exact repeat is recognised against (`ProducerStateEntry.NUM_BATCHES_TO_RETAIN`).
const BATCHES_REMEMBERED: usize = 5;

/// The producers of one partition, by producer id.
#[derive(Clone, Debug, Default)]
pub struct ProducerStates {
    entries: BTreeMap<i64, Entry>,
    /// Producer ids of the open transactions, by the offset of their first record (`ongoingTxns`).
    open: BTreeMap<i64, i64>,
}

/// One producer, as DescribeProducers shows it.
#[derive(Clone, Debug)]
pub struct Entry {
    pub epoch: i16,
    /// Newest last.
    batches: VecDeque<Written>,
    /// The newest batch's largest record timestamp: what expiry goes by, not the time of the append. A marker carries the time
    /// of its append.
    pub last_timestamp_ms: i64,
    /// Of the coordinator that wrote the last marker, -1 before the first.
    pub coordinator_epoch: i32,
    /// Offset of the open transaction's first record.
    pub open_since: Option<i64>,
    /// Where the producer wrote last, markers included.
    last_offset: i64,
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

/// A transaction that a marker has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Completed {
    pub producer_id: i64,
    pub first_offset: i64,
    pub marker_offset: i64,
    pub aborted: bool,
}

/// The first version of the transaction protocol whose markers carry an epoch above that of their records (KIP-890).
const EPOCH_BUMPING_VERSION: i8 = 2;

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

    /// Where the first open transaction begins (`firstUndecidedOffset`).
    pub fn first_open_offset(&self) -> Option<i64> {
        self.open.first_key_value().map(|(&offset, _)| offset)
    }

    /// Whether a batch of this producer goes on with a transaction that is open here.
    pub fn has_open_transaction(&self, producer_id: i64, epoch: i16) -> bool {
        self.entries.get(&producer_id).is_some_and(|entry| entry.epoch == epoch && entry.open_since.is_some())
    }

    /// Judges a batch from a client without changing anything. The coordinator vouches for the transaction (`vouched`) that a
    /// transactional batch begins here.
    ///
    /// # Errors
    /// INVALID_PRODUCER_EPOCH for an older epoch, OUT_OF_ORDER_SEQUENCE_NUMBER for a gap, an overlap, a repeat that is not
    /// remembered, and for a new epoch that does not begin at sequence 0. A producer that is not known may begin anywhere.
    /// INVALID_TXN_STATE for a transactional batch outside of a transaction, and for another one within.
    pub fn judge(&self, batch: &Batch, vouched: bool) -> Result<Verdict, ResponseError> {
        let (producer_id, epoch) = (batch.producer_id(), batch.producer_epoch());
        let is_in_place =
            !batch.is_transactional() || vouched || self.has_open_transaction(producer_id, epoch);
        let Some(entry) = self.entries.get(&producer_id) else {
            return if is_in_place { Ok(Verdict::Append) } else { Err(ResponseError::InvalidTxnState) };
        };
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
        if !is_in_place {
            return Err(ResponseError::InvalidTxnState);
        }
        let expected = if epoch > entry.epoch { 0 } else { entry.last_sequence().wrapping_add(1) & i32::MAX };
        if batch.base_sequence() != expected {
            return Err(ResponseError::OutOfOrderSequenceNumber);
        }
        if entry.open_since.is_some() && !batch.is_transactional() {
            return Err(ResponseError::InvalidTxnState);
        }
        Ok(Verdict::Append)
    }

    /// Judges a marker. Nothing compares it with what is there: a repeat is as good as the first.
    ///
    /// # Errors
    /// INVALID_PRODUCER_EPOCH, TRANSACTION_COORDINATOR_FENCED for older epochs than those known.
    pub fn judge_marker(&self, marker: Marker, transaction_version: i8) -> Result<(), ResponseError> {
        let Some(entry) = self.entries.get(&marker.producer_id) else { return Ok(()) };
        let is_stale = match transaction_version >= EPOCH_BUMPING_VERSION {
            // At the same epoch it repeats the marker that ended the transaction (KAFKA-19999).
            true if marker.producer_epoch == entry.epoch => entry.open_since.is_some(),
            _ => marker.producer_epoch < entry.epoch,
        };
        if is_stale {
            return Err(ResponseError::InvalidProducerEpoch);
        }
        if marker.coordinator_epoch < entry.coordinator_epoch {
            return Err(ResponseError::TransactionCoordinatorFenced);
        }
        Ok(())
    }

    /// Remembers a batch that was appended. Returns the transaction that it ended, if it did.
    pub fn record(&mut self, batch: &Batch) -> Option<Completed> {
        let marker = Marker::of_batch(batch);
        if batch.producer_id() < 0 || (batch.is_control() && marker.is_none()) {
            return None;
        }
        let entry = self.entries.entry(batch.producer_id()).or_insert_with(|| Entry {
            epoch: batch.producer_epoch(),
            batches: VecDeque::new(),
            last_timestamp_ms: -1,
            coordinator_epoch: -1,
            open_since: None,
            last_offset: -1,
        });
        if entry.epoch != batch.producer_epoch() {
            entry.epoch = batch.producer_epoch();
            entry.batches.clear();
        }
        entry.last_timestamp_ms = batch.max_timestamp();
        entry.last_offset = batch.last_offset();
        if let Some(marker) = marker {
            entry.coordinator_epoch = marker.coordinator_epoch;
            let first_offset = entry.open_since.take()?;
            self.open.remove(&first_offset);
            return Some(Completed {
                producer_id: batch.producer_id(),
                first_offset,
                marker_offset: batch.base_offset(),
                aborted: !marker.commits,
            });
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
        if batch.is_transactional() && entry.open_since.is_none() {
            entry.open_since = Some(batch.base_offset());
            self.open.insert(batch.base_offset(), batch.producer_id());
        }
        None
    }

    /// Forgets producers whose last batch's records are `expiration_ms` old (`producer.id.expiration.ms`), busy or not, unless
    /// they have a transaction open.
    pub fn expire(&mut self, wall_ms: i64, expiration_ms: i64) {
        self.entries.retain(|_, entry| {
            entry.open_since.is_some() || wall_ms.saturating_sub(entry.last_timestamp_ms) < expiration_ms
        });
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
            let kept = entry.last_offset < offset;
            if !kept {
                concerned.insert(producer_id);
            }
            kept
        });
        self.open.retain(|_, producer_id| !concerned.contains(producer_id));
        if !concerned.is_empty() {
            for batch in left.filter(|batch| concerned.contains(&batch.producer_id())) {
                self.record(batch);
            }
        }
    }

    pub fn clear(&mut self) {
        self.entries.clear();
        self.open.clear();
    }
}
