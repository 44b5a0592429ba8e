//! One target partition as it must be: the source's batches in their order, each once, whether written by the link's producer or
//! in transactions that were committed.

use crate::broker::Batch;
use crate::broker::log::Log;
use crate::broker::marker::Marker;
use crate::sim::ledger_view::{LaneView, LedgerView};
use crate::sim::reference::{Next, SourcePartition};

/// As far as it was checked.
#[derive(Default)]
pub(super) struct Twin {
    /// What stands on the target, in its order; and where it begins.
    entries: Vec<Entry>,
    begin: i64,
    /// Of these, the batches that a consumer of committed records sees.
    stands: Vec<Stand>,
    /// Those of the transaction that is open, whose producer it is.
    open: Vec<Stand>,
    open_producer: Option<i64>,
    /// What must not be committed.
    open_wrong: Option<String>,
    next_sequence: Option<i32>,
    /// Everything below this was once replicated.
    high_watermark: i64,
    /// An unclean election lost all that the target knew of us, and a batch on its way was taken for the first. That cannot be
    /// kept out; what is asked for is that the lane notices and stops, for as long as the batch is there.
    spoiled_at: Option<i64>,
    was_spoiled: bool,
    /// Where the log was cut off last.
    cut_at: Option<i64>,
}

#[derive(Clone, Copy)]
struct Stand {
    source_index: usize,
    next_offset: i64,
    next_sequence: i32,
}

#[derive(Clone, Copy)]
enum Entry {
    Plain(Stand),
    InTransaction(i64, Stand),
    Marker { producer_id: i64, commits: bool, next_offset: i64 },
}

impl Entry {
    fn next_offset(self) -> i64 {
        match self {
            Self::Plain(stand) | Self::InTransaction(_, stand) => stand.next_offset,
            Self::Marker { next_offset, .. } => next_offset,
        }
    }
}

impl Twin {
    /// Index of the first source batch that is not on the target yet.
    pub(super) fn next_source_index(&self) -> usize {
        self.stands.last().map_or(0, |stand| stand.source_index + 1)
    }

    /// The same for the part of the log that ends there.
    pub(super) fn next_source_index_at(&self, target_offset: i64) -> usize {
        let below = self.stands.iter().take_while(|stand| stand.next_offset <= target_offset).last();
        below.map_or(0, |stand| stand.source_index + 1)
    }

    /// The source batches that are on the target, in order.
    pub(super) fn source_indexes(&self) -> impl Iterator<Item = usize> {
        self.stands.iter().map(|stand| stand.source_index)
    }

    pub(super) fn next_offset(&self) -> i64 {
        self.entries.last().map_or(self.begin, |entry| entry.next_offset())
    }

    pub(super) fn high_watermark(&self) -> i64 {
        self.high_watermark
    }

    pub(super) fn is_spoiled(&self) -> bool {
        self.spoiled_at.is_some()
    }

    pub(super) fn spoil(&mut self, offset: i64) {
        self.spoiled_at = Some(offset);
        self.was_spoiled = true;
    }

    /// Whether it is, or was for a while.
    pub(super) fn was_spoiled(&self) -> bool {
        self.was_spoiled
    }

    pub(super) fn cut_at(&self) -> Option<i64> {
        self.cut_at
    }

    /// Takes note of what the log has lost.
    pub(super) fn follow(&mut self, log: &Log, may_lose_replicated: bool) -> Result<(), String> {
        let end = log.log_end_offset();
        if end < self.next_offset() {
            if end < self.high_watermark && !may_lose_replicated {
                return Err(format!("the simulated target lost replicated records: its log ends at {end}"));
            }
            let mut left = std::mem::take(&mut self.entries);
            let lost = left.split_off(left.partition_point(|entry| entry.next_offset() <= end));
            let begin = if left.is_empty() { end } else { self.begin };
            let high_watermark = self.high_watermark.min(end);
            let Self { spoiled_at, was_spoiled, .. } = *self;
            let cut_at = Some(end);
            *self = Self { begin, high_watermark, spoiled_at, was_spoiled, cut_at, ..Self::default() };
            left.into_iter().for_each(|entry| self.take(entry));
            // The coordinator has decided, and will write the marker again.
            if let Some(Entry::Marker { commits: true, .. }) = lost.first() {
                self.stands.append(&mut self.open);
                self.open_producer = None;
            }
        }
        self.spoiled_at = self.spoiled_at.filter(|&at| at < end);
        self.high_watermark = self.high_watermark.max(log.high_watermark());
        Ok(())
    }

    fn take(&mut self, entry: Entry) {
        self.entries.push(entry);
        match entry {
            Entry::Plain(stand) => {
                self.next_sequence = Some(stand.next_sequence);
                self.stands.push(stand);
            }
            Entry::InTransaction(producer_id, stand) => {
                self.open_producer = Some(producer_id);
                self.open.push(stand);
            }
            Entry::Marker { producer_id, commits, .. } if self.open_producer == Some(producer_id) => {
                let ended = std::mem::take(&mut self.open);
                (self.open_producer, self.open_wrong) = (None, None);
                if commits {
                    self.stands.extend(ended);
                }
            }
            Entry::Marker { .. } => {}
        }
    }

