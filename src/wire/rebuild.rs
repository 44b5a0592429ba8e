//! Taking batches apart, and making others of their records.
//!
//! Compaction leaves holes in batches, and a log may begin within one; a producer's batch has neither. Batches may be too small to
//! travel alone, or too large for the target, and records may be changed on their way. A record that is not changed is copied as it
//! is: only its deltas are written anew.

use super::batch::{BatchHeader, is_intact, seal};
use super::codec::{BadRecords, Compression, compress, decompress};
use super::cursor::{Cursor, Read, Unread};
use crate::limits::{BATCH_HEADER_BYTES, RECORDS_BYTES_MAX, RUNS_PER_BATCH_MAX};
use bytes::Bytes;

/// How the records are put together again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holes {
    /// Each range of offsets without a hole becomes a batch of its own.
    Split,
    /// The holes are closed: one batch, with other offsets, or several where there are very many holes.
    Close,
}

/// A batch that a broker takes, without a producer yet.
#[derive(Clone, Debug)]
pub struct Rebuilt {
    /// Base offset 0; the checksum fits.
    pub header: BatchHeader,
    pub payload: Bytes,
    /// (source offset, records): where its records stood, range by range.
    pub runs: Vec<(i64, i64)>,
}

/// What became of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Changed {
    Same,
    /// It has another body, or another time.
    New {
        timestamp_ms: i64,
    },
    Dropped,
}

/// Changes records on their way. What it says must follow from the record alone: records are read again after any doubt.
pub trait Change {
    /// `body` is empty; with [`Changed::New`] it holds the record's new body. An error stops the lane at the record, and is
    /// for the operator's eyes: nothing of the record's contents stands in it.
    fn change(&mut self, record: &Record<'_>, body: &mut Vec<u8>) -> Result<Changed, String>;
}

/// How records are put together again.
#[derive(Clone, Copy, Debug)]
pub struct Packing {
    pub holes: Holes,
    /// None: as the source's batch is compressed.
    pub compression: Option<Compression>,
    /// Batches that follow each other become one while their records have no more bytes than this, uncompressed; 0: none do.
    pub joined_bytes: usize,
    /// A batch of more is split between two records.
    pub split_bytes: usize,
}

impl Packing {
    /// Each source batch stays one, but for its holes.
    pub fn apart(holes: Holes) -> Self {
        Self { holes, compression: None, joined_bytes: 0, split_bytes: usize::MAX }
    }
}

/// The records of a batch from `from_offset` on, as batches without holes. None when there are no such records.
pub fn rebuild(
    header: &BatchHeader,
    payload: &[u8],
    from_offset: i64,
    holes: Holes,
) -> Result<Vec<Rebuilt>, BadRecords> {
    let mut batches = Batches::new(Packing::apart(holes));
    batches.add(header, payload, from_offset, None)?;
    batches.finish()
}

/// Batches in the making, of records in the order of their offsets.
#[derive(Debug)]
pub struct Batches {
    packing: Packing,
    builder: Option<Builder>,
    done: Vec<Rebuilt>,
    /// Room for what a record is changed to.
    body: Vec<u8>,
}

impl Batches {
    pub fn new(packing: Packing) -> Self {
        Self { packing, builder: None, done: Vec::new(), body: Vec::new() }
    }

