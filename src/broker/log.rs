//! One partition's log: batches in memory, the offsets that bound it, its leader epochs, its producers and their transactions.

use super::batch::Batch;
use super::marker::Marker;
use super::producer_state::{ProducerStates, Verdict};
use super::transaction_index::{Aborted, TransactionIndex};
use kafka_protocol::error::ResponseError;
use std::collections::VecDeque;

/// The log of one partition. Replicas are not kept apart: what the leader has, all have, except for what the high watermark
/// leaves open.
#[derive(Clone, Debug, Default)]
pub struct Log {
    batches: VecDeque<Batch>,
    log_start_offset: i64,
    log_end_offset: i64,
    high_watermark: i64,
    size_bytes: usize,
    /// (leader epoch, its first offset), rising in both (Kafka's `LeaderEpochFileCache`).
    epochs: Vec<(i32, i64)>,
    pub producers: ProducerStates,
    transactions: TransactionIndex,
}

/// Bytes after a fetched range within which aborted transactions are told, too: Kafka looks the range's end up in an index
/// with gaps of this size (`index.interval.bytes`).
const INDEX_INTERVAL_BYTES: usize = 4096;

/// Where an append went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    pub base_offset: i64,
    pub last_offset: i64,
    pub duplicate: bool,
}

impl Log {
    pub fn log_start_offset(&self) -> i64 {
        self.log_start_offset
    }

    /// The offset that the next record will get.
    pub fn log_end_offset(&self) -> i64 {
        self.log_end_offset
    }

    /// Consumers see offsets below this.
    pub fn high_watermark(&self) -> i64 {
        self.high_watermark
    }

    /// Below this every transaction is decided, and its end replicated (`UnifiedLog.fetchLastStableOffset`).
    pub fn last_stable_offset(&self) -> i64 {
        let undecided = self.producers.first_open_offset().into_iter();
        let unstable = undecided.chain(self.transactions.first_unreplicated_offset()).min();
        unstable
            .map_or(self.high_watermark, |offset| offset.max(self.log_start_offset).min(self.high_watermark))
    }

    /// What readers may see: all that is replicated, or only what is decided, too.
    pub fn readable_end(&self, read_committed: bool) -> i64 {
        if read_committed { self.last_stable_offset() } else { self.high_watermark }
    }

    pub fn size_bytes(&self) -> usize {
        self.size_bytes
    }

    pub fn oldest(&self) -> Option<&Batch> {
        self.batches.front()
    }

    pub fn batches(&self) -> impl DoubleEndedIterator<Item = &Batch> {
        self.batches.iter()
    }

    /// Appends a validated batch, unless its producer's state knows better. The high watermark stays. `vouched`: the coordinator
    /// knows the batch's transaction.
    ///
    /// # Errors
    /// Those of [`ProducerStates::judge`].
    pub fn append(
        &mut self,
        mut batch: Batch,
        leader_epoch: i32,
        vouched: bool,
    ) -> Result<Appended, ResponseError> {
        if batch.producer_id() >= 0
            && let Verdict::Duplicate { base_offset, last_offset } = self.producers.judge(&batch, vouched)?
        {
            return Ok(Appended { base_offset, last_offset, duplicate: true });
        }
        batch.place(self.log_end_offset, leader_epoch);
        Ok(self.push(batch))
    }

    /// Appends the batch of a marker that [`ProducerStates::judge_marker`] accepts.
    ///
    /// # Errors
    /// Those of `judge_marker`.
    pub fn append_marker(
        &mut self,
        marker: Marker,
        transaction_version: i8,
        mut batch: Batch,
        leader_epoch: i32,
    ) -> Result<Appended, ResponseError> {
        self.producers.judge_marker(marker, transaction_version)?;
        batch.place(self.log_end_offset, leader_epoch);
        Ok(self.push(batch))
    }

    /// Stores a batch with the offsets it carries: how tests and the simulator make holes, control batches and logs that do
    /// not begin at 0. The base offset must not lie below the log's end.
    pub fn append_as_is(&mut self, batch: Batch) -> Option<Appended> {
        (batch.base_offset() >= self.log_end_offset).then(|| self.push(batch))
    }

    fn push(&mut self, batch: Batch) -> Appended {
        let (base_offset, last_offset) = (batch.base_offset(), batch.last_offset());
        if self.epochs.last().is_none_or(|&(epoch, _)| epoch < batch.leader_epoch()) {
            self.epochs.push((batch.leader_epoch(), base_offset));
        }
        if self.batches.is_empty() && self.log_start_offset == self.log_end_offset {
            self.log_start_offset = self.log_start_offset.max(base_offset);
        }
        if let Some(completed) = self.producers.record(&batch) {
            self.transactions.complete(completed, self.producers.first_open_offset());
        }
        self.log_end_offset = last_offset + 1;
        self.size_bytes += batch.size_bytes();
        self.batches.push_back(batch);
        Appended { base_offset, last_offset, duplicate: false }
    }

    /// The log cleaner has passed over the batch at `base_offset`: this is left of it. Offsets, producers and transactions are
    /// what they were. Returns the bytes that went.
    pub fn clean(&mut self, base_offset: i64, left: Option<Batch>) -> usize {
        let at = self.batches.partition_point(|batch| batch.base_offset() < base_offset);
        let Some(batch) = self.batches.get_mut(at).filter(|batch| batch.base_offset() == base_offset) else {
            return 0;
        };
        let before = batch.size_bytes();
        let after = left.as_ref().map_or(0, Batch::size_bytes);
        match left {
            Some(mut left) => {
                left.place(base_offset, batch.leader_epoch());
                *batch = left;
            }
            None => drop(self.batches.remove(at)),
        }
        self.size_bytes = self.size_bytes - before + after;
        before.saturating_sub(after)
    }

