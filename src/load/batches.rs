//! Batches that are encoded once and sent many times: only the header differs from one use of a variant to the next.

use super::keys::{self, Keys, Weights};
use super::payload::{Random, Values};
use super::shape::{self, Captured, Kinds};
use super::sizes::Sizes;
pub use crate::config::Codec;
use crate::limits::BATCH_HEADER_BYTES;
use crate::wire::batch::{BatchHeader, TRANSACTIONAL, seal};
use crate::wire::crc;
use bytes::{Bytes, BytesMut};
use kafka_protocol::indexmap::IndexMap;
use kafka_protocol::protocol::StrBytes;
use kafka_protocol::records::{
    Compression, NO_PARTITION_LEADER_EPOCH, NO_PRODUCER_EPOCH, NO_PRODUCER_ID, NO_SEQUENCE, Record,
    RecordBatchEncoder, RecordEncodeOptions, TimestampType,
};
use std::str::FromStr;
use std::sync::{Arc, OnceLock};

/// How many payloads there are. Few enough to encode quickly, enough that a mix-up shows.
const VARIANTS: u64 = 16;
/// What the payloads may take together where each partition has its own.
const POOL_BYTES: usize = 256 << 20;

/// What the batches of a load look like.
#[derive(Clone, Debug, PartialEq)]
pub struct Shape {
    /// About the size of a batch before compression; at least one record.
    pub batch_bytes: usize,
    /// A batch has no more records than this, though it would be smaller than it might be.
    pub batch_records_max: u32,
    /// Sizes of the records' values.
    pub sizes: Sizes,
    pub values: Values,
    pub keys: Keys,
    pub headers: Headers,
    pub codec: Codec,
    /// Of everything that is left to chance.
    pub seed: u64,
}

impl Shape {
    /// Records of one size, each with a key of its own, in JSON of which so many percent are random.
    pub fn plain(batch_bytes: usize, record_bytes: usize, codec: Codec, random_percent: usize) -> Self {
        Self {
            batch_bytes,
            batch_records_max: u32::MAX,
            sizes: Sizes::Fixed(record_bytes),
            values: Values::Json { random_percent },
            keys: Keys::Unique,
            headers: Headers::default(),
            codec,
            seed: 0,
        }
    }
}

/// How many headers each record has, and the size of their values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Headers {
    pub count: usize,
    pub bytes: usize,
}

/// `3` or `3x16`.
impl FromStr for Headers {
    type Err = String;

    fn from_str(typed: &str) -> Result<Self, String> {
        let (count, bytes) = typed.split_once('x').unwrap_or((typed, "16"));
        match (count.trim().parse(), bytes.trim().parse()) {
            (Ok(count), Ok(bytes)) if count <= 100 && bytes <= 10_000 => Ok(Self { count, bytes }),
            _ => Err(format!(
                "`{typed}` is not COUNT or COUNTxBYTES, with up to 100 headers of up to 10000 bytes"
            )),
        }
    }
}

/// The batches of a load: [`batch`](Self::batch) gives any of them.
pub struct Batches {
    shape: Shape,
    /// Those of all partitions, or one list for each.
    variants: Vec<Vec<Variant>>,
    /// By partition, where keys decide about partitions.
    keys: Vec<Weights<u32>>,
    first_timestamp_ms: i64,
    /// Which variants come one after the other, where that is not left to chance.
    script: Option<Arc<Script>>,
    /// The one batch that is shorter than its variant, because the load ends with it.
    tail: OnceLock<(u32, u64, Variant)>,
}

/// The batches of a shape that is replayed.
struct Script {
    /// By lane: the variants in their order, over and over.
    lanes: Vec<Vec<u32>>,
    /// By variant: how often it comes.
    counts: Vec<u64>,
}

/// One payload and the header that fits it, dated 0.
#[derive(Clone)]
pub(super) struct Variant {
    header: [u8; BATCH_HEADER_BYTES],
    pub payload: Bytes,
    pub records: u32,
    /// Sum of the sizes of the records' values.
    value_bytes: u64,
}

