//! Batches that are encoded once and sent many times: only the header differs from one use of a variant to the next.

use super::payload::{Random, value};
use crate::limits::BATCH_HEADER_BYTES;
use bytes::{Bytes, BytesMut};
use kafka_protocol::indexmap::IndexMap;
use kafka_protocol::records::{
    Compression, NO_PARTITION_LEADER_EPOCH, NO_PRODUCER_EPOCH, NO_PRODUCER_ID, NO_SEQUENCE, Record,
    RecordBatchEncoder, RecordEncodeOptions, TimestampType,
};

/// How many payloads there are. Few enough to encode quickly, enough that a mix-up shows.
const VARIANTS: u64 = 16;

/// What the batches of a load look like.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shape {
    /// About the size of a batch before compression; at least one record.
    pub batch_bytes: usize,
    /// Size of a record's value; keys are 16 bytes.
    pub record_bytes: usize,
    pub codec: Codec,
    /// Share of each value that is random characters and so hardly shrinks, in percent.
    pub random_percent: usize,
}

/// Kafka's compression types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

/// The batches of a load: [`batch`](Self::batch) gives any of them.
pub struct Batches {
    variants: Vec<Variant>,
    records_per_batch: u32,
    first_timestamp_ms: i64,
}

/// One payload and the header that fits it, but for base timestamp and checksum.
pub(super) struct Variant {
    header: [u8; BATCH_HEADER_BYTES],
    pub payload: Bytes,
}

// Where a record batch's header fields lie (Kafka's `DefaultRecordBatch`).
pub(super) const CRC: usize = 17;
pub(super) const ATTRIBUTES: usize = 21;
pub(super) const BASE_TIMESTAMP: usize = 27;
pub(super) const MAX_TIMESTAMP: usize = 35;
pub(super) const RECORD_COUNT: usize = 57;

impl Batches {
    /// Encodes the variants. Batch `index` of every partition will be dated `first_timestamp_ms + index`.
    pub fn new(shape: Shape, first_timestamp_ms: i64) -> Result<Self, String> {
        if shape.record_bytes == 0 || shape.record_bytes > shape.batch_bytes {
            return Err(format!(
                "a batch of {} bytes cannot be made of records of {} bytes",
                shape.batch_bytes, shape.record_bytes
            ));
        }
        let record_overhead = 16 + 8;
        let records_per_batch = (shape.batch_bytes / (shape.record_bytes + record_overhead)).max(1) as u32;
        let variants = (0..VARIANTS)
            .map(|seed| Variant::encode(shape, records_per_batch, seed).map_err(|error| error.to_string()))
            .collect::<Result<_, _>>()?;
        Ok(Self { variants, records_per_batch, first_timestamp_ms })
    }

    pub fn records_per_batch(&self) -> u32 {
        self.records_per_batch
    }

    /// Mean size of a batch as it travels, header included.
    pub fn mean_bytes(&self) -> f64 {
        let total: usize =
            self.variants.iter().map(|variant| BATCH_HEADER_BYTES + variant.payload.len()).sum();
        total as f64 / self.variants.len() as f64
    }

    pub fn first_timestamp_ms(&self) -> i64 {
        self.first_timestamp_ms
    }

    /// Header and payload of one batch, ready to be produced (base offset 0, no producer id).
    pub fn batch(&self, partition: u32, index: u64) -> ([u8; BATCH_HEADER_BYTES], Bytes) {
        let variant = self.variant(partition, index);
        let mut header = variant.header;
        let timestamp_ms = (self.first_timestamp_ms + index as i64).to_be_bytes();
        header[BASE_TIMESTAMP..MAX_TIMESTAMP].copy_from_slice(&timestamp_ms);
        header[MAX_TIMESTAMP..MAX_TIMESTAMP + 8].copy_from_slice(&timestamp_ms);
        let crc = crc32c::crc32c_append(crc32c::crc32c(&header[ATTRIBUTES..]), &variant.payload);
        header[CRC..ATTRIBUTES].copy_from_slice(&crc.to_be_bytes());
        (header, variant.payload.clone())
    }

    pub(super) fn variant(&self, partition: u32, index: u64) -> &Variant {
        let pick = Random::new(index << 16 ^ u64::from(partition)).below(self.variants.len() as u64);
        &self.variants[pick as usize]
    }
}

