//! Whether a target partition is what its source is: record for record, at the offsets where they should stand.
//!
//! Batches that came through untouched are compared without being opened: by their headers, and by what their checksums say of
//! their payloads. Where the boundaries differ, because a batch had to be rebuilt, records are compared one by one.

use crate::limits::{BATCH_HEADER_BYTES, RECORDS_BYTES_MAX};
use crate::wire::batch::{BatchHeader, has_same_payload, is_intact};
use crate::wire::codec::decompress;
use crate::wire::rebuild::records;
use bytes::Bytes;
use std::collections::VecDeque;

/// A batch as a cluster holds it.
#[derive(Clone, Debug)]
pub struct Held {
    pub header: BatchHeader,
    raw: [u8; BATCH_HEADER_BYTES],
    /// None: it was not kept, and is read again if it has to be seen.
    payload: Option<Bytes>,
}

impl Held {
    pub fn new(header: BatchHeader, raw: [u8; BATCH_HEADER_BYTES], payload: Option<Bytes>) -> Self {
        Self { header, raw, payload }
    }
}

/// One record, where it stands or should stand on the target, and all that a consumer sees of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) source_offset: i64,
    target_offset: i64,
    pub(super) timestamp_ms: i64,
    pub(super) body: Bytes,
}

#[derive(Debug)]
enum Unit {
    Batch(Box<Held>),
    Record(Seen),
}

/// What has been compared so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub batches: u64,
    pub records: u64,
    /// Of the records: compared one by one.
    pub opened: u64,
    /// Bytes of both sides' batches.
    pub bytes: u64,
    /// Records that one side of a compacted topic has compacted away.
    pub compacted: u64,
}

/// The first thing that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    pub source_offset: Option<i64>,
    pub target_offset: i64,
    pub what: String,
}

/// Why a comparison does not go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Halt {
    Different(Difference),
    /// Records have to be looked at, and a batch is held without its payload: see [`Comparison::forget_unseen`].
    Unseen,
}

impl From<Difference> for Halt {
    fn from(difference: Difference) -> Self {
        Self::Different(difference)
    }
}

/// Compares one partition's two logs as they are read. Both are handed in from the same position on, in order.
pub struct Comparison<'a> {
    /// The target offset of a record of the source.
    target_of: &'a dyn Fn(i64) -> Option<i64>,
    /// Checksums are computed, not believed.
    deep: bool,
    /// Records may be missing on either side, because a newer one with the same key is there.
    is_compacted: bool,
    /// Target offsets outside are left alone.
    range: std::ops::Range<i64>,
    source: VecDeque<Unit>,
    target: VecDeque<Unit>,
    /// No more comes of the source, of the target.
    ended: (bool, bool),
    /// The source is compared up to here.
    source_to: Option<i64>,
    pub tally: Tally,
}

impl<'a> Comparison<'a> {
    pub fn new(
        target_of: &'a dyn Fn(i64) -> Option<i64>,
        deep: bool,
        is_compacted: bool,
        range: std::ops::Range<i64>,
    ) -> Self {
        Self {
            target_of,
            deep,
            is_compacted,
            range,
            source: VecDeque::new(),
            target: VecDeque::new(),
            ended: (false, false),
            source_to: None,
            tally: Tally::default(),
        }
    }

    /// The source's next batch that is to be on the target: neither control records nor aborted ones.
    pub fn push_source(&mut self, batch: Held) {
        self.tally.bytes += batch.header.batch_bytes as u64;
        self.source.push_back(Unit::Batch(Box::new(batch)));
    }

    /// The target's next batch, control batches left out.
    pub fn push_target(&mut self, batch: Held) {
        self.tally.bytes += batch.header.batch_bytes as u64;
        self.target.push_back(Unit::Batch(Box::new(batch)));
    }

    pub fn wants_source(&self) -> bool {
        self.source.is_empty()
    }

    pub fn wants_target(&self) -> bool {
        self.target.is_empty()
    }