    /// The records of a whole source batch, from `from_offset` on. Its checksum is looked at: what is put together anew gets a
    /// new one, which would hide any damage.
    pub fn add(
        &mut self,
        header: &BatchHeader,
        payload: &[u8],
        from_offset: i64,
        mut change: Option<&mut (dyn Change + '_)>,
    ) -> Result<(), BadRecords> {
        if !is_intact(&header.to_raw(), payload) {
            return Err(BadRecords::Checksum);
        }
        let bytes = decompress(header.codec(), payload, RECORDS_BYTES_MAX)?;
        self.begin(header.codec(), bytes.len())?;
        for record in records(header, &bytes)?.iter().filter(|record| record.offset >= from_offset) {
            self.push(header.codec(), record, change.as_deref_mut())?;
        }
        Ok(())
    }

    /// So many bytes of records come that belong together: they share a batch with those before if they may.
    pub fn begin(&mut self, codec: u8, bytes: usize) -> Result<(), BadRecords> {
        let compression = self.compression(codec);
        let shares = |builder: &Builder| {
            builder.compression == compression
                && builder.bytes.len().saturating_add(bytes) <= self.packing.joined_bytes
        };
        if self.builder.as_ref().is_some_and(shares) { Ok(()) } else { self.close() }
    }

    /// The next record; `codec` is that of the source's batch.
    pub fn push(
        &mut self,
        codec: u8,
        record: &Record<'_>,
        change: Option<&mut (dyn Change + '_)>,
    ) -> Result<(), BadRecords> {
        let mut body = std::mem::take(&mut self.body);
        body.clear();
        let changed = change.map_or(Ok(Changed::Same), |change| change.change(record, &mut body));
        let pushed = match changed {
            Ok(Changed::Same) => self.append(codec, record),
            Ok(Changed::New { timestamp_ms }) => {
                self.append(codec, &Record { timestamp_ms, body: &body, ..*record })
            }
            Ok(Changed::Dropped) => Ok(()),
            Err(cause) => Err(BadRecords::Change { offset: record.offset, cause }),
        };
        self.body = body;
        pushed
    }

    fn append(&mut self, codec: u8, record: &Record<'_>) -> Result<(), BadRecords> {
        let Packing { holes, split_bytes, .. } = self.packing;
        let is_full = |builder: &Builder| {
            let is_behind_hole = !builder.is_followed_by(record.offset);
            let is_holey = holes == Holes::Split || builder.runs.len() >= RUNS_PER_BATCH_MAX;
            is_behind_hole && is_holey || builder.bytes.len().saturating_add(record.body.len()) > split_bytes
        };
        if self.builder.as_ref().is_some_and(is_full) {
            self.close()?;
        }
        let compression = self.compression(codec);
        self.builder.get_or_insert_with(|| Builder::new(compression)).push(record);
        Ok(())
    }

    fn compression(&self, codec: u8) -> Compression {
        self.packing.compression.unwrap_or(Compression::of(codec))
    }

    /// What comes next begins a batch.
    pub fn close(&mut self) -> Result<(), BadRecords> {
        if let Some(builder) = self.builder.take() {
            self.done.push(builder.finish()?);
        }
        Ok(())
    }

    /// Bytes of records that are not in a finished batch yet.
    pub fn open_bytes(&self) -> usize {
        self.builder.as_ref().map_or(0, |builder| builder.bytes.len())
    }

    pub fn finish(mut self) -> Result<Vec<Rebuilt>, BadRecords> {
        self.close()?;
        Ok(self.done)
    }
}

/// A record: what is rewritten of it, and the rest.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    pub offset: i64,
    pub attributes: u8,
    pub timestamp_ms: i64,
    /// Key, value and headers, with their lengths.
    pub body: &'a [u8],
}

/// The records of a batch's decompressed payload, in the order of their offsets.
pub fn records<'a>(header: &BatchHeader, bytes: &'a [u8]) -> Result<Vec<Record<'a>>, BadRecords> {
    let mut cursor = Cursor::new(bytes);
    let mut records: Vec<Record<'a>> = Vec::new();
    for _ in 0..header.record_count {
        let record = record(header, &mut cursor).map_err(|unread| match unread {
            Unread::Bad(what) => BadRecords::Records(what),
            Unread::Short(_) => BadRecords::Records("a record is cut short"),
        })?;
        if records.last().is_some_and(|last| last.offset >= record.offset)
            || record.offset > header.last_offset()
        {
            return Err(BadRecords::Records("their offsets do not ascend"));
        }
        records.push(record);
    }
    Ok(records)
}

