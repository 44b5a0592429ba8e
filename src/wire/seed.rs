//! Batches of empty records, which only move a partition's offsets on.

use super::batch::{BatchHeader, Stamp, restamp, seal};
use crate::limits::BATCH_HEADER_BYTES;
use bytes::Bytes;

/// Kafka's `CompressionType.ZSTD`.
const ZSTD: i16 = 4;
/// The records shrink to a hundredth with the least effort already.
const ZSTD_LEVEL: i32 = 1;

/// A batch of empty records, ready to be sent any number of times with new headers.
#[derive(Clone, Debug)]
pub struct SeedBatch {
    /// Without a producer; the checksum fits.
    pub header: BatchHeader,
    pub payload: Bytes,
}

impl SeedBatch {
    /// `records` records with an empty key, so that compacted topics take them, and no value, dated `timestamp_ms`.
    ///
    /// # Errors
    /// The compression fails, for want of memory.
    pub fn new(records: i32, timestamp_ms: i64) -> std::io::Result<Self> {
        let mut bytes = Vec::with_capacity(usize::try_from(records).unwrap_or(0).saturating_mul(10));
        for delta in 0..records {
            put_record(&mut bytes, delta);
        }
        let payload = Bytes::from(zstd::bulk::compress(&bytes, ZSTD_LEVEL)?);
        let mut header = BatchHeader {
            base_offset: 0,
            batch_bytes: BATCH_HEADER_BYTES + payload.len(),
            leader_epoch: -1,
            magic: 2,
            crc: 0,
            attributes: ZSTD,
            last_offset_delta: records - 1,
            base_timestamp_ms: timestamp_ms,
            max_timestamp_ms: timestamp_ms,
            producer_id: -1,
            producer_epoch: -1,
            base_sequence: -1,
            record_count: records,
        };
        let mut raw = header.to_raw();
        seal(&mut raw, &payload);
        if let Ok(sealed) = BatchHeader::parse(&raw) {
            header = sealed;
        }
        Ok(Self { header, payload })
    }

    /// The whole batch, for who has no use for its parts.
    pub fn stamped(&self, stamp: Stamp) -> Bytes {
        let mut raw = self.header.to_raw();
        restamp(&mut raw, stamp);
        Bytes::from([&raw[..], &self.payload].concat())
    }
}

/// Length, attributes, timestamp delta 0, offset delta, empty key, no value, no headers.
fn put_record(bytes: &mut Vec<u8>, offset_delta: i32) {
    let mut delta = [0; 5];
    let mut rest = (offset_delta << 1) as u32;
    let mut used = 0;
    while rest >= 0x80 {
        delta[used] = rest as u8 | 0x80;
        rest >>= 7;
        used += 1;
    }
    delta[used] = rest as u8;
    used += 1;
    // Lengths are zigzag varints: up to 63 they are one byte, twice the value.
    let body_bytes = 2 + used + 3;
    bytes.push((body_bytes << 1) as u8);
    bytes.extend([0, 0]);
    bytes.extend(&delta[..used]);
    bytes.extend([0, 1, 0]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use kafka_protocol::records::RecordBatchDecoder;

    #[test]
    fn kafkas_codec_reads_the_seeds() {
        let seeds = SeedBatch::new(20_000, 1_700_000_000_000).unwrap();
        assert!(seeds.header.is_contiguous());
        let stamp = Stamp { producer_id: 9, producer_epoch: 1, base_sequence: 40, is_transactional: true };
        let mut batch = seeds.stamped(stamp);
        let header = BatchHeader::parse(batch.first_chunk().unwrap()).unwrap();
        assert!(header.is_transactional() && header.base_sequence == 40 && header.producer_id == 9);
        let decoded = RecordBatchDecoder::decode(&mut batch).unwrap();
        assert_eq!(decoded.records.len(), 20_000);
        for (at, record) in (0..).zip(&decoded.records) {
            assert_eq!((record.offset, record.timestamp), (at, 1_700_000_000_000));
            assert_eq!((record.key.as_deref(), record.value.as_deref()), (Some(&[][..]), None));
        }
    }
}