    /// Whether either side is read to the end of the range. What the other one has beyond has no counterpart then.
    pub fn set_ended(&mut self, source: bool, target: bool) {
        self.ended = (source, target);
    }

    /// Everything of both sides below this source offset is compared. None: nothing yet.
    pub fn source_to(&self) -> Option<i64> {
        self.source_to
    }

    /// Compares as far as both sides go.
    pub fn step(&mut self) -> Result<(), Halt> {
        loop {
            match (self.source.front(), self.target.front()) {
                (Some(Unit::Batch(source)), Some(Unit::Batch(target))) if self.are_alike(source, target) => {
                    if self.deep {
                        check_intact(source, "source")?;
                        check_intact(target, "target")?;
                    }
                    self.tally.batches += 1;
                    self.tally.records += u64::from(source.header.record_count.unsigned_abs());
                    self.source_to = Some(source.header.next_offset());
                    self.source.pop_front();
                    self.target.pop_front();
                }
                (Some(Unit::Batch(_)), Some(_)) => self.open_source()?,
                (Some(Unit::Record(_)), Some(Unit::Batch(_))) => self.open_target()?,
                (Some(Unit::Record(_)), Some(Unit::Record(_))) => self.compare_records()?,
                (Some(unit), None) if self.ended.1 => match unit {
                    Unit::Batch(_) => self.open_source()?,
                    Unit::Record(_) => self.missing()?,
                },
                (None, Some(unit)) if self.ended.0 => match unit {
                    Unit::Batch(_) => self.open_target()?,
                    Unit::Record(_) => self.surplus()?,
                },
                _ => return Ok(()),
            }
        }
    }

    /// After [`Halt::Unseen`]: lets go of what is held without its payload, and of all behind it. Returns from where on the source
    /// and the target have to be read again, now with payloads.
    pub fn forget_unseen(&mut self) -> (Option<i64>, Option<i64>) {
        (forget(&mut self.source, &mut self.tally), forget(&mut self.target, &mut self.tally))
    }

    /// The target's batch is the source's with another header.
    fn are_alike(&self, source: &Held, target: &Held) -> bool {
        let (one, other) = (&source.header, &target.header);
        let is_inside = self.range.contains(&other.base_offset) && self.range.contains(&other.last_offset());
        is_inside
            && one.is_contiguous()
            && (one.record_count, one.last_offset_delta, one.codec())
                == (other.record_count, other.last_offset_delta, other.codec())
            && (one.max_timestamp_ms, one.base_timestamp_ms)
                == (other.max_timestamp_ms, other.base_timestamp_ms)
            && !one.is_log_append_time()
            && (self.target_of)(one.base_offset) == Some(other.base_offset)
            && (self.target_of)(one.last_offset()) == Some(other.last_offset())
            && has_same_payload(&source.raw, &target.raw)
    }

    fn open_source(&mut self) -> Result<(), Halt> {
        let Some(Unit::Batch(batch)) = self.source.front() else { return Ok(()) };
        let mut opened = open(batch, self.deep, "source")?;
        self.source.pop_front();
        opened.retain_mut(|record| match (self.target_of)(record.source_offset) {
            Some(target_offset) => {
                record.target_offset = target_offset;
                self.range.contains(&target_offset)
            }
            None => false,
        });
        opened.into_iter().rev().for_each(|record| self.source.push_front(Unit::Record(record)));
        Ok(())
    }

    fn open_target(&mut self) -> Result<(), Halt> {
        let Some(Unit::Batch(batch)) = self.target.front() else { return Ok(()) };
        let mut opened = open(batch, self.deep, "target")?;
        self.target.pop_front();
        opened.retain(|record| self.range.contains(&record.target_offset));
        opened.into_iter().rev().for_each(|record| self.target.push_front(Unit::Record(record)));
        Ok(())
    }