/// A batch, ready to be produced (base offset 0, no producer id).
#[derive(Clone, Debug)]
pub struct ReadyBatch {
    pub header: [u8; BATCH_HEADER_BYTES],
    pub payload: Bytes,
    pub records: u32,
    pub value_bytes: u64,
}

impl ReadyBatch {
    /// As it travels.
    pub fn wire_bytes(&self) -> usize {
        BATCH_HEADER_BYTES + self.payload.len()
    }
}

// Where a record batch's header fields lie (Kafka's `DefaultRecordBatch`).
pub(super) const CRC: usize = 17;
pub(super) const ATTRIBUTES: usize = 21;
pub(super) const LAST_OFFSET_DELTA: usize = 23;
pub(super) const BASE_TIMESTAMP: usize = 27;
pub(super) const MAX_TIMESTAMP: usize = 35;
pub(super) const RECORD_COUNT: usize = 57;

impl Batches {
    /// Encodes the variants. Batch `index` of every partition will be dated `first_timestamp_ms + index`.
    pub fn new(shape: Shape, partitions: u32, first_timestamp_ms: i64) -> Result<Self, String> {
        if let Sizes::Fixed(record_bytes) = shape.sizes
            && (record_bytes == 0 || record_bytes > shape.batch_bytes)
        {
            return Err(format!(
                "a batch of {} bytes cannot be made of records of {record_bytes} bytes",
                shape.batch_bytes
            ));
        }
        let keys = keys::by_partition(&shape.keys, partitions).unwrap_or_default();
        let mut batches = Self {
            shape,
            variants: Vec::new(),
            keys,
            first_timestamp_ms,
            script: None,
            tail: OnceLock::new(),
        };
        let (lists, count) = batches.lists()?;
        for list in 0..lists {
            let has_none = batches.keys.get(list as usize).is_some_and(|keys| keys.total() == 0.0);
            let seeds = if has_none { 0..0 } else { 0..count };
            let variants: Result<_, String> =
                seeds.map(|seed| batches.encode(list, seed, batches.shape.batch_records_max)).collect();
            batches.variants.push(variants?);
        }
        Ok(batches)
    }

    /// The batches of a captured shape, for topics of `partitions` each. `shape` says nothing but the seed.
    pub fn of_shape(
        shape: Shape,
        captured: &Captured,
        partitions: u32,
        first_timestamp_ms: i64,
    ) -> Result<Self, String> {
        let Kinds { kinds, of } = Kinds::new(captured);
        let places = captured.places();
        let mut lanes = vec![Vec::new(); captured.head.topics.len() * partitions as usize];
        for (seen, kind) in captured.batches.iter().zip(of) {
            let (topic, partition) = places[seen.lane as usize];
            lanes[(topic * partitions + partition) as usize].push(kind);
        }
        let variants: Result<Vec<Variant>, String> = (shape.seed..)
            .zip(&kinds)
            .map(|(seed, kind)| {
                let (payload, value_bytes) = shape::payload(kind, seed)?;
                Ok(Variant::sealed(payload, kind.records, kind.codec, value_bytes))
            })
            .collect();
        Ok(Self {
            shape,
            variants: vec![variants?],
            keys: Vec::new(),
            first_timestamp_ms,
            script: Some(Arc::new(Script { lanes, counts: kinds.iter().map(|kind| kind.count).collect() })),
            tail: OnceLock::new(),
        })
    }

    /// The same batches, dated from another time on.
    pub fn dated_from(&self, first_timestamp_ms: i64) -> Self {
        Self {
            shape: self.shape.clone(),
            variants: self.variants.clone(),
            keys: self.keys.clone(),
            first_timestamp_ms,
            script: self.script.clone(),
            tail: OnceLock::new(),
        }
    }