    /// Moves the high watermark forward, at most to the log's end. Returns whether it moved.
    pub fn advance_high_watermark(&mut self, to: i64) -> bool {
        let to = to.min(self.log_end_offset);
        let moved = to > self.high_watermark;
        self.high_watermark = self.high_watermark.max(to);
        self.transactions.advance_high_watermark(self.high_watermark);
        moved
    }

    /// The batches from the one that holds `offset` on, up to the one that ends at `below`.
    pub fn read(&self, offset: i64, below: i64) -> impl Iterator<Item = &Batch> {
        let first = self.batches.partition_point(|batch| batch.last_offset() < offset);
        self.batches.range(first..).take_while(move |batch| batch.last_offset() < below)
    }

    /// The aborted transactions that a reader has to know who gets the batches from `offset` on, up to but without `below`.
    pub fn aborted(&self, offset: i64, below: i64) -> impl Iterator<Item = &Aborted> {
        let mut passed_bytes = 0;
        let mut after = self.read(below, i64::MAX).skip_while(move |batch| {
            passed_bytes += batch.size_bytes();
            passed_bytes <= INDEX_INTERVAL_BYTES
        });
        let bound = after.next().map_or(self.log_end_offset, Batch::base_offset);
        self.transactions.aborted(offset, bound)
    }

    /// Moves the log's start, never back and at most to the high watermark; drops what lies wholly below. Returns bytes freed.
    pub fn delete_before(&mut self, offset: i64) -> usize {
        let before = self.size_bytes;
        self.log_start_offset = self.log_start_offset.max(offset.min(self.high_watermark));
        while self.batches.front().is_some_and(|batch| batch.last_offset() < self.log_start_offset) {
            self.drop_front();
        }
        self.transactions.advance_log_start(self.log_start_offset);
        before - self.size_bytes
    }

    /// Drops the oldest batch, whatever the high watermark says, if it begins at `base_offset`. Returns bytes freed.
    pub fn evict(&mut self, base_offset: i64) -> usize {
        if self.batches.front().is_none_or(|batch| batch.base_offset() != base_offset) {
            return 0;
        }
        let before = self.size_bytes;
        self.drop_front();
        self.log_start_offset = self
            .batches
            .front()
            .map_or(self.log_end_offset, |batch| batch.base_offset().max(self.log_start_offset));
        self.high_watermark = self.high_watermark.max(self.log_start_offset);
        self.transactions.advance_log_start(self.log_start_offset);
        before - self.size_bytes
    }

    fn drop_front(&mut self) {
        if let Some(batch) = self.batches.pop_front() {
            self.size_bytes -= batch.size_bytes();
        }
    }

    /// An unclean election: whole batches that reach `offset` or beyond are gone, and what the producers' state knew of
    /// them. Returns bytes freed.
    pub fn truncate(&mut self, offset: i64) -> usize {
        let before = self.size_bytes;
        while self.batches.back().is_some_and(|batch| batch.last_offset() >= offset) {
            if let Some(batch) = self.batches.pop_back() {
                self.size_bytes -= batch.size_bytes();
                self.log_end_offset = batch.base_offset();
            }
        }
        self.log_end_offset = self.log_end_offset.min(offset.max(self.log_start_offset));
        // Records may have been deleted up to within a batch (`UnifiedLog.truncateTo`).
        self.log_start_offset = self.log_start_offset.min(self.log_end_offset);
        self.high_watermark = self.high_watermark.min(self.log_end_offset);
        let end = self.log_end_offset;
        self.epochs.retain(|&(_, start)| start < end);
        self.producers.truncate(end, self.batches.iter());
        self.transactions.truncate(end);
        before - self.size_bytes
    }

    /// A broker that has this log stops and starts: the producers' state is what the snapshot holds, and there is none when
    /// nothing is left of the log (`ProducerStateManager` deletes snapshots at or below the log's start).
    pub fn restart(&mut self, wall_ms: i64, expiration_ms: i64) {
        if self.log_start_offset == self.log_end_offset {
            self.producers.clear();
        } else {
            self.producers.reload_snapshot(wall_ms, expiration_ms);
        }
    }

    /// The newest leader epoch that is in the log, -1 when there is none.
    pub fn latest_epoch(&self) -> i32 {
        self.epochs.last().map_or(-1, |&(epoch, _)| epoch)
    }

    /// A leader that begins an epoch notes where, even before it appends anything.
    pub fn begin_epoch(&mut self, epoch: i32) {
        if self.epochs.last().is_none_or(|&(latest, _)| latest < epoch) {
            let end = self.log_end_offset;
            self.epochs.retain(|&(_, start)| start < end);
            self.epochs.push((epoch, end));
        }
    }

    /// (epoch, end offset) of the largest epoch not above `epoch`; (-1, -1) when that is not known
    /// (`LeaderEpochFileCache.endOffsetFor`).
    pub fn end_of_epoch(&self, epoch: i32) -> (i32, i64) {
        if epoch < 0 || epoch > self.latest_epoch() {
            return (-1, -1);
        }
        let above = self.epochs.partition_point(|&(known, _)| known <= epoch);
        let end = self.epochs.get(above).map_or(self.log_end_offset, |&(_, start)| start);
        match above.checked_sub(1).and_then(|at| self.epochs.get(at)) {
            Some(&(known, _)) => (known, end),
            None => (epoch, end),
        }
    }

    /// The leader epoch that `offset` was written in, -1 when unknown.
    pub fn epoch_of(&self, offset: i64) -> i32 {
        let above = self.epochs.partition_point(|&(_, start)| start <= offset);
        above.checked_sub(1).and_then(|at| self.epochs.get(at)).map_or(-1, |&(epoch, _)| epoch)
    }
}
