//! The transaction coordinator, by the rules of Kafka's `TransactionCoordinator` and `TransactionMetadata` before version 2 of the
//! transaction protocol (KIP-890): producers name their partitions, and an end leaves the epoch as it is.
//!
//! Markers are written at once where that is possible. As on real brokers a marker counts when it is replicated under the leader
//! that wrote it, and is written again otherwise, so one transaction can have several in a partition.

use super::Cluster;
use super::log::Appended;
use super::marker::Marker;
use super::topic::PartitionKey;
use crate::time::Now;
use kafka_protocol::error::ResponseError;
use std::collections::{BTreeMap, BTreeSet};

/// `transaction.max.timeout.ms`.
const TIMEOUT_MS_MAX: i32 = 900_000;
/// Between two attempts to write what is missing of a transaction's markers.
const MARKER_PAUSE_MS: u64 = 100;
const NO_EPOCH: i16 = -1;
/// Epochs up to here are given to producers; the last one is left to fence them.
const EPOCH_MAX: i16 = i16::MAX - 1;
/// Leader epoch of `__transaction_state`, which does not exist here.
const COORDINATOR_EPOCH: i32 = 0;

/// A partition by its name.
pub type Place = (String, i32);

/// All transactional ids.
#[derive(Debug, Default)]
pub struct Transactions {
    by_id: BTreeMap<String, Transaction>,
    /// Partitions that got a marker once more, because their leader changed before the first one was found replicated.
    marked_again: BTreeSet<Place>,
}

/// What the coordinator knows of one transactional id.
#[derive(Debug)]
pub struct Transaction {
    pub producer_id: i64,
    pub epoch: i16,
    /// The id that the epochs of this one follow on, if they were used up.
    previous_producer_id: i64,
    /// The epoch that its own producer had before the last bump, whose repeat is answered like the first time (KIP-360).
    previous_epoch: i16,
    pub timeout_ms: i32,
    pub state: State,
    pub partitions: BTreeSet<Place>,
    groups: BTreeSet<String>,
    /// -1 before the first transaction.
    pub started_ms: i64,
    /// When the transaction is given up, or its markers are looked at again (steady clock, µs).
    due_us: u64,
    /// Markers that were written and not yet found replicated: their offset, and the leader epoch that they were written in.
    written: BTreeMap<Place, (i64, i32)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Empty,
    Ongoing,
    PrepareCommit,
    PrepareAbort,
    CompleteCommit,
    CompleteAbort,
}

/// A producer as it names itself in its requests.
#[derive(Clone, Copy, Debug)]
pub struct Claim<'a> {
    pub transactional_id: &'a str,
    pub producer_id: i64,
    pub epoch: i16,
}

impl State {
    /// As DescribeTransactions and ListTransactions spell it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::Ongoing => "Ongoing",
            Self::PrepareCommit => "PrepareCommit",
            Self::PrepareAbort => "PrepareAbort",
            Self::CompleteCommit => "CompleteCommit",
            Self::CompleteAbort => "CompleteAbort",
        }
    }

    fn is_ending(self) -> bool {
        matches!(self, Self::PrepareCommit | Self::PrepareAbort)
    }
}

impl Transaction {
    fn new(producer_id: i64) -> Self {
        Self {
            producer_id,
            epoch: NO_EPOCH,
            previous_producer_id: -1,
            previous_epoch: NO_EPOCH,
            timeout_ms: 0,
            state: State::Empty,
            partitions: BTreeSet::new(),
            groups: BTreeSet::new(),
            started_ms: -1,
            due_us: u64::MAX,
            written: BTreeMap::new(),
        }
    }

    pub fn holds_partition(&self, topic: &str, partition: i32) -> bool {
        self.partitions.iter().any(|place| place.0 == topic && place.1 == partition)
    }

    pub fn holds_group(&self, group_id: &str) -> bool {
        self.groups.contains(group_id)
    }

