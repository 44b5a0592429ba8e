//! Taking a batch apart that a broker would refuse, and making batches of it that it takes.
//!
//! Compaction leaves holes in batches, and a log may begin within one; a producer's batch has neither. Records are copied as
//! they are: only their offset deltas are written anew, and what follows from that.

use super::batch::{BatchHeader, seal};
use super::codec::{BadRecords, compress, decompress};
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

impl Rebuilt {
    /// The source offset after its last record.
    pub fn next_offset(&self) -> Option<i64> {
        self.runs.last().map(|(offset, records)| offset + records)
    }
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

/// The records of a batch from `from_offset` on, as batches without holes. None when there are no such records.
pub fn rebuild(
    header: &BatchHeader,
    payload: &[u8],
    from_offset: i64,
    holes: Holes,
) -> Result<Vec<Rebuilt>, BadRecords> {
    let bytes = decompress(header.codec(), payload, RECORDS_BYTES_MAX)?;
    let records = records(header, &bytes)?;
    let kept = records.iter().position(|record| record.offset >= from_offset).unwrap_or(records.len());
    let mut rest = &records[kept..];
    let mut rebuilt = Vec::new();
    while !rest.is_empty() {
        let count = match holes {
            Holes::Split => {
                rest.windows(2).take_while(|pair| pair[0].offset + 1 == pair[1].offset).count() + 1
            }
            Holes::Close => {
                let ends =
                    rest.windows(2).enumerate().filter(|(_, pair)| pair[0].offset + 1 != pair[1].offset);
                ends.map(|(at, _)| at + 1).nth(RUNS_PER_BATCH_MAX - 1).unwrap_or(rest.len())
            }
        };
        let (batch, tail) = rest.split_at(count);
        rebuilt.push(encode(header, batch)?);
        rest = tail;
    }
    Ok(rebuilt)
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

fn encode(source: &BatchHeader, records: &[Record<'_>]) -> Result<Rebuilt, BadRecords> {
    let mut builder = Builder::new(source.codec());
    for record in records {
        builder.push(record.offset, record.attributes, record.timestamp_ms, &[record.body]);
    }
    builder.finish()
}

/// A batch in the making, record by record.
#[derive(Debug)]
pub struct Builder {
    codec: u8,
    bytes: Vec<u8>,
    /// A record's fields before its body.
    front: Vec<u8>,
    records: i64,
    base_timestamp_ms: i64,
    max_timestamp_ms: i64,
    runs: Vec<(i64, i64)>,
}

impl Builder {
    pub fn new(codec: u8) -> Self {
        Self {
            codec,
            bytes: Vec::new(),
            front: Vec::new(),
            records: 0,
            base_timestamp_ms: 0,
            max_timestamp_ms: -1,
            runs: Vec::new(),
        }
    }

    pub fn codec(&self) -> u8 {
        self.codec
    }

    /// Bytes of records so far, uncompressed.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Ranges of offsets so far.
    pub fn runs(&self) -> usize {
        self.runs.len()
    }

    /// Whether no offset is missing between the last record and this offset.
    pub fn is_followed_by(&self, offset: i64) -> bool {
        self.runs.last().is_some_and(|run| run.0 + run.1 == offset)
    }

    /// `body`: key, value and headers with their lengths, in whatever pieces.
    pub fn push(&mut self, offset: i64, attributes: u8, timestamp_ms: i64, body: &[&[u8]]) {
        if self.records == 0 {
            self.base_timestamp_ms = timestamp_ms;
            self.max_timestamp_ms = timestamp_ms;
        }
        self.max_timestamp_ms = self.max_timestamp_ms.max(timestamp_ms);
        self.front.clear();
        self.front.push(attributes);
        put_zigzag(&mut self.front, timestamp_ms.wrapping_sub(self.base_timestamp_ms));
        put_zigzag(&mut self.front, self.records);
        let body_bytes: usize = body.iter().map(|piece| piece.len()).sum();
        put_zigzag(&mut self.bytes, (self.front.len() + body_bytes) as i64);
        self.bytes.extend(&self.front);
        body.iter().for_each(|piece| self.bytes.extend(*piece));
        match self.runs.last_mut().filter(|run| run.0 + run.1 == offset) {
            Some(run) => run.1 += 1,
            None => self.runs.push((offset, 1)),
        }
        self.records += 1;
    }

    pub fn finish(self) -> Result<Rebuilt, BadRecords> {
        let payload = Bytes::from(compress(self.codec, &self.bytes)?);
        let count = i32::try_from(self.records).map_err(|_| BadRecords::Records("there are too many"))?;
        let mut header = BatchHeader {
            base_offset: 0,
            batch_bytes: BATCH_HEADER_BYTES + payload.len(),
            leader_epoch: -1,
            magic: 2,
            crc: 0,
            attributes: i16::from(self.codec),
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
