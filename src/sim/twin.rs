//! One target partition as far as it was checked: whatever is new on it must be what may come next.

use crate::broker::log::Log;
use crate::broker::{Batch, Marker};
use crate::shard::OffsetMode;
use crate::sim::ledger_view::{LaneView, LedgerView, Pids};
use crate::sim::reference::{Fate, SourcePartition};
use crate::sim::traffic::{Contents, Record};
use bytes::BytesMut;
use kafka_protocol::records::RecordBatchDecoder;
use std::collections::BTreeSet;

/// The target of one lane.
#[derive(Default)]
pub(super) struct Twin {
    /// Batches in the order in which they stand on the target.
    stands: Vec<Stand>,
    pub(super) next_offset: i64,
    /// Everything below this was once replicated.
    pub(super) high_watermark: i64,
    /// Where an unclean election cut off what was replicated.
    cut_at: Option<i64>,
    /// A batch that was on its way at an unclean election was appended out of its place: the target had lost all that it knew of
    /// us, or control records before the batch, which no sequence counts. That cannot be kept out; what is asked for is that the
    /// lane notices and stops.
    pub(super) spoiled: Option<String>,
    /// There was something of either kind: a lane may have stopped for it, though it is gone by now.
    pub(super) was_damaged: bool,
    /// Control records that no mirror can keep out, and that stood in a record's place, or beyond the source's end, when they came.
    overfilled: Vec<i64>,
}

struct Stand {
    standing: Standing,
    /// Indices of the source records that it holds.
    records: Vec<usize>,
    /// Index of the first source record that comes later.
    next_record: usize,
    next_offset: i64,
    /// -1 before the first batch of ours.
    next_sequence: i64,
}

/// Whether a consumer of committed records sees a batch.
enum Standing {
    Counts,
    /// It will if its producer commits, which it must not if something is wrong with it: the mirror hears of that before.
    Open {
        producer_id: i64,
        wrong: Option<String>,
    },
    Aborted,
}

/// What a batch on the target is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Control,
    Seeds,
    Passed,
    Rebuilt,
}

/// Why a batch may not stand where it stands.
pub(super) enum Wrong {
    Always(String),
    /// Legal only where the target appended control records twice.
    Overfilled(String),
}

/// What a partition is compared with.
pub(super) struct Against<'a> {
    pub(super) source: &'a SourcePartition,
    pub(super) lane: &'a LaneView,
    pub(super) pids: Pids,
    pub(super) ledger: &'a LedgerView,
    /// Checksums of seed payloads that were read before.
    pub(super) seeds: &'a mut BTreeSet<u32>,
}

impl From<String> for Wrong {
    fn from(what: String) -> Self {
        Self::Always(what)
    }
}

impl Twin {
    /// Index of the first source record that may still come.
    pub(super) fn next_record(&self) -> usize {
        self.stands.iter().rev().find(|stand| stand.counts()).map_or(0, |stand| stand.next_record)
    }

    /// The same, within a transaction that is open.
    fn next_record_in_transaction(&self) -> usize {
        let goes_on = |stand: &&Stand| !matches!(stand.standing, Standing::Aborted);
        self.stands.iter().rev().find(goes_on).map_or(0, |stand| stand.next_record)
    }

    /// The same, for what stands below a target offset.
    pub(super) fn next_record_below(&self, offset: i64) -> usize {
        let below = self.stands.partition_point(|stand| stand.next_offset <= offset);
        self.stands[..below].iter().rev().find(|stand| stand.counts()).map_or(0, |stand| stand.next_record)
    }

    /// The source records that stand on the target.
    pub(super) fn records(&self) -> BTreeSet<usize> {
        let counting = self.stands.iter().filter(|stand| stand.counts());
        counting.flat_map(|stand| stand.records.iter().copied()).collect()
    }