    /// The epoch for a producer that has `named` the one it had. None: they are used up, and a new producer id is to be given out.
    fn next_epoch(&mut self, named: Option<i16>) -> Result<Option<i16>, ResponseError> {
        let is_own = named.is_none_or(|epoch| epoch == self.epoch);
        if self.epoch >= EPOCH_MAX && is_own {
            self.previous_epoch = if named.is_some() { self.epoch } else { NO_EPOCH };
            return Ok(None);
        }
        if is_own || self.epoch == NO_EPOCH {
            self.previous_epoch = if named.is_some() { self.epoch } else { NO_EPOCH };
            Ok(Some(self.epoch + 1))
        } else if named == Some(self.previous_epoch) {
            Ok(Some(self.epoch))
        } else {
            Err(ResponseError::ProducerFenced)
        }
    }

    /// Whether a producer that says it had this id and epoch may be the one that this transactional id belongs to.
    fn knows(&self, (producer_id, epoch): (i64, i16)) -> bool {
        self.epoch == NO_EPOCH
            || producer_id == self.producer_id
            || (producer_id == self.previous_producer_id && epoch >= EPOCH_MAX)
    }
}

impl Transactions {
    pub fn get(&self, transactional_id: &str) -> Option<&Transaction> {
        self.by_id.get(transactional_id)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&String, &Transaction)> {
        self.by_id.iter()
    }

    /// Whether a transaction left more than one marker in the partition (KAFKA-19999).
    pub fn has_marked_again(&self, topic: &str, partition: i32) -> bool {
        self.marked_again.iter().any(|place| place.0 == topic && place.1 == partition)
    }

    /// When a transaction runs out of time, or its markers are due.
    pub fn poll_timeout(&self) -> Option<u64> {
        self.by_id.values().map(|transaction| transaction.due_us).filter(|&due_us| due_us < u64::MAX).min()
    }

    fn claimed(&mut self, claim: Claim<'_>) -> Result<&mut Transaction, ResponseError> {
        if claim.transactional_id.is_empty() {
            return Err(ResponseError::InvalidRequest);
        }
        let transaction = self.by_id.get_mut(claim.transactional_id);
        let transaction = transaction.filter(|transaction| transaction.producer_id == claim.producer_id);
        let transaction = transaction.ok_or(ResponseError::InvalidProducerIdMapping)?;
        if claim.epoch == transaction.epoch { Ok(transaction) } else { Err(ResponseError::ProducerFenced) }
    }

    /// Adds partitions and groups to the producer's transaction, and begins it if there is none.
    ///
    /// # Errors
    /// INVALID_PRODUCER_ID_MAPPING, PRODUCER_FENCED; CONCURRENT_TRANSACTIONS while the last one is being ended.
    pub fn add(
        &mut self,
        now: Now,
        claim: Claim<'_>,
        partitions: impl IntoIterator<Item = Place>,
        groups: impl IntoIterator<Item = String>,
    ) -> Result<(), ResponseError> {
        let transaction = self.claimed(claim)?;
        if transaction.state.is_ending() {
            return Err(ResponseError::ConcurrentTransactions);
        }
        if transaction.state != State::Ongoing {
            transaction.state = State::Ongoing;
            transaction.started_ms = now.wall_ms;
            transaction.due_us = now.after_ms(u64::try_from(transaction.timeout_ms).unwrap_or(0));
        }
        transaction.partitions.extend(partitions);
        transaction.groups.extend(groups);
        Ok(())
    }

    /// Vouches for the producer's open transaction (KIP-890's verification). `holds` looks for what it must have been told of;
    /// `tells_abortable`: the request is new enough for TRANSACTION_ABORTABLE.
    ///
    /// # Errors
    /// INVALID_PRODUCER_ID_MAPPING, INVALID_PRODUCER_EPOCH, INVALID_TXN_STATE or TRANSACTION_ABORTABLE; NOT_ENOUGH_REPLICAS,
    /// which makes producers try again, while the last transaction is being ended.
    pub fn verify(
        &mut self,
        claim: Claim<'_>,
        tells_abortable: bool,
        holds: impl FnOnce(&Transaction) -> bool,
    ) -> Result<(), ResponseError> {
        let transaction = self.claimed(claim).map_err(|error| match error {
            ResponseError::ProducerFenced => ResponseError::InvalidProducerEpoch,
            other => other,
        })?;
        if transaction.state.is_ending() {
            Err(ResponseError::NotEnoughReplicas)
        } else if transaction.state == State::Ongoing && holds(transaction) {
            Ok(())
        } else if tells_abortable {
            Err(ResponseError::TransactionAbortable)
        } else {
            Err(ResponseError::InvalidTxnState)
        }
    }
}

