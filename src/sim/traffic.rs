//! What is written to the source: records, and the batches that hold them.

use crate::limits::BATCH_HEADER_BYTES;
use crate::sim::random::Random;
use crate::wire::codec;
use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::records::Record as DecodedRecord;

pub(super) const TRANSACTIONAL: i16 = 0x10;

/// A record as consumers see it, but for its offset.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Record {
    /// Key, value and headers with their lengths, as batches hold them: unlike those of any other record of the run.
    pub(super) body: Bytes,
    pub(super) timestamp_ms: i64,
}

/// What a batch holds at one time: compaction leaves less of it.
#[derive(Clone, Debug)]
pub(super) struct Contents {
    /// Only the bits that a mirror must keep.
    pub(super) codec: i16,
    pub(super) base_timestamp_ms: i64,
    pub(super) max_timestamp_ms: i64,
    /// With their offset deltas, ascending.
    pub(super) records: Vec<(i32, Record)>,
    pub(super) payload: Bytes,
}

/// In whose name a batch is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Producer {
    pub(super) id: i64,
    pub(super) sequence: i32,
    pub(super) is_transactional: bool,
}

impl Record {
    /// A record that names itself in its key or in its value.
    pub(super) fn new(label: &str, timestamp_ms: i64, random: &mut Random) -> Self {
        let filler = if random.percent(10) { random.below(500) } else { random.below(40) };
        let mut text = BytesMut::from(label.as_bytes());
        text.extend((0..filler).map(|_| random.next() as u8));
        let text = text.freeze();
        let (key, value): (Option<&[u8]>, Option<&[u8]>) = match random.below(10) {
            0..=5 => (Some(label.as_bytes()), Some(&text)),
            // A tombstone, a record without a key, an empty value.
            6 => (Some(label.as_bytes()), None),
            7 => (Some(&text), Some(&[])),
            _ => (None, Some(&text)),
        };
        let headers: &[(&[u8], Option<&[u8]>)] =
            if random.percent(20) { &[(b"trace", Some(b"1")), (b"", None)] } else { &[] };
        Self { body: body(key, value, headers), timestamp_ms }
    }

    /// As kafka-protocol reads it.
    pub(super) fn of_decoded(record: &DecodedRecord) -> Self {
        let headers: Vec<(&[u8], Option<&[u8]>)> =
            record.headers.iter().map(|(key, value)| (key.as_bytes(), value.as_deref())).collect();
        let body = body(record.key.as_deref(), record.value.as_deref(), &headers);
        Self { body, timestamp_ms: record.timestamp }
    }

    /// The body of the records that only move offsets on.
    pub(super) fn seed_body() -> Bytes {
        body(Some(&[]), None, &[])
    }
}

fn body(key: Option<&[u8]>, value: Option<&[u8]>, headers: &[(&[u8], Option<&[u8]>)]) -> Bytes {
    let mut bytes = BytesMut::new();
    put_nullable(&mut bytes, key);
    put_nullable(&mut bytes, value);
    put_varint(&mut bytes, headers.len() as i64);
    for (key, value) in headers {
        put_nullable(&mut bytes, Some(key));
        put_nullable(&mut bytes, *value);
    }
    bytes.freeze()
}

fn put_nullable(bytes: &mut BytesMut, value: Option<&[u8]>) {
    put_varint(bytes, value.map_or(-1, |value| value.len() as i64));
    bytes.extend_from_slice(value.unwrap_or_default());
}

/// A signed number in zigzag coding.
fn put_varint(bytes: &mut BytesMut, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)) as u64;
    while rest >= 0x80 {
        bytes.put_u8(rest as u8 | 0x80);
        rest >>= 7;
    }
    bytes.put_u8(rest as u8);
}

impl Contents {
    /// `count` new records, one after the other.
    pub(super) fn new(label: &str, count: i32, timestamp_ms: i64, random: &mut Random) -> Self {
        let records = (0..count).map(|delta| {
            let dated_ms = timestamp_ms - random.below(50) as i64;
            (delta, Record::new(&format!("{label}.{delta}:"), dated_ms, random))
        });
        let records: Vec<(i32, Record)> = records.collect();
        let base_timestamp_ms = records.first().map_or(0, |(_, record)| record.timestamp_ms);
        Self::of(random.pick(&[0, 0, 1, 2, 3, 4]), base_timestamp_ms, records)
    }