    /// Whether a control record that came twice has taken the place of a record for good.
    pub(super) fn is_overfilled(&self, source: &SourcePartition) -> bool {
        self.overfilled.iter().any(|&offset| {
            let record = source.first_from(offset);
            source.records.get(record).is_some_and(|it| it.offset == offset) && source.is_wanted(record)
        })
    }

    /// Whether the batch is the first since an unclean election, and so may have been on its way then.
    pub(super) fn is_first_after_cut(&self, batch: &Batch) -> bool {
        self.cut_at == Some(batch.base_offset())
    }

    /// Notes a batch that is out of its place.
    pub(super) fn spoil(&mut self, what: String) {
        self.was_damaged = true;
        self.spoiled = Some(what);
    }

    /// Notes a control record that the target appended once too often, or after it had lost what was before.
    pub(super) fn overfill(&mut self, batch: &Batch) {
        self.was_damaged = true;
        self.overfilled.push(batch.base_offset());
        self.stand(batch, Standing::Counts, Vec::new(), self.next_record(), self.next_sequence());
    }

    fn next_sequence(&self) -> i64 {
        self.stands.last().map_or(-1, |stand| stand.next_sequence)
    }

    fn stand(
        &mut self,
        batch: &Batch,
        standing: Standing,
        records: Vec<usize>,
        next_record: usize,
        next_sequence: i64,
    ) {
        self.next_offset = batch.last_offset() + 1;
        // Of control records several may have been on their way, and a gap's filler has its marker behind it.
        let goes_on = batch.is_control() || batch.is_transactional();
        self.cut_at = self.cut_at.filter(|_| goes_on).map(|_| self.next_offset);
        let next_offset = self.next_offset;
        self.stands.push(Stand { standing, records, next_record, next_offset, next_sequence });
    }

    /// Follows the log back where it was cut off.
    pub(super) fn follow(&mut self, log: &Log, may_lose_replicated: bool) -> Result<(), String> {
        let end = log.log_end_offset();
        if self.spoiled.is_some() && end <= self.next_offset {
            // What was out of its place is lost again.
            (self.spoiled, self.cut_at) = (None, Some(end));
        } else if self.spoiled.is_some() && log.log_start_offset() == end {
            // Or it is deleted with all there was, and no mirror can know of it any more.
            (self.spoiled, self.cut_at, self.next_offset) = (None, Some(end), end);
        }
        if end < self.next_offset {
            if end < self.high_watermark && !may_lose_replicated {
                return Err(format!("the simulated target lost replicated records: its log ends at {end}"));
            }
            while self.stands.last().is_some_and(|stand| stand.next_offset > end) {
                self.stands.pop();
            }
            // A broker that has nothing left of a producer takes whatever of it comes next.
            if end < self.high_watermark || log.log_start_offset() == end {
                self.cut_at = Some(end);
            }
            self.next_offset = end;
            self.high_watermark = self.high_watermark.min(end);
            self.overfilled.retain(|&offset| offset < end);
        }
        self.high_watermark = self.high_watermark.max(log.high_watermark());
        Ok(())
    }