impl Cluster {
    /// Gives a transactional id's producer its next epoch, which fences whoever had the one before. A transaction that is still
    /// open is aborted first; the producer has to ask again.
    ///
    /// # Errors
    /// INVALID_TRANSACTION_TIMEOUT, PRODUCER_FENCED, CONCURRENT_TRANSACTIONS.
    pub(super) fn init_transactions(
        &mut self,
        now: Now,
        transactional_id: &str,
        timeout_ms: i32,
        named: Option<(i64, i16)>,
    ) -> Result<(i64, i16), ResponseError> {
        if transactional_id.is_empty() {
            return Err(ResponseError::InvalidRequest);
        }
        if !(1..=TIMEOUT_MS_MAX).contains(&timeout_ms) {
            return Err(ResponseError::InvalidTransactionTimeout);
        }
        if !self.transactions.by_id.contains_key(transactional_id) {
            let fresh = Transaction::new(self.next_producer_id());
            self.transactions.by_id.insert(transactional_id.to_owned(), fresh);
        }
        let next_id = self.producer_ids;
        let transaction =
            self.transactions.by_id.get_mut(transactional_id).ok_or(ResponseError::UnknownServerError)?;
        if named.is_some_and(|named| !transaction.knows(named)) {
            return Err(ResponseError::ProducerFenced);
        }
        match transaction.state {
            State::PrepareCommit | State::PrepareAbort => Err(ResponseError::ConcurrentTransactions),
            State::Ongoing => {
                self.abort_and_fence(now, transactional_id);
                Err(ResponseError::ConcurrentTransactions)
            }
            State::Empty | State::CompleteCommit | State::CompleteAbort => {
                match transaction.next_epoch(named.map(|(_, epoch)| epoch))? {
                    Some(epoch) => transaction.epoch = epoch,
                    None => {
                        transaction.previous_producer_id = transaction.producer_id;
                        (transaction.producer_id, transaction.epoch) = (next_id, 0);
                        self.producer_ids += 1;
                    }
                }
                transaction.state = State::Empty;
                transaction.timeout_ms = timeout_ms;
                transaction.started_ms = -1;
                Ok((transaction.producer_id, transaction.epoch))
            }
        }
    }

    /// Ends a producer's transaction as it asks for (EndTxn).
    ///
    /// # Errors
    /// INVALID_PRODUCER_ID_MAPPING, PRODUCER_FENCED; CONCURRENT_TRANSACTIONS for a repeat while the markers are written,
    /// INVALID_TXN_STATE where there is no transaction, or it ended the other way.
    pub(super) fn end_transaction(
        &mut self,
        now: Now,
        claim: Claim<'_>,
        commits: bool,
    ) -> Result<(), ResponseError> {
        let transaction = self.transactions.claimed(claim)?;
        match (transaction.state, commits) {
            (State::Ongoing, _) => {
                transaction.state = if commits { State::PrepareCommit } else { State::PrepareAbort };
                self.write_markers(now, claim.transactional_id);
                Ok(())
            }
            (State::CompleteCommit, true) | (State::CompleteAbort, false) => Ok(()),
            (State::PrepareCommit, true) | (State::PrepareAbort, false) => {
                Err(ResponseError::ConcurrentTransactions)
            }
            _ => Err(ResponseError::InvalidTxnState),
        }
    }

    /// Gives up transactions that ran out of time, and goes on with markers that could not be written.
    pub(super) fn handle_transactions(&mut self, now: Now) {
        let is_due = |(_, transaction): &(&String, &Transaction)| transaction.due_us <= now.mono_us;
        let due: Vec<(String, bool)> = self
            .transactions
            .iter()
            .filter(is_due)
            .map(|(id, transaction)| (id.clone(), transaction.state.is_ending()))
            .collect();
        for (transactional_id, is_ending) in due {
            if is_ending {
                self.write_markers(now, &transactional_id);
            } else {
                self.abort_and_fence(now, &transactional_id);
            }
        }
    }