    /// How many lists of variants there are, and of how many variants each.
    fn lists(&self) -> Result<(u32, u64), String> {
        if self.keys.is_empty() {
            return Ok((1, VARIANTS));
        }
        let each_bytes = self.keys.len() * self.shape.batch_bytes.max(self.shape.sizes.mean() as usize);
        match POOL_BYTES / each_bytes {
            0 => Err(format!(
                "with keys that decide about partitions, {} partitions need {} MiB for batches of their own, more than {}: \
                 take smaller batches, fewer partitions, or keys none or unique",
                self.keys.len(),
                each_bytes >> 20,
                POOL_BYTES >> 20
            )),
            fitting => Ok((self.keys.len() as u32, (fitting as u64).min(VARIANTS))),
        }
    }

    /// The number of records of a batch, where all have the same.
    pub fn records_per_batch(&self) -> u32 {
        self.all().map(|variant| variant.records).max().unwrap_or(1)
    }

    pub fn mean_records(&self) -> f64 {
        self.mean(|variant| f64::from(variant.records))
    }

    /// Mean size of a batch as it travels, header included.
    pub fn mean_bytes(&self) -> f64 {
        self.mean(|variant| (BATCH_HEADER_BYTES + variant.payload.len()) as f64)
    }

    /// Mean size of a record's value.
    pub fn mean_value_bytes(&self) -> f64 {
        self.mean(|variant| variant.value_bytes as f64) / self.mean_records().max(1.0)
    }

    fn mean(&self, of: impl Fn(&Variant) -> f64) -> f64 {
        if let Some(script) = &self.script {
            let total: u64 = script.counts.iter().sum();
            let weighted = self.all().zip(&script.counts).map(|(variant, count)| of(variant) * *count as f64);
            return weighted.sum::<f64>() / total.max(1) as f64;
        }
        self.all().map(of).sum::<f64>() / self.all().count().max(1) as f64
    }

    fn all(&self) -> impl Iterator<Item = &Variant> {
        self.variants.iter().flatten()
    }

    pub fn first_timestamp_ms(&self) -> i64 {
        self.first_timestamp_ms
    }

    /// Header and payload of one batch, dated by its index.
    pub fn batch(&self, partition: u32, index: u64) -> ReadyBatch {
        self.batch_at(partition, index, self.first_timestamp_ms + index as i64)
    }

    /// The same with another date.
    pub fn batch_at(&self, partition: u32, index: u64, timestamp_ms: i64) -> ReadyBatch {
        match self.variant(partition, index) {
            Some(variant) => variant.dated(timestamp_ms),
            // Nobody sends to a partition that no key leads to.
            None => self
                .variants
                .iter()
                .flatten()
                .next()
                .map_or_else(ReadyBatch::none, |any| any.dated(timestamp_ms)),
        }
    }

    pub fn records(&self, partition: u32, index: u64) -> u32 {
        self.variant(partition, index).map_or(0, |variant| variant.records)
    }

    /// Makes a batch shorter, if it has more than so many records: the last one of a load, and only that one.
    pub fn end_with(&self, partition: u32, index: u64, records: u32) -> Result<(), String> {
        if self.records(partition, index) > records {
            let tail = self.encode(self.list(partition), VARIANTS, records)?;
            // It is set once, by the one who sends.
            let _ = self.tail.set((partition, index, tail));
        }
        Ok(())
    }

    /// Where the variants of a partition are. Partitions of several topics are counted on, and are alike in all of them.
    fn list(&self, partition: u32) -> u32 {
        partition.checked_rem(self.keys.len() as u32).unwrap_or(0)
    }

    pub(super) fn variant(&self, partition: u32, index: u64) -> Option<&Variant> {
        if let Some((_, _, tail)) = self.tail.get().filter(|tail| (tail.0, tail.1) == (partition, index)) {
            return Some(tail);
        }
        if let Some(script) = &self.script {
            let lane = script.lanes.get(partition as usize).filter(|lane| !lane.is_empty())?;
            let number = lane[(index % lane.len() as u64) as usize];
            return self.variants.first()?.get(number as usize);
        }
        let variants =
            self.variants.get(self.list(partition) as usize).filter(|variants| !variants.is_empty())?;
        let pick = Random::new(index << 16 ^ u64::from(partition)).below(variants.len() as u64);
        variants.get(pick as usize)
    }