    /// The next batch on the target.
    pub(super) fn check(&mut self, batch: &Batch, against: &mut Against<'_>) -> Result<Kind, Wrong> {
        if batch.base_offset() != self.next_offset {
            return Err(format!("it should stand at {}", self.next_offset).into());
        }
        if !batch.is_intact() {
            return Err("its checksum is wrong".to_owned().into());
        }
        let mut next_record = self.next_record();
        if let Some(marker) = Marker::of_batch(batch)
            && against.ledger.has_transactions_of(marker.producer_id)
        {
            let is_identical = against.lane.mode == OffsetMode::Identical;
            if is_identical {
                self.was_damaged |= self.is_first_after_cut(batch);
                check_gap(batch.base_offset(), against.source)?;
            }
            return self.end_transaction(batch, marker, is_identical);
        }
        if batch.is_transactional() && !batch.is_control() {
            return self.check_in_transaction(batch, against);
        }
        if batch.is_control() {
            // It was for another place: there it may stand for what was lost, for seeds for example.
            self.was_damaged |= self.is_first_after_cut(batch);
            check_control(batch, against)?;
            self.stand(batch, Standing::Counts, Vec::new(), next_record, self.next_sequence());
            return Ok(Kind::Control);
        }
        if self.stands.iter().any(|stand| matches!(stand.standing, Standing::Open { .. })) {
            return Err("it stands within a transaction that is open".to_owned().into());
        }
        check_sequence(batch, self.next_sequence(), against)?;
        let mut records = Vec::new();
        let kind = if is_number_of_seed(batch.base_offset(), against.lane) {
            check_seeds(batch, against)?;
            Kind::Seeds
        } else {
            let kind;
            (kind, records) = check_records(batch, next_record, against)?;
            next_record = records.last().map_or(next_record, |last| last + 1);
            kind
        };
        let next_sequence = (i64::from(batch.last_sequence()) + 1) & i64::from(i32::MAX);
        self.stand(batch, Standing::Counts, records, next_record, next_sequence);
        Ok(kind)
    }

    /// A batch that counts if its transaction is committed.
    fn check_in_transaction(&mut self, batch: &Batch, against: &Against<'_>) -> Result<Kind, Wrong> {
        let producer_id = batch.producer_id();
        if !against.ledger.has_transactions_of(producer_id) {
            return Err(format!("producer {producer_id} has a transaction and is not known").into());
        }
        if against.lane.mode == OffsetMode::Identical {
            for offset in batch.base_offset()..=batch.last_offset() {
                check_gap(offset, against.source)?;
            }
            let wrong = Some("records that fill a gap stand".to_owned());
            let next_record = self.next_record();
            let next_sequence = self.next_sequence();
            self.stand(batch, Standing::Open { producer_id, wrong }, Vec::new(), next_record, next_sequence);
            return Ok(Kind::Control);
        }
        let next_record = self.next_record_in_transaction();
        let is_transactional_alone = batch.attributes() & !0x17 == 0;
        let checked = match is_transactional_alone {
            true => check_records(batch, next_record, against),
            false => Err(format!("it has attributes {:#x}", batch.attributes())),
        };
        let (kind, records, wrong) = match checked {
            Ok((kind, records)) => (kind, records, None),
            Err(wrong) => (Kind::Passed, Vec::new(), Some(wrong)),
        };
        let next_record = records.last().map_or(next_record, |last| last + 1);
        // The link's own sequences go on with the number, whatever that is by then.
        self.stand(batch, Standing::Open { producer_id, wrong }, records, next_record, -1);
        Ok(kind)
    }

    fn end_transaction(&mut self, batch: &Batch, marker: Marker, is_identical: bool) -> Result<Kind, Wrong> {
        for stand in &mut self.stands {
            match &mut stand.standing {
                Standing::Open { producer_id, .. } if *producer_id != marker.producer_id => {}
                Standing::Open { wrong: Some(wrong), .. } if marker.commits => {
                    return Err(format!("a transaction was committed in which {wrong}").into());
                }
                Standing::Open { .. } if marker.commits => stand.standing = Standing::Counts,
                Standing::Open { .. } => stand.standing = Standing::Aborted,
                Standing::Counts | Standing::Aborted => {}
            }
        }
        // Where offsets are identical the link's sequences go on behind a gap.
        let next_sequence = if is_identical { self.next_sequence() } else { -1 };
        self.stand(batch, Standing::Counts, Vec::new(), self.next_record(), next_sequence);
        Ok(Kind::Control)
    }
}

impl Stand {
    fn counts(&self) -> bool {
        matches!(self.standing, Standing::Counts)
    }
}