    /// Aborts an open transaction in an epoch of its own, which the producer never gets.
    fn abort_and_fence(&mut self, now: Now, transactional_id: &str) {
        let Some(transaction) = self.transactions.by_id.get_mut(transactional_id) else { return };
        transaction.epoch = transaction.epoch.saturating_add(1);
        transaction.previous_epoch = NO_EPOCH;
        transaction.state = State::PrepareAbort;
        self.write_markers(now, transactional_id);
    }

    /// Writes what is missing of an ending transaction's markers, and completes it when all are replicated.
    fn write_markers(&mut self, now: Now, transactional_id: &str) {
        let Some(transaction) = self.transactions.by_id.get_mut(transactional_id) else { return };
        let marker = Marker {
            producer_id: transaction.producer_id,
            producer_epoch: transaction.epoch,
            commits: transaction.state == State::PrepareCommit,
            coordinator_epoch: COORDINATOR_EPOCH,
        };
        transaction.due_us = now.after_ms(MARKER_PAUSE_MS);
        let places: Vec<Place> = transaction.partitions.iter().cloned().collect();
        for group_id in std::mem::take(&mut transaction.groups) {
            self.groups.end_transaction(&group_id, marker.producer_id, marker.commits);
        }
        for place in places {
            let before =
                self.transactions.get(transactional_id).and_then(|it| it.written.get(&place)).copied();
            let written = self.ensure_marker(now, &place, marker, before);
            let Some(transaction) = self.transactions.by_id.get_mut(transactional_id) else { return };
            match written {
                Some(written) => drop(transaction.written.insert(place, written)),
                None => {
                    transaction.written.remove(&place);
                    transaction.partitions.remove(&place);
                }
            }
        }
        let Some(transaction) = self.transactions.by_id.get_mut(transactional_id) else { return };
        if transaction.partitions.is_empty() {
            transaction.state = if marker.commits { State::CompleteCommit } else { State::CompleteAbort };
            transaction.due_us = u64::MAX;
        }
    }

    /// Sees to a partition's marker. Returns where it stands while it is not replicated; None: nothing is left to do.
    fn ensure_marker(
        &mut self,
        now: Now,
        (topic, index): &Place,
        marker: Marker,
        written: Option<(i64, i32)>,
    ) -> Option<(i64, i32)> {
        const UNWRITTEN: (i64, i32) = (-1, -1);
        let key = self.topics.key(topic, *index)?;
        let (leader, leader_epoch) =
            self.topics.partition(key).map(|partition| (partition.leader, partition.leader_epoch))?;
        // Without a leader, too: that there was one is forgotten by the time there is another leader.
        if written.is_some_and(|(offset, epoch)| offset >= 0 && epoch != leader_epoch) {
            self.transactions.marked_again.insert((topic.clone(), *index));
        }
        let written = written.filter(|&(_, epoch)| epoch == leader_epoch);
        let (offset, _) = match written {
            Some(written) => written,
            None if leader < 0 => return Some(UNWRITTEN),
            // Who is newer has ended the transaction.
            None => (self.append_marker(now, key, marker, 0).ok()?.base_offset, leader_epoch),
        };
        let is_replicated = self.topics.partition(key)?.log.high_watermark() > offset;
        (!is_replicated).then_some((offset, leader_epoch))
    }

    /// Appends a marker as the partition's leader does.
    ///
    /// # Errors
    /// INVALID_PRODUCER_EPOCH, TRANSACTION_COORDINATOR_FENCED.
    pub(super) fn append_marker(
        &mut self,
        now: Now,
        key: PartitionKey,
        marker: Marker,
        transaction_version: i8,
    ) -> Result<Appended, ResponseError> {
        let topic = self.topics.get(key.topic).ok_or(ResponseError::UnknownTopicOrPartition)?;
        let mut batch = marker.to_batch(now.wall_ms);
        if topic.config.stamps_append_time() {
            batch.stamp_append_time(now.wall_ms);
        }
        let size_bytes = batch.size_bytes();
        let partition = self.topics.partition_mut(key).ok_or(ResponseError::UnknownTopicOrPartition)?;
        let leader_epoch = partition.leader_epoch;
        let appended = partition.log.append_marker(marker, transaction_version, batch, leader_epoch)?;
        self.after_append(key, appended, size_bytes);
        Ok(appended)
    }

    pub(super) fn next_producer_id(&mut self) -> i64 {
        self.producer_ids += 1;
        self.producer_ids - 1
    }
}