    fn encode(&self, list: u32, seed: u64, records_max: u32) -> Result<Variant, String> {
        let Shape { batch_bytes, sizes, values, headers, codec, .. } = &self.shape;
        let mut random = Random::new(self.shape.seed ^ (u64::from(list) << 40) ^ (seed << 32));
        let mut records = Vec::new();
        let (mut bytes, mut value_bytes) = (0, 0);
        while (records.len() as u64) < u64::from(records_max.max(1)) {
            let key = self.key(list, &mut random);
            let value = values.value(&mut random, sizes);
            let headers: IndexMap<StrBytes, Option<Bytes>> = (0..headers.count)
                .map(|n| {
                    let value = (0..headers.bytes).map(|_| b'a' + random.below(26) as u8).collect::<Vec<_>>();
                    (StrBytes::from_string(format!("h{n}")), Some(Bytes::from(value)))
                })
                .collect();
            bytes += record_bytes(records.len(), key.as_deref(), &value, &headers);
            if bytes > *batch_bytes && !records.is_empty() {
                break;
            }
            value_bytes += value.len() as u64;
            records.push(record(records.len(), key, value, headers));
        }
        Variant::encode(&records, *codec, value_bytes).map_err(|error| error.to_string())
    }

    fn key(&self, partition: u32, random: &mut Random) -> Option<Bytes> {
        match &self.shape.keys {
            Keys::None => None,
            Keys::Unique => Some(Bytes::from(format!("{:016x}", random.next()))),
            Keys::Uniform(_) | Keys::Zipf { .. } => {
                let rank = self.keys.get(partition as usize).and_then(|keys| keys.draw(random));
                rank.map(|rank| Bytes::copy_from_slice(&keys::name(rank)))
            }
        }
    }
}

fn record(n: usize, key: Option<Bytes>, value: Bytes, headers: IndexMap<StrBytes, Option<Bytes>>) -> Record {
    Record {
        transactional: false,
        control: false,
        delete_horizon: false,
        partition_leader_epoch: NO_PARTITION_LEADER_EPOCH,
        producer_id: NO_PRODUCER_ID,
        producer_epoch: NO_PRODUCER_EPOCH,
        timestamp_type: TimestampType::Creation,
        offset: n as i64,
        // The encoder starts a new batch where offset and sequence drift apart.
        sequence: NO_SEQUENCE.wrapping_add(n as i32),
        timestamp: 0,
        key,
        value: Some(value),
        headers,
    }
}

/// What a record takes in a batch that is not compressed.
fn record_bytes(
    n: usize,
    key: Option<&[u8]>,
    value: &[u8],
    headers: &IndexMap<StrBytes, Option<Bytes>>,
) -> usize {
    let field = |bytes: usize| varint_bytes(bytes) + bytes;
    let headers_bytes: usize = headers
        .iter()
        .map(|(name, value)| field(name.len()) + field(value.as_ref().map_or(0, Bytes::len)))
        .sum();
    let body = 2 + varint_bytes(n) + key.map_or(1, |key| field(key.len())) + field(value.len());
    field(body + varint_bytes(headers.len()) + headers_bytes)
}

/// Of a zigzag varint.
fn varint_bytes(value: usize) -> usize {
    let bits = usize::BITS - (value << 1).leading_zeros();
    (bits.max(1) as usize).div_ceil(7)
}

impl ReadyBatch {
    fn none() -> Self {
        Self { header: [0; BATCH_HEADER_BYTES], payload: Bytes::new(), records: 0, value_bytes: 0 }
    }
}