    pub(super) fn of(codec: i16, base_timestamp_ms: i64, records: Vec<(i32, Record)>) -> Self {
        let mut bytes = BytesMut::new();
        let mut record = BytesMut::new();
        for (delta, Record { body, timestamp_ms }) in &records {
            record.clear();
            record.put_u8(0);
            put_varint(&mut record, timestamp_ms - base_timestamp_ms);
            put_varint(&mut record, i64::from(*delta));
            put_varint(&mut bytes, (record.len() + body.len()) as i64);
            bytes.extend_from_slice(&record);
            bytes.extend_from_slice(body);
        }
        let payload = match records.is_empty() {
            true => Vec::new(),
            false => codec::compress(codec::Compression::of(codec as u8), &bytes[..]).unwrap_or_default(),
        };
        let max_timestamp_ms = records.iter().map(|(_, record)| record.timestamp_ms).max();
        Self {
            codec,
            base_timestamp_ms,
            max_timestamp_ms: max_timestamp_ms.unwrap_or(base_timestamp_ms),
            records,
            payload: payload.into(),
        }
    }

    /// What the log cleaner leaves (`MemoryRecords.filterTo`): the batch keeps its offsets, codec and base timestamp.
    pub(super) fn cleaned(&self, mut keeps: impl FnMut(i32) -> bool) -> Self {
        let records = self.records.iter().filter(|(delta, _)| keeps(*delta)).cloned().collect();
        Self::of(self.codec, self.base_timestamp_ms, records)
    }

    /// The bytes that a producer would send: base offset 0, no leader epoch, checksum right. As many offsets as `offsets`.
    pub(super) fn encode(&self, offsets: i32, producer: Option<Producer>) -> Bytes {
        let is_transactional = producer.is_some_and(|producer| producer.is_transactional);
        let mut raw = BytesMut::with_capacity(BATCH_HEADER_BYTES + self.payload.len());
        raw.put_i64(0);
        raw.put_i32((BATCH_HEADER_BYTES - 12 + self.payload.len()) as i32);
        raw.put_i32(-1);
        raw.put_i8(2);
        raw.put_u32(0);
        raw.put_i16(if is_transactional { self.codec | TRANSACTIONAL } else { self.codec });
        raw.put_i32(offsets - 1);
        raw.put_i64(self.base_timestamp_ms);
        raw.put_i64(self.max_timestamp_ms);
        raw.put_i64(producer.map_or(-1, |producer| producer.id));
        raw.put_i16(if producer.is_some() { 0 } else { -1 });
        raw.put_i32(producer.map_or(-1, |producer| producer.sequence));
        raw.put_i32(self.records.len() as i32);
        raw.put_slice(&self.payload);
        let crc = crc32c::crc32c(&raw[21..]);
        raw[17..21].copy_from_slice(&crc.to_be_bytes());
        raw.freeze()
    }
}

/// How old the records are when they are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ages {
    /// Written as they happen.
    Fresh,
    /// A migration of old data.
    ThreeDays,
    /// Around the moment when the target forgets producers: the borders of what may be called guarded.
    AroundExpiration,
    Mixed,
}

impl Ages {
    pub(super) fn draw_ms(self, expiration_ms: i64, random: &mut Random) -> i64 {
        const HOUR_MS: i64 = 3_600_000;
        match self {
            Self::Fresh => random.below(5_000) as i64,
            Self::ThreeDays => 72 * HOUR_MS,
            Self::AroundExpiration => {
                let border = random.pick(&[expiration_ms, expiration_ms - HOUR_MS, expiration_ms - 10_000]);
                (border + random.below(40_000) as i64 - 20_000).max(0)
            }
            Self::Mixed => {
                let ages = random.pick(&[Self::Fresh, Self::Fresh, Self::ThreeDays, Self::AroundExpiration]);
                ages.draw_ms(expiration_ms, random)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kafka_protocol::records::RecordBatchDecoder;

    #[test]
    fn kafkas_codec_reads_what_is_written_and_what_compaction_leaves() {
        let mut random = Random::new(1, "traffic");
        for nth in 0..60 {
            let whole = Contents::new(&format!("t-0/{nth}"), 5, 1_800_000_000_000, &mut random);
            for contents in [&whole, &whole.cleaned(|delta| delta % 2 == 1)] {
                let mut raw = contents.encode(5, None);
                assert_eq!(raw.len() as i32, 12 + i32::from_be_bytes(raw[8..12].try_into().unwrap()));
                assert_eq!(crc32c::crc32c(&raw[21..]).to_be_bytes(), raw[17..21]);
                let decoded = RecordBatchDecoder::decode(&mut raw).unwrap().records;
                let read = decoded.iter().map(|record| (record.offset as i32, Record::of_decoded(record)));
                assert_eq!(read.collect::<Vec<_>>(), contents.records);
            }
        }
    }
}
