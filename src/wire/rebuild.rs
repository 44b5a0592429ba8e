//! Taking a batch apart that a broker would refuse, and making batches of it that it takes.
//!
//! Compaction leaves holes in batches, and a log may begin within one; a producer's batch has neither. Records are copied as
//! they are: only their offset deltas are written anew, and what follows from that.

use super::batch::{BatchHeader, seal};
use super::codec::{BadRecords, compress, decompress};
use super::cursor::{Cursor, Read, Unread};
use crate::limits::{BATCH_HEADER_BYTES, RECORDS_BYTES_MAX, RUNS_PER_BATCH_MAX};
use bytes::Bytes;

/// What stays of a batch's attributes: the codec.
const ATTRIBUTES_KEPT: i16 = 0x07;

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
    let base_timestamp_ms = records.first().map_or(0, |record| record.timestamp_ms);
    let mut bytes = Vec::new();
    let mut runs: Vec<(i64, i64)> = Vec::new();
    let mut record_bytes = Vec::new();
    for (delta, record) in (0i64..).zip(records) {
        record_bytes.clear();
        record_bytes.push(record.attributes);
        put_zigzag(&mut record_bytes, record.timestamp_ms.wrapping_sub(base_timestamp_ms));
        put_zigzag(&mut record_bytes, delta);
        let length = (record_bytes.len() + record.body.len()) as i64;
        put_zigzag(&mut bytes, length);
        bytes.extend(&record_bytes);
        bytes.extend(record.body);
        match runs.last_mut().filter(|run| run.0 + run.1 == record.offset) {
            Some(run) => run.1 += 1,
            None => runs.push((record.offset, 1)),
        }
    }
    let payload = Bytes::from(compress(source.codec(), &bytes)?);
    let count = i32::try_from(records.len()).map_err(|_| BadRecords::Records("there are too many"))?;
    let mut header = BatchHeader {
        base_offset: 0,
        batch_bytes: BATCH_HEADER_BYTES + payload.len(),
        leader_epoch: -1,
        magic: 2,
        crc: 0,
        attributes: source.attributes & ATTRIBUTES_KEPT,
        last_offset_delta: count - 1,
        base_timestamp_ms,
        max_timestamp_ms: records.iter().map(|record| record.timestamp_ms).max().unwrap_or(-1),
        producer_id: -1,
        producer_epoch: -1,
        base_sequence: -1,
        record_count: count,
    };
    let mut raw = header.to_raw();
    seal(&mut raw, &payload);
    header = BatchHeader::parse(&raw).map_err(|_| BadRecords::Records("they are too large for a batch"))?;
    Ok(Rebuilt { header, payload, runs })
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

fn put_zigzag(bytes: &mut Vec<u8>, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)) as u64;
    while rest >= 0x80 {
        bytes.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    bytes.push(rest as u8);
}
