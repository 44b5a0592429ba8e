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

/// A batch as a cluster holds it, with the offset that its first record has, or should have, on the target.
#[derive(Clone, Debug)]
pub struct Held {
    pub header: BatchHeader,
    raw: [u8; BATCH_HEADER_BYTES],
    payload: Bytes,
}

impl Held {
    /// Takes the batch at the front. None: it is not there whole.
    pub fn take(bytes: &mut Bytes) -> Result<Option<Self>, String> {
        let Some(raw) = bytes.first_chunk::<BATCH_HEADER_BYTES>().copied() else { return Ok(None) };
        let header = BatchHeader::parse(&raw).map_err(|bad| bad.to_string())?;
        if header.magic < 2 {
            return Err(format!("the batch at offset {} is of an old message format", header.base_offset));
        }
        if bytes.len() < header.batch_bytes {
            return Ok(None);
        }
        let mut batch = bytes.split_to(header.batch_bytes);
        let payload = batch.split_off(BATCH_HEADER_BYTES);
        Ok(Some(Self { header, raw, payload }))
    }
}

/// One record, where it stands or should stand on the target, and all that a consumer sees of it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    source_offset: i64,
    target_offset: i64,
    timestamp_ms: i64,
    body: Bytes,
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

    /// Compares as far as both sides go.
    pub fn step(&mut self) -> Result<(), Difference> {
        while let (Some(source), Some(target)) = (self.source.front(), self.target.front()) {
            if let (Unit::Batch(source), Unit::Batch(target)) = (source, target)
                && self.are_alike(source, target)
            {
                self.tally.batches += 1;
                self.tally.records += u64::from(source.header.record_count.unsigned_abs());
                if self.deep {
                    let (source, target) = (source.clone(), target.clone());
                    self.check_intact(&source, "source")?;
                    self.check_intact(&target, "target")?;
                }
                self.source.pop_front();
                self.target.pop_front();
                continue;
            }
            if matches!(source, Unit::Batch(_)) {
                self.open_source()?;
                continue;
            }
            if matches!(target, Unit::Batch(_)) {
                self.open_target()?;
                continue;
            }
            self.compare_records()?;
        }
        Ok(())
    }

    /// Both sides are read to the end of the range: nothing may be left on either.
    pub fn finish(&mut self) -> Result<(), Difference> {
        self.step()?;
        while matches!(self.source.front(), Some(Unit::Batch(_))) {
            self.open_source()?;
        }
        while matches!(self.target.front(), Some(Unit::Batch(_))) {
            self.open_target()?;
        }
        while let Some(Unit::Record(record)) = self.source.pop_front() {
            self.missing(&record)?;
        }
        while let Some(Unit::Record(record)) = self.target.pop_front() {
            self.surplus(&record)?;
        }
        Ok(())
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

    fn check_intact(&self, batch: &Held, side: &str) -> Result<(), Difference> {
        match is_intact(&batch.raw, &batch.payload) {
            true => Ok(()),
            false => Err(Difference {
                source_offset: None,
                target_offset: batch.header.base_offset,
                what: format!("the {side}'s batch there is damaged: its checksum is wrong"),
            }),
        }
    }

    fn open_source(&mut self) -> Result<(), Difference> {
        let Some(Unit::Batch(batch)) = self.source.pop_front() else { return Ok(()) };
        if self.deep {
            self.check_intact(&batch, "source")?;
        }
        let mut opened = open(&batch)?;
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

    fn open_target(&mut self) -> Result<(), Difference> {
        let Some(Unit::Batch(batch)) = self.target.pop_front() else { return Ok(()) };
        if self.deep {
            self.check_intact(&batch, "target")?;
        }
        let mut opened = open(&batch)?;
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
            let Some(Unit::Record(source)) = self.source.pop_front() else { return Ok(()) };
            return self.missing(&source);
        }
        if source.target_offset > target.target_offset {
            let Some(Unit::Record(target)) = self.target.pop_front() else { return Ok(()) };
            return self.surplus(&target);
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
        self.source.pop_front();
        self.target.pop_front();
        Ok(())
    }

    fn missing(&mut self, record: &Seen) -> Result<(), Difference> {
        self.absent(Some(record.source_offset), record.target_offset, "the record is not on the target")
    }

    fn surplus(&mut self, record: &Seen) -> Result<(), Difference> {
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

fn open(batch: &Held) -> Result<Vec<Seen>, Difference> {
    let header = &batch.header;
    let damaged = |what: String| Difference {
        source_offset: None,
        target_offset: header.base_offset,
        what: format!("the batch there cannot be read: {what}"),
    };
    let bytes = decompress(header.codec(), &batch.payload, RECORDS_BYTES_MAX)
        .map_err(|bad| damaged(bad.to_string()))?;
    let bytes = Bytes::from(bytes);
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
        Held { header, raw, payload: payload.into() }
    }

    /// The same with the header that it gets on its way, at this offset.
    fn mirrored(source: &Held, base_offset: i64) -> Held {
        let mut raw = source.raw;
        restamp(
            &mut raw,
            Stamp { producer_id: 9, producer_epoch: 0, base_sequence: 1, is_transactional: false },
        );
        raw[..8].copy_from_slice(&base_offset.to_be_bytes());
        Held { header: BatchHeader::parse(&raw).unwrap(), raw, payload: source.payload.clone() }
    }

    fn compare(
        source: &[Held],
        target: &[Held],
        target_of: &dyn Fn(i64) -> Option<i64>,
    ) -> Result<Tally, Difference> {
        let mut comparison = Comparison::new(target_of, true, false, EVERYTHING);
        source.iter().for_each(|batch| comparison.push_source(batch.clone()));
        target.iter().for_each(|batch| comparison.push_target(batch.clone()));
        comparison.finish().map(|()| comparison.tally)
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
        let rebuilt = rebuild(&source.header, &source.payload, 0, Holes::Split).unwrap();
        let target: Vec<Held> = rebuilt
            .iter()
            .map(|batch| {
                let mut raw = batch.header.to_raw();
                raw[..8].copy_from_slice(&batch.runs[0].0.to_be_bytes());
                Held { header: BatchHeader::parse(&raw).unwrap(), raw, payload: batch.payload.clone() }
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