    /// The next batch on the target must be the next of the source, whole and unchanged; or a marker. What is wrong within a
    /// transaction counts when that is committed: the mirror hears of it before.
    pub(super) fn check(
        &mut self,
        source: &SourcePartition,
        batch: &Batch,
        ledger: &LedgerView,
        lane: Option<&LaneView>,
    ) -> Result<(), String> {
        let producer_id = batch.producer_id();
        let next_offset = batch.last_offset() + 1;
        if (batch.is_control() || batch.is_transactional()) && !ledger.has_transactions_of(producer_id) {
            return Err(format!("producer {producer_id} has a transaction and is not known"));
        }
        if let Some(Marker { commits, .. }) = Marker::of_batch(batch) {
            if let Some(wrong) =
                self.open_wrong.take().filter(|_| commits && self.open_producer == Some(producer_id))
            {
                return Err(format!("a transaction was committed in which {wrong}"));
            }
            self.take(Entry::Marker { producer_id, commits, next_offset });
            return Ok(());
        }
        let last = self.open.last().or(self.stands.last());
        let next_sequence = batch.last_sequence().wrapping_add(1) & i32::MAX;
        let judged = match source.recognise(last.map_or(0, |last| last.source_index + 1), &batch.payload) {
            Next::Batch(source_index) => {
                self.compare(source, source_index, batch, ledger, lane).map(|()| source_index)
            }
            Next::Duplicate(index) => Err(format!("source batch {index} is on the target twice")),
            Next::Hole { missing, found } => {
                Err(format!("source batch {missing} is missing on the target: {found} came instead"))
            }
            Next::NotToBeMirrored(index) => Err(format!("source batch {index} was to be left out")),
            Next::Unknown => Err("the payload is not of the source".to_owned()),
        };
        if batch.is_transactional() {
            let source_index = judged.clone().unwrap_or_default();
            self.take(Entry::InTransaction(producer_id, Stand { source_index, next_offset, next_sequence }));
            if let Err(wrong) = judged {
                self.open_wrong.get_or_insert(wrong);
            }
            return Ok(());
        }
        self.take(Entry::Plain(Stand { source_index: judged?, next_offset, next_sequence }));
        Ok(())
    }

    fn compare(
        &self,
        source: &SourcePartition,
        index: usize,
        batch: &Batch,
        ledger: &LedgerView,
        lane: Option<&LaneView>,
    ) -> Result<(), String> {
        let expected = &source.batches[index];
        let number = lane.and_then(|lane| lane.number_at(batch.base_offset()));
        let announced = number.and_then(|number| lane.and_then(|lane| lane.source_of(number)));
        let mut same = vec![
            ("record count", i64::from(batch.record_count()), i64::from(expected.records)),
            ("last offset delta", i64::from(batch.last_offset_delta()), i64::from(expected.records) - 1),
            ("codec", i64::from(batch.codec()), i64::from(expected.codec)),
            ("other attributes", i64::from(batch.attributes() & !0x17), 0),
            ("base timestamp", batch.base_timestamp(), expected.base_timestamp_ms),
            ("max timestamp", batch.max_timestamp(), expected.max_timestamp_ms),
            ("base offset", batch.base_offset(), self.next_offset()),
            ("announced source offset", announced.unwrap_or(-1), expected.base_offset),
        ];
        if batch.is_transactional() {
            let producer_id = batch.producer_id();
            same.push(("producer", producer_id, self.open_producer.unwrap_or(producer_id)));
        } else {
            let (id, epoch) = ledger.data_pid().unwrap_or((-1, -1));
            let base_sequence = i64::from(batch.base_sequence());
            // Transactions have sequences of their own, so behind them the numbers have gone on.
            let next = self.next_sequence.filter(|_| self.follows_plain());
            same.extend([
                ("producer id", batch.producer_id(), id),
                ("producer epoch", i64::from(batch.producer_epoch()), epoch),
                ("base sequence", base_sequence, next.map_or(base_sequence, i64::from)),
                ("number", number.map_or(-1, |number| number & i64::from(i32::MAX)), base_sequence),
                ("batches of an open transaction before it", self.open.len() as i64, 0),
            ]);
        }
        for (what, found, wanted) in same {
            if found != wanted {
                return Err(format!(
                    "source batch {index} (offset {}) has {what} {found} on the target instead of {wanted}",
                    expected.base_offset
                ));
            }
        }
        match batch.is_intact() {
            true => Ok(()),
            false => Err(format!("source batch {index} has a wrong checksum on the target")),
        }
    }

    fn follows_plain(&self) -> bool {
        matches!(self.entries.last(), Some(Entry::Plain(_)))
    }
}