    fn compare_records(&mut self) -> Result<(), Difference> {
        let (Some(Unit::Record(source)), Some(Unit::Record(target))) =
            (self.source.front(), self.target.front())
        else {
            return Ok(());
        };
        if source.target_offset < target.target_offset {
            return self.missing();
        }
        if source.target_offset > target.target_offset {
            return self.surplus();
        }
        if (source.timestamp_ms, &source.body) != (target.timestamp_ms, &target.body) {
            let what = match source.body == target.body {
                true => format!(
                    "its timestamp is {} on the target and {} on the source",
                    target.timestamp_ms, source.timestamp_ms
                ),
                false => "key, value or headers are not the source's".into(),
            };
            return Err(Difference {
                source_offset: Some(source.source_offset),
                target_offset: target.target_offset,
                what,
            });
        }
        self.tally.records += 1;
        self.tally.opened += 1;
        self.source_to = Some(source.source_offset + 1);
        self.source.pop_front();
        self.target.pop_front();
        Ok(())
    }

    /// The source's next record has no counterpart.
    fn missing(&mut self) -> Result<(), Difference> {
        let Some(Unit::Record(record)) = self.source.pop_front() else { return Ok(()) };
        self.absent(Some(record.source_offset), record.target_offset, "the record is not on the target")?;
        self.source_to = Some(record.source_offset + 1);
        Ok(())
    }

    /// The target's next record has no counterpart.
    fn surplus(&mut self) -> Result<(), Difference> {
        let Some(Unit::Record(record)) = self.target.pop_front() else { return Ok(()) };
        self.absent(None, record.target_offset, "the target has a record that is not on the source")
    }

    fn absent(
        &mut self,
        source_offset: Option<i64>,
        target_offset: i64,
        what: &str,
    ) -> Result<(), Difference> {
        if self.is_compacted {
            self.tally.compacted += 1;
            return Ok(());
        }
        Err(Difference { source_offset, target_offset, what: what.into() })
    }
}

fn forget(units: &mut VecDeque<Unit>, tally: &mut Tally) -> Option<i64> {
    let unseen = |unit: &Unit| matches!(unit, Unit::Batch(batch) if batch.payload.is_none());
    let at = units.iter().position(unseen)?;
    let mut from = None;
    for unit in units.drain(at..) {
        if let Unit::Batch(batch) = unit {
            tally.bytes -= batch.header.batch_bytes as u64;
            from.get_or_insert(batch.header.base_offset);
        }
    }
    from
}

fn check_intact(batch: &Held, side: &str) -> Result<(), Halt> {
    match is_intact(&batch.raw, batch.payload.as_ref().ok_or(Halt::Unseen)?) {
        true => Ok(()),
        false => Err(Halt::Different(Difference {
            source_offset: None,
            target_offset: batch.header.base_offset,
            what: format!("the {side}'s batch there is damaged: its checksum is wrong"),
        })),
    }
}