impl Variant {
    fn encode(
        records: &[Record],
        codec: Codec,
        value_bytes: u64,
    ) -> Result<Self, Box<dyn std::error::Error>> {
        let compression = match codec {
            Codec::None => Compression::None,
            Codec::Gzip => Compression::Gzip,
            Codec::Snappy => Compression::Snappy,
            Codec::Lz4 => Compression::Lz4,
            Codec::Zstd => Compression::Zstd,
        };
        let mut encoded = BytesMut::new();
        RecordBatchEncoder::encode(&mut encoded, records, &RecordEncodeOptions { version: 2, compression })?;
        let payload = encoded.split_off(BATCH_HEADER_BYTES).freeze();
        let header = encoded.as_ref().try_into()?;
        Ok(Self { header, payload, records: records.len() as u32, value_bytes })
    }

    /// Of a payload that is compressed already.
    fn sealed(payload: Bytes, records: u32, codec: Codec, value_bytes: u64) -> Self {
        let header = BatchHeader {
            base_offset: 0,
            batch_bytes: BATCH_HEADER_BYTES + payload.len(),
            leader_epoch: NO_PARTITION_LEADER_EPOCH,
            magic: 2,
            crc: 0,
            attributes: i16::from(codec.id()),
            last_offset_delta: records as i32 - 1,
            base_timestamp_ms: 0,
            max_timestamp_ms: 0,
            producer_id: NO_PRODUCER_ID,
            producer_epoch: NO_PRODUCER_EPOCH,
            base_sequence: NO_SEQUENCE,
            record_count: records as i32,
        };
        let mut raw = header.to_raw();
        seal(&mut raw, &payload);
        Self { header: raw, payload, records, value_bytes }
    }

    /// With all its records of that time. The checksum follows from the difference; the payload stays unread.
    fn dated(&self, timestamp_ms: i64) -> ReadyBatch {
        let mut header = self.header;
        let timestamp = timestamp_ms.to_be_bytes();
        header[BASE_TIMESTAMP..MAX_TIMESTAMP].copy_from_slice(&timestamp);
        header[MAX_TIMESTAMP..MAX_TIMESTAMP + 8].copy_from_slice(&timestamp);
        let difference: [u8; 40] =
            std::array::from_fn(|i| header[ATTRIBUTES + i] ^ self.header[ATTRIBUTES + i]);
        for (byte, change) in header[CRC..ATTRIBUTES]
            .iter_mut()
            .zip(crc::change(&difference, self.payload.len() as u32).to_be_bytes())
        {
            *byte ^= change;
        }
        let Self { records, value_bytes, .. } = *self;
        ReadyBatch { header, payload: self.payload.clone(), records, value_bytes }
    }

    /// What the header of a mirrored batch must still say: codec bits, last offset delta, record count. Whether it is part of a
    /// transaction is up to who sends it.
    pub fn agrees_with(&self, header: &[u8; BATCH_HEADER_BYTES]) -> bool {
        let attributes = |header: &[u8; BATCH_HEADER_BYTES]| {
            i16::from_be_bytes([header[ATTRIBUTES], header[ATTRIBUTES + 1]]) & !TRANSACTIONAL
        };
        header[8..12] == self.header[8..12]
            && header[16] == 2
            && attributes(header) == attributes(&self.header)
            && header[LAST_OFFSET_DELTA..BASE_TIMESTAMP] == self.header[LAST_OFFSET_DELTA..BASE_TIMESTAMP]
            && header[RECORD_COUNT..] == self.header[RECORD_COUNT..]
    }
}

#[cfg(test)]
mod tests {
    use super::super::keys::Turn;
    use super::*;
    use kafka_protocol::records::RecordBatchDecoder;
    use proptest::prelude::*;