fn record<'a>(header: &BatchHeader, cursor: &mut Cursor<'a>) -> Read<Record<'a>> {
    let length =
        usize::try_from(zigzag(cursor)?).map_err(|_| Unread::Bad("a record has a negative length"))?;
    let bytes = cursor.bytes(length)?;
    let mut record = Cursor::new(bytes);
    let attributes = record.u8()?;
    let timestamp_delta = zigzag(&mut record)?;
    let offset_delta = zigzag(&mut record)?;
    if !(0..=i64::from(header.last_offset_delta)).contains(&offset_delta) {
        return Err(Unread::Bad("a record's offset lies outside its batch"));
    }
    let timestamp_ms = match header.is_log_append_time() {
        true => header.max_timestamp_ms,
        false => header.base_timestamp_ms.wrapping_add(timestamp_delta),
    };
    Ok(Record {
        offset: header.base_offset + offset_delta,
        attributes,
        timestamp_ms,
        body: bytes.get(record.read()..).unwrap_or_default(),
    })
}

/// One batch in the making, record by record.
#[derive(Debug)]
struct Builder {
    compression: Compression,
    bytes: Vec<u8>,
    /// A record's fields before its body.
    front: Vec<u8>,
    records: i64,
    base_timestamp_ms: i64,
    max_timestamp_ms: i64,
    runs: Vec<(i64, i64)>,
}

impl Builder {
    fn new(compression: Compression) -> Self {
        Self {
            compression,
            bytes: Vec::new(),
            front: Vec::new(),
            records: 0,
            base_timestamp_ms: 0,
            max_timestamp_ms: -1,
            runs: Vec::new(),
        }
    }

    /// Whether no offset is missing between the last record and this offset.
    fn is_followed_by(&self, offset: i64) -> bool {
        self.runs.last().is_some_and(|run| run.0 + run.1 == offset)
    }

    fn push(&mut self, record: &Record<'_>) {
        let Record { offset, attributes, timestamp_ms, body } = *record;
        if self.records == 0 {
            self.base_timestamp_ms = timestamp_ms;
            self.max_timestamp_ms = timestamp_ms;
        }
        self.max_timestamp_ms = self.max_timestamp_ms.max(timestamp_ms);
        self.front.clear();
        self.front.push(attributes);
        put_zigzag(&mut self.front, timestamp_ms.wrapping_sub(self.base_timestamp_ms));
        put_zigzag(&mut self.front, self.records);
        put_zigzag(&mut self.bytes, (self.front.len() + body.len()) as i64);
        self.bytes.extend(&self.front);
        self.bytes.extend(body);
        match self.runs.last_mut().filter(|run| run.0 + run.1 == offset) {
            Some(run) => run.1 += 1,
            None => self.runs.push((offset, 1)),
        }
        self.records += 1;
    }

    fn finish(self) -> Result<Rebuilt, BadRecords> {
        let payload = Bytes::from(compress(self.compression, self.bytes)?);
        let count = i32::try_from(self.records).map_err(|_| BadRecords::Records("there are too many"))?;
        let mut header = BatchHeader {
            base_offset: 0,
            batch_bytes: BATCH_HEADER_BYTES + payload.len(),
            leader_epoch: -1,
            magic: 2,
            crc: 0,
            attributes: i16::from(self.compression.codec),
            last_offset_delta: count - 1,
            base_timestamp_ms: self.base_timestamp_ms,
            max_timestamp_ms: self.max_timestamp_ms,
            producer_id: -1,
            producer_epoch: -1,
            base_sequence: -1,
            record_count: count,
        };
        let mut raw = header.to_raw();
        seal(&mut raw, &payload);
        header =
            BatchHeader::parse(&raw).map_err(|_| BadRecords::Records("they are too large for a batch"))?;
        Ok(Rebuilt { header, payload, runs: self.runs })
    }
}

/// A signed variable-length number (protobuf's zigzag coding), of up to 64 bits.
fn zigzag(cursor: &mut Cursor<'_>) -> Read<i64> {
    let mut value = 0u64;
    for shift in (0..70).step_by(7) {
        let byte = cursor.u8()?;
        value |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
        if byte & 0x80 == 0 {
            return Ok((value >> 1) as i64 ^ -((value & 1) as i64));
        }
    }
    Err(Unread::Bad("a record has a number of more than ten bytes"))
}

/// The reverse of reading such a number.
pub fn put_zigzag(bytes: &mut Vec<u8>, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)) as u64;
    while rest >= 0x80 {
        bytes.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    bytes.push(rest as u8);
}