/// A control record stands where the source has nothing.
fn check_control(batch: &Batch, against: &Against<'_>) -> Result<(), Wrong> {
    let Against { source, lane, pids, .. } = against;
    let ours = Marker { producer_id: pids.marker, producer_epoch: 0, commits: false, coordinator_epoch: 0 };
    if lane.mode != OffsetMode::Identical || Marker::of_batch(batch) != Some(ours) {
        return Err(format!("a control record came that nobody wrote: {:?}", Marker::of_batch(batch)).into());
    }
    check_gap(batch.base_offset(), source)
}

/// The source has nothing there, and never will.
fn check_gap(offset: i64, source: &SourcePartition) -> Result<(), Wrong> {
    let record = source.first_from(offset);
    if source.records.get(record).is_some_and(|record| record.offset == offset) {
        match source.fate_of(record) {
            Fate::Undecided if offset >= source.log_start => {
                return Err(Wrong::Overfilled("a control record stands for one whose fate is open".into()));
            }
            Fate::Pass if source.is_wanted(record) => {
                return Err(Wrong::Overfilled(
                    "a control record stands where the source has a record".into(),
                ));
            }
            // Deleted, whatever becomes of its transaction.
            Fate::Pass | Fate::Skip | Fate::Undecided => {}
        }
    }
    if offset >= source.log_end {
        return Err(Wrong::Overfilled(format!("a control record stands beyond {}", source.log_end)));
    }
    Ok(())
}

/// The batch is ours, and the ledger announced its number.
fn check_sequence(batch: &Batch, next_sequence: i64, against: &Against<'_>) -> Result<(), String> {
    let Against { lane, pids, .. } = against;
    let number = lane.number_at(batch.base_offset());
    let sequence = i64::from(batch.base_sequence());
    let same = [
        ("last offset delta", i64::from(batch.last_offset_delta()), i64::from(batch.record_count()) - 1),
        ("attributes besides its codec", i64::from(batch.attributes() & !7), 0),
        ("producer id", batch.producer_id(), pids.data),
        ("producer epoch", i64::from(batch.producer_epoch()), pids.data_epoch),
        ("base sequence", sequence, if next_sequence < 0 { sequence } else { next_sequence }),
        ("base sequence", sequence, number.map_or(-1, |number| number & i64::from(i32::MAX))),
    ];
    match same.into_iter().find(|(_, found, wanted)| found != wanted) {
        Some((what, found, wanted)) => Err(format!("it has {what} {found} instead of {wanted}")),
        None => Ok(()),
    }
}

fn is_number_of_seed(target_offset: i64, lane: &LaneView) -> bool {
    lane.number_at(target_offset).is_some_and(|number| lane.is_seed(number))
}

/// Empty records below the first source offset.
fn check_seeds(batch: &Batch, against: &mut Against<'_>) -> Result<(), String> {
    let Against { source, lane, seeds, .. } = against;
    let began_at = lane.began_at();
    if lane.mode != OffsetMode::Identical || batch.last_offset() >= began_at {
        return Err(format!("seeds stand up to {}, but the link began at {began_at}", batch.last_offset()));
    }
    let wanted = source.first_wanted(0).map(|record| source.records[record].offset);
    if wanted.is_some_and(|offset| offset <= batch.last_offset()) {
        return Err(format!("seeds stand where the source has a record, at {wanted:?}"));
    }
    if seeds.insert(crc32c::crc32c(&batch.payload)) {
        let body = Record::seed_body();
        if decode(batch)?.iter().any(|(_, record)| record.body != body) {
            return Err("a seed is not empty".to_owned());
        }
    }
    Ok(())
}