    #[test]
    fn batches_decode_to_the_records_they_promise() {
        for codec in [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
            let batches = Batches::new(Shape::plain(10_000, 500, codec, 50), 4, 1_000_000).unwrap();
            let ReadyBatch { header, payload, records, value_bytes } = batches.batch(3, 41);
            assert_eq!((records, value_bytes), (19, 19 * 500));
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
            Batches::new(Shape::plain(100_000, 1000, codec, random_percent), 1, 0).unwrap().mean_bytes()
        };
        assert!(size(Codec::Zstd, 50) < 0.7 * size(Codec::None, 50));
        assert!(size(Codec::Zstd, 50) > 0.3 * size(Codec::None, 50));
        assert!(size(Codec::Zstd, 0) < 0.5 * size(Codec::Zstd, 50));
    }

    #[test]
    fn neighbours_differ_mostly() {
        let batches = Batches::new(Shape::plain(100, 50, Codec::None, 50), 1, 0).unwrap();
        let payload = |index| batches.batch(0, index).payload;
        let same = (0..1000).filter(|index| payload(*index) == payload(index + 1)).count();
        assert!(same < 150, "{same}");
    }

    #[test]
    fn an_impossible_shape_is_refused() {
        assert!(Batches::new(Shape::plain(100, 200, Codec::None, 50), 1, 0).is_err());
        let keyed = Shape { keys: Keys::Uniform(10), ..Shape::plain(1 << 20, 200, Codec::None, 50) };
        assert!(Batches::new(keyed, 10_000, 0).err().unwrap().contains("10000 partitions need 10000 MiB"));
    }

    /// Reads a batch with kafka-protocol's decoder.
    fn decoded(batch: &ReadyBatch) -> Vec<Record> {
        let whole = [&batch.header[..], &batch.payload[..]].concat();
        assert_eq!(crc32c::crc32c(&whole[ATTRIBUTES..]).to_be_bytes(), batch.header[CRC..ATTRIBUTES]);
        RecordBatchDecoder::decode(&mut Bytes::from(whole)).unwrap().records
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        #[test]
        fn any_shape_decodes_to_what_it_says(
            batch_bytes in 500usize..20_000,
            sizes in prop_oneof![
                (1usize..500).prop_map(Sizes::Fixed),
                (1usize..200, 200usize..900).prop_map(|(first, last)| Sizes::Uniform(first, last)),
                (20usize..400, 0.1..1.5f64).prop_map(|(mean, sigma)| Sizes::LogNormal { mean, sigma }),
            ],
            keys in prop_oneof![
                Just(Keys::None),
                Just(Keys::Unique),
                (1u32..500).prop_map(Keys::Uniform),
                (1u32..500, 0.0..2.0f64).prop_map(|(count, exponent)| Keys::Zipf { count, exponent }),
            ],
            headers in (0usize..4, 0usize..30).prop_map(|(count, bytes)| Headers { count, bytes }),
            codec in proptest::sample::select(Codec::ALL.to_vec()),
            partitions in 1u32..9,
            seed: u64,
            index in 0u64..100_000,
        ) {
            let shape = Shape {
                batch_bytes,
                batch_records_max: u32::MAX,
                sizes: sizes.clone(),
                values: Values::Json { random_percent: 40 },
                keys: keys.clone(),
                headers,
                codec,
                seed,
            };
            let batches = Batches::new(shape, partitions, 1_000).unwrap();
            let partition = Turn::new(&keys, 1, partitions, seed).take();
            let batch = batches.batch(partition, index);
            let records = decoded(&batch);
            prop_assert_eq!(records.len(), batch.records as usize);
            let values: usize = records.iter().map(|record| record.value.as_ref().unwrap().len()).sum();
            prop_assert_eq!(values as u64, batch.value_bytes);
            for record in &records {
                prop_assert_eq!(record.timestamp, 1_000 + index as i64);
                prop_assert_eq!(record.headers.len(), headers.count);
                prop_assert!(record.headers.values().flatten().all(|value| value.len() == headers.bytes));
                match (&keys, &record.key) {
                    (Keys::None, key) => prop_assert_eq!(key, &None),
                    (Keys::Unique, key) => prop_assert_eq!(key.as_ref().unwrap().len(), 16),
                    (_, key) => {
                        prop_assert_eq!(keys::partition_of(key.as_ref().unwrap(), partitions), partition);
                    }
                }
                if let Sizes::Fixed(bytes) = sizes {
                    prop_assert_eq!(record.value.as_ref().unwrap().len(), bytes);
                }
            }
            if codec == Codec::None && records.len() > 1 {
                prop_assert!(batch.payload.len() <= batch_bytes);
            }
        }
    }