impl Variant {
    fn encode(shape: Shape, records: u32, seed: u64) -> Result<Self, Box<dyn std::error::Error>> {
        let mut random = Random::new(seed << 32);
        let records: Vec<Record> = (0..records)
            .map(|n| Record {
                transactional: false,
                control: false,
                delete_horizon: false,
                partition_leader_epoch: NO_PARTITION_LEADER_EPOCH,
                producer_id: NO_PRODUCER_ID,
                producer_epoch: NO_PRODUCER_EPOCH,
                timestamp_type: TimestampType::Creation,
                offset: i64::from(n),
                // The encoder starts a new batch where offset and sequence drift apart.
                sequence: NO_SEQUENCE.wrapping_add(n as i32),
                timestamp: 0,
                key: Some(Bytes::from(format!("{:016x}", random.next()))),
                value: Some(Bytes::from(value(&mut random, shape.record_bytes, shape.random_percent))),
                headers: IndexMap::new(),
            })
            .collect();
        let compression = match shape.codec {
            Codec::None => Compression::None,
            Codec::Gzip => Compression::Gzip,
            Codec::Snappy => Compression::Snappy,
            Codec::Lz4 => Compression::Lz4,
            Codec::Zstd => Compression::Zstd,
        };
        let mut encoded = BytesMut::new();
        RecordBatchEncoder::encode(&mut encoded, &records, &RecordEncodeOptions { version: 2, compression })?;
        let payload = encoded.split_off(BATCH_HEADER_BYTES).freeze();
        let header = encoded.as_ref().try_into()?;
        Ok(Self { header, payload })
    }

    /// What the header of a mirrored batch must still say: codec bits, last offset delta, record count.
    pub fn agrees_with(&self, header: &[u8; BATCH_HEADER_BYTES]) -> bool {
        header[8..12] == self.header[8..12]
            && header[16] == 2
            && header[ATTRIBUTES..BASE_TIMESTAMP] == self.header[ATTRIBUTES..BASE_TIMESTAMP]
            && header[RECORD_COUNT..] == self.header[RECORD_COUNT..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kafka_protocol::records::RecordBatchDecoder;

    #[test]
    fn batches_decode_to_the_records_they_promise() {
        for codec in [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
            let shape = Shape { batch_bytes: 10_000, record_bytes: 500, codec, random_percent: 50 };
            let batches = Batches::new(shape, 1_000_000).unwrap();
            let (header, payload) = batches.batch(3, 41);
            let length = i32::from_be_bytes(header[8..12].try_into().unwrap()) as usize;
            assert_eq!(length + 12, header.len() + payload.len(), "{codec:?}");
            let whole = [&header[..], &payload[..]].concat();
            assert_eq!(
                crc32c::crc32c(&whole[ATTRIBUTES..]).to_be_bytes(),
                header[CRC..ATTRIBUTES],
                "{codec:?}"
            );
            let decoded = RecordBatchDecoder::decode(&mut Bytes::from(whole)).unwrap();
            assert_eq!(decoded.records.len(), 19);
            assert_eq!(batches.records_per_batch(), 19);
            for (n, record) in decoded.records.iter().enumerate() {
                assert_eq!((record.offset, record.timestamp), (n as i64, 1_000_041));
                assert_eq!((record.producer_id, record.value.as_ref().unwrap().len()), (NO_PRODUCER_ID, 500));
            }
        }
    }

    #[test]
    fn compression_shrinks_what_is_not_random() {
        let size = |codec, random_percent| {
            let shape = Shape { batch_bytes: 100_000, record_bytes: 1000, codec, random_percent };
            Batches::new(shape, 0).unwrap().mean_bytes()
        };
        assert!(size(Codec::Zstd, 50) < 0.7 * size(Codec::None, 50));
        assert!(size(Codec::Zstd, 50) > 0.3 * size(Codec::None, 50));
        assert!(size(Codec::Zstd, 0) < 0.5 * size(Codec::Zstd, 50));
    }

    #[test]
    fn neighbours_differ_mostly() {
        let shape = Shape { batch_bytes: 100, record_bytes: 50, codec: Codec::None, random_percent: 50 };
        let batches = Batches::new(shape, 0).unwrap();
        let same = (0..1000).filter(|i| batches.batch(0, *i).1 == batches.batch(0, i + 1).1).count();
        assert!(same < 150, "{same}");
    }

    #[test]
    fn an_impossible_shape_is_refused() {
        let shape = Shape { batch_bytes: 100, record_bytes: 200, codec: Codec::None, random_percent: 50 };
        assert!(Batches::new(shape, 0).is_err());
    }
}