/// A batch's records, each at the batch's own offset for it.
pub(super) fn open(batch: &Held, deep: bool, side: &str) -> Result<Vec<Seen>, Halt> {
    if deep {
        check_intact(batch, side)?;
    }
    let header = &batch.header;
    let payload = batch.payload.as_ref().ok_or(Halt::Unseen)?;
    let damaged = |what: String| Difference {
        source_offset: None,
        target_offset: header.base_offset,
        what: format!("the batch there cannot be read: {what}"),
    };
    let bytes =
        decompress(header.codec(), payload, RECORDS_BYTES_MAX).map_err(|bad| damaged(bad.to_string()))?;
    let bytes = Bytes::from(bytes.into_owned());
    let records = records(header, &bytes).map_err(|bad| damaged(bad.to_string()))?;
    let seen = records.iter().map(|record| Seen {
        source_offset: record.offset,
        target_offset: record.offset,
        timestamp_ms: record.timestamp_ms,
        body: bytes.slice_ref(record.body),
    });
    Ok(seen.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::batch::{Stamp, restamp, seal};
    use crate::wire::rebuild::{Holes, rebuild};

    const EVERYTHING: std::ops::Range<i64> = 0..i64::MAX;

    /// A batch of records "a", "b", ... at these offsets, as a source holds it.
    fn batch(offsets: &[i64], letter: u8) -> Held {
        let base = offsets[0];
        let mut payload = Vec::new();
        for &offset in offsets {
            let delta = ((offset - base) << 1) as u8;
            let value = letter + (offset % 20) as u8;
            // length, attributes, timestamp delta, offset delta, null key, one byte of value, no headers
            payload.extend([14, 0, 0, delta, 1, 2, value, 0]);
        }
        let mut header = BatchHeader {
            base_offset: base,
            batch_bytes: BATCH_HEADER_BYTES + payload.len(),
            leader_epoch: 3,
            magic: 2,
            crc: 0,
            attributes: 0,
            last_offset_delta: (offsets[offsets.len() - 1] - base) as i32,
            base_timestamp_ms: 1000,
            max_timestamp_ms: 1000,
            producer_id: 77,
            producer_epoch: 1,
            base_sequence: 5,
            record_count: offsets.len() as i32,
        };
        let mut raw = header.to_raw();
        seal(&mut raw, &payload);
        header = BatchHeader::parse(&raw).unwrap();
        Held::new(header, raw, Some(payload.into()))
    }

    /// The same with the header that it gets on its way, at this offset.
    fn mirrored(source: &Held, base_offset: i64) -> Held {
        let mut raw = source.raw;
        restamp(
            &mut raw,
            Stamp { producer_id: 9, producer_epoch: 0, base_sequence: 1, is_transactional: false },
        );
        raw[..8].copy_from_slice(&base_offset.to_be_bytes());
        Held::new(BatchHeader::parse(&raw).unwrap(), raw, source.payload.clone())
    }

    fn compare(
        source: &[Held],
        target: &[Held],
        target_of: &dyn Fn(i64) -> Option<i64>,
    ) -> Result<Tally, Difference> {
        let mut comparison = Comparison::new(target_of, true, false, EVERYTHING);
        source.iter().for_each(|batch| comparison.push_source(batch.clone()));
        target.iter().for_each(|batch| comparison.push_target(batch.clone()));
        comparison.set_ended(true, true);
        match comparison.step() {
            Ok(()) => Ok(comparison.tally),
            Err(Halt::Different(difference)) => Err(difference),
            Err(Halt::Unseen) => panic!("all payloads are there"),
        }
    }

    #[test]
    fn batches_that_came_through_are_not_opened() {
        let source = [batch(&[3, 4, 5], b'a'), batch(&[6], b'a')];
        let target = [mirrored(&source[0], 3), mirrored(&source[1], 6)];
        let tally = compare(&source, &target, &Some).unwrap();
        assert_eq!((tally.batches, tally.records, tally.opened), (2, 4, 0));
    }

    #[test]
    fn rebuilt_batches_are_compared_record_by_record() {
        let source = batch(&[3, 5, 6], b'a');
        let rebuilt = rebuild(&source.header, source.payload.as_ref().unwrap(), 0, Holes::Split).unwrap();
        let target: Vec<Held> = rebuilt
            .iter()
            .map(|batch| {
                let mut raw = batch.header.to_raw();
                raw[..8].copy_from_slice(&batch.runs[0].0.to_be_bytes());
                Held::new(BatchHeader::parse(&raw).unwrap(), raw, Some(batch.payload.clone()))
            })
            .collect();
        assert_eq!(target.len(), 2);
        let tally = compare(&[source], &target, &Some).unwrap();
        assert_eq!((tally.records, tally.opened), (3, 3));
    }

    #[test]
    fn what_is_lost_doubled_shifted_or_changed_is_found() {
        let source = [batch(&[3, 4, 5], b'a'), batch(&[6, 7], b'a')];
        let (first, second) = (mirrored(&source[0], 3), mirrored(&source[1], 6));
        let lost = compare(&source, std::slice::from_ref(&first), &Some).unwrap_err();
        assert_eq!((lost.source_offset, lost.target_offset), (Some(6), 6));
        let shifted = compare(&source, &[first.clone(), mirrored(&source[1], 7)], &Some).unwrap_err();
        assert_eq!(shifted.source_offset, Some(6));
        let doubled = compare(&source, &[first.clone(), second.clone(), mirrored(&source[1], 8)], &Some);
        assert_eq!(doubled.unwrap_err().target_offset, 8);
        let changed = compare(&source, &[first, mirrored(&batch(&[6, 7], b'b'), 6)], &Some).unwrap_err();
        assert_eq!((changed.source_offset, changed.target_offset), (Some(6), 6));
    }

    #[test]
    fn damage_that_checksums_hide_is_found_when_they_are_computed() {
        let source = batch(&[3], b'a');
        let mut target = mirrored(&source, 3);
        target.payload = batch(&[3], b'b').payload;
        let found = compare(std::slice::from_ref(&source), &[target], &Some).unwrap_err();
        assert!(found.what.contains("checksum"), "{}", found.what);
    }

    fn unseen(batch: &Held) -> Held {
        Held { payload: None, ..batch.clone() }
    }

    #[test]
    fn payloads_are_asked_for_only_where_batches_are_not_alike() {
        let source = [batch(&[3, 4], b'a'), batch(&[5, 7], b'a')];
        let mut comparison = Comparison::new(&Some, false, false, EVERYTHING);
        source.iter().for_each(|batch| comparison.push_source(unseen(batch)));
        let target = [mirrored(&source[0], 3), batch(&[5], b'a'), batch(&[7], b'a')];
        comparison.push_target(unseen(&target[0]));
        assert_eq!(comparison.step(), Ok(()));
        assert_eq!((comparison.tally.batches, comparison.source_to()), (1, Some(5)));

        comparison.push_target(target[1].clone());
        comparison.push_target(unseen(&target[2]));
        let bytes = comparison.tally.bytes;
        assert_eq!(comparison.step(), Err(Halt::Unseen));
        assert_eq!(comparison.forget_unseen(), (Some(5), Some(7)), "what is there with its payload stays");
        assert!(comparison.tally.bytes < bytes);
        comparison.push_source(source[1].clone());
        comparison.push_target(target[2].clone());
        comparison.set_ended(true, true);
        assert_eq!(comparison.step(), Ok(()));
        let tally = comparison.tally;
        assert_eq!((tally.records, tally.opened, tally.bytes), (4, 2, bytes));
        assert_eq!(comparison.source_to(), Some(8));
    }

    #[test]
    fn a_deep_comparison_takes_no_batch_unseen() {
        let source = batch(&[3, 4], b'a');
        let mut comparison = Comparison::new(&Some, true, false, EVERYTHING);
        comparison.push_source(source.clone());
        comparison.push_target(unseen(&mirrored(&source, 3)));
        assert_eq!(comparison.step(), Err(Halt::Unseen));
        assert_eq!(comparison.forget_unseen(), (None, Some(3)));
        comparison.push_target(mirrored(&source, 3));
        assert_eq!(comparison.step(), Ok(()));
        assert_eq!(comparison.tally.batches, 1);
    }

    #[test]
    fn what_one_side_has_beyond_the_other_s_end_is_told_at_once() {
        let mut comparison = Comparison::new(&Some, false, false, EVERYTHING);
        comparison.push_target(batch(&[3], b'a'));
        assert_eq!(comparison.step(), Ok(()), "the source may still have it");
        comparison.set_ended(true, false);
        let Err(Halt::Different(found)) = comparison.step() else { panic!("that is a surplus") };
        assert_eq!((found.source_offset, found.target_offset), (None, 3));
    }

    #[test]
    fn offsets_may_differ_as_the_map_says() {
        let source = batch(&[3, 4], b'a');
        let target = mirrored(&source, 1);
        assert!(
            compare(std::slice::from_ref(&source), std::slice::from_ref(&target), &|at| Some(at - 2)).is_ok()
        );
        assert!(compare(&[source], &[target], &Some).is_err());
    }
}