    #[test]
    fn batches_of_a_shape_decode_and_have_its_sizes() {
        use super::super::shape::{Seen, tests::captured};
        let codecs = Codec::ALL.iter().copied().cycle().take(40);
        let seen = (0u32..).zip(codecs).map(|(n, codec)| Seen {
            at_us: u64::from(n) * 100,
            lane: n % 4,
            bytes: 400 + n * 150,
            records: 1 + n % 7,
            codec,
        });
        let captured = captured(seen.collect());
        let shape = Shape::plain(1, 1, Codec::None, 0);
        let batches = Batches::of_shape(shape, &captured, 5, 1_000).unwrap();
        let mut next = [0; 10];
        let mut bytes = 0;
        // Two rounds: then they come again.
        for seen in captured.batches.iter().chain(&captured.batches) {
            let (topic, partition) = captured.places()[seen.lane as usize];
            let lane = topic * 5 + partition;
            let index = &mut next[lane as usize];
            let batch = batches.batch(lane, *index);
            *index += 1;
            bytes += batch.wire_bytes();
            let off = batch.wire_bytes().abs_diff(seen.bytes as usize);
            assert!(off <= 8 + seen.bytes as usize / 400, "{off} {seen:?}");
            let records = decoded(&batch);
            assert_eq!((records.len(), batch.records), (seen.records as usize, seen.records));
            assert_eq!(batch.header[ATTRIBUTES + 1] & 7, seen.codec.id());
            let values: usize = records.iter().map(|record| record.value.as_ref().unwrap().len()).sum();
            assert_eq!(values as u64, batch.value_bytes);
        }
        let mean = bytes as f64 / 80.0;
        assert!((batches.mean_bytes() / mean - 1.0).abs() < 1e-9, "{} {mean}", batches.mean_bytes());
        assert_eq!(batches.records(9, 0), 0, "nothing goes to a partition that the shape does not have");
        let again = batches.dated_from(5_000);
        assert_eq!(decoded(&again.batch(0, 3))[0].timestamp, 5_003);
    }

    #[test]
    fn a_load_can_end_with_a_shorter_batch() {
        let batches = Batches::new(Shape::plain(10_000, 500, Codec::Zstd, 50), 4, 0).unwrap();
        batches.end_with(2, 7, 100).unwrap();
        assert_eq!(decoded(&batches.batch(2, 7)).len(), 19);
        batches.end_with(2, 7, 5).unwrap();
        assert_eq!((batches.records(2, 7), decoded(&batches.batch(2, 7)).len()), (5, 5));
        assert_eq!((batches.records(2, 6), batches.records(1, 7)), (19, 19));
    }

    #[test]
    fn few_records_make_a_batch_if_there_may_be_no_more() {
        let shape = Shape { batch_records_max: 3, ..Shape::plain(10_000, 500, Codec::None, 50) };
        assert_eq!(decoded(&Batches::new(shape, 1, 0).unwrap().batch(0, 0)).len(), 3);
    }

    #[test]
    fn headers_and_codecs_are_typed_and_mistakes_are_named() {
        assert_eq!("3".parse(), Ok(Headers { count: 3, bytes: 16 }));
        assert_eq!("2x100".parse(), Ok(Headers { count: 2, bytes: 100 }));
        assert!("x".parse::<Headers>().is_err() && "500".parse::<Headers>().is_err());
        assert_eq!("lz4".parse(), Ok(Codec::Lz4));
        assert!("lz5".parse::<Codec>().unwrap_err().contains("lz4"));
    }
}