/// The next records of the source, each where the mode wants it. Returns their indices.
fn check_records(
    batch: &Batch,
    mut next_record: usize,
    against: &Against<'_>,
) -> Result<(Kind, Vec<usize>), String> {
    let Against { source, lane, .. } = against;
    let (kind, records): (Kind, Vec<usize>) = match source.passed(batch) {
        Some((at, version)) => {
            check_passed(batch, version)?;
            let base_offset = source.batches[at].base_offset;
            let offsets = version.records.iter().map(|(delta, _)| base_offset + i64::from(*delta));
            (Kind::Passed, offsets.map(|offset| source.first_from(offset)).collect())
        }
        None => (Kind::Rebuilt, recognise(batch, source)?),
    };
    let numbers = lane.number_at(batch.base_offset()).into_iter().flat_map(|first| first..);
    for ((target_offset, index), number) in (batch.base_offset()..).zip(records.iter().copied()).zip(numbers)
    {
        let offset = source.records[index].offset;
        if source.fate_of(index) != Fate::Pass {
            return Err(format!("source offset {offset} is {:?}", source.fate_of(index)));
        }
        if index < next_record {
            return Err(format!("source offset {offset} is on the target twice"));
        }
        if let Some(missing) = source.first_wanted(next_record).filter(|&missing| missing < index) {
            let missing = source.records[missing].offset;
            return Err(format!("source offset {missing} is missing on the target: {offset} came instead"));
        }
        if lane.mode == OffsetMode::Identical && offset != target_offset {
            return Err(format!("source offset {offset} stands at {target_offset}"));
        }
        let (announced, there) = (lane.source_of(number), lane.target_of(number));
        if announced != Some(offset) || there != Some(target_offset) {
            return Err(format!(
                "source offset {offset} came with number {number}, which the ledger says is {announced:?} and stands at {there:?}"
            ));
        }
        next_record = index + 1;
    }
    Ok((kind, records))
}

/// What a mirror must leave as it is of a batch that it does not open.
fn check_passed(batch: &Batch, version: &Contents) -> Result<(), String> {
    let same = [
        ("record count", i64::from(batch.record_count()), version.records.len() as i64),
        ("codec", i64::from(batch.codec()), i64::from(version.codec)),
        ("base timestamp", batch.base_timestamp(), version.base_timestamp_ms),
        ("max timestamp", batch.max_timestamp(), version.max_timestamp_ms),
    ];
    match same.into_iter().find(|(_, found, wanted)| found != wanted) {
        Some((what, found, wanted)) => Err(format!("it has {what} {found} instead of {wanted}")),
        None => Ok(()),
    }
}

/// The records of a batch that was put together anew: indices in the source.
fn recognise(batch: &Batch, source: &SourcePartition) -> Result<Vec<usize>, String> {
    let decoded = decode(batch)?;
    let newest = decoded.iter().map(|(_, record)| record.timestamp_ms).max();
    if newest != Some(batch.max_timestamp()) {
        return Err(format!("its max timestamp is {} instead of {newest:?}", batch.max_timestamp()));
    }
    let mut records = Vec::with_capacity(decoded.len());
    for (offset, record) in decoded {
        let found = source.record_of(&record.body);
        let index = found.ok_or_else(|| format!("the record at {offset} is not of the source"))?;
        let known = &source.records[index];
        if known.record.timestamp_ms != record.timestamp_ms {
            return Err(format!(
                "the record at {offset} has another timestamp than source offset {}",
                known.offset
            ));
        }
        let codec = source.batches[known.batch].versions.first().map_or(0, |version| version.codec);
        if i16::from(batch.codec()) != codec {
            return Err(format!("source offset {} was compressed with another codec", known.offset));
        }
        records.push(index);
    }
    Ok(records)
}

/// Offsets and records, by kafka-protocol's decoder.
fn decode(batch: &Batch) -> Result<Vec<(i64, Record)>, String> {
    let mut whole = BytesMut::with_capacity(batch.size_bytes());
    whole.extend_from_slice(batch.header());
    whole.extend_from_slice(&batch.payload);
    let decoded = RecordBatchDecoder::decode(&mut whole.freeze());
    let records = decoded.map_err(|cause| format!("its records cannot be read: {cause}"))?.records;
    if records.len() as i32 != batch.record_count() {
        return Err(format!("it holds {} records", records.len()));
    }
    Ok(records.iter().map(|record| (record.offset, Record::of_decoded(record))).collect())
}
