//! The fixed header of a record batch of magic 2 (Kafka's `DefaultRecordBatch`), and the new one that it gets on its way.

use super::crc;
use crate::limits::{BATCH_BYTES_MAX, BATCH_HEADER_BYTES};

/// Bytes of a batch that its length field does not count: base offset and the length itself.
const LOG_OVERHEAD_BYTES: usize = 12;
/// Where the CRC is, and where the bytes that it covers begin.
const CRC_AT: usize = 17;
const ATTRIBUTES_AT: usize = 21;

const CODEC_MASK: i16 = 0x07;
const LOG_APPEND_TIME: i16 = 0x08;
pub const TRANSACTIONAL: i16 = 0x10;
const CONTROL: i16 = 0x20;

/// A batch header, decoded. For a magic other than 2 only `base_offset`, `batch_bytes` and `magic` mean anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    pub base_offset: i64,
    /// The whole batch, header included.
    pub batch_bytes: usize,
    pub leader_epoch: i32,
    pub magic: i8,
    pub crc: u32,
    pub attributes: i16,
    pub last_offset_delta: i32,
    pub base_timestamp_ms: i64,
    pub max_timestamp_ms: i64,
    pub producer_id: i64,
    pub producer_epoch: i16,
    pub base_sequence: i32,
    pub record_count: i32,
}

/// A header that no broker writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadBatch {
    #[error("a batch announces {0} bytes, which is too few or too many; check the source's log for damage")]
    Length(i32),
    #[error(
        "a batch has magic {0}; upgrade Twinlog if the source's Kafka is newer, else check its log for damage"
    )]
    Magic(i8),
    #[error("a batch has base offset {0}; check the source's log for damage")]
    BaseOffset(i64),
    #[error(
        "a batch announces {record_count} records up to offset delta {last_offset_delta}; check the source's log for damage"
    )]
    Counts { record_count: i32, last_offset_delta: i32 },
}

impl BatchHeader {
    /// Decodes and checks a header. A magic other than 2 is no error: see [`BatchHeader::magic`].
    pub fn parse(raw: &[u8; BATCH_HEADER_BYTES]) -> Result<Self, BadBatch> {
        let length = i32::from_be_bytes(field(raw, 8));
        let header = Self {
            base_offset: i64::from_be_bytes(field(raw, 0)),
            batch_bytes: usize::try_from(length).unwrap_or(0) + LOG_OVERHEAD_BYTES,
            leader_epoch: i32::from_be_bytes(field(raw, 12)),
            magic: raw[16] as i8,
            crc: u32::from_be_bytes(field(raw, CRC_AT)),
            attributes: i16::from_be_bytes(field(raw, ATTRIBUTES_AT)),
            last_offset_delta: i32::from_be_bytes(field(raw, 23)),
            base_timestamp_ms: i64::from_be_bytes(field(raw, 27)),
            max_timestamp_ms: i64::from_be_bytes(field(raw, 35)),
            producer_id: i64::from_be_bytes(field(raw, 43)),
            producer_epoch: i16::from_be_bytes(field(raw, 51)),
            base_sequence: i32::from_be_bytes(field(raw, 53)),
            record_count: i32::from_be_bytes(field(raw, 57)),
        };
        if header.magic == 2 { header.checked(length) } else { Ok(header) }
    }

    /// The header's bytes, with the CRC as it is in `self`; [`seal`] writes one that fits.
    pub fn to_raw(&self) -> [u8; BATCH_HEADER_BYTES] {
        let mut raw = [0; BATCH_HEADER_BYTES];
        let length = self.batch_bytes.saturating_sub(LOG_OVERHEAD_BYTES) as u32;
        put(&mut raw, 0, self.base_offset.to_be_bytes());
        put(&mut raw, 8, length.to_be_bytes());
        put(&mut raw, 12, self.leader_epoch.to_be_bytes());
        raw[16] = self.magic as u8;
        put(&mut raw, CRC_AT, self.crc.to_be_bytes());
        put(&mut raw, ATTRIBUTES_AT, self.attributes.to_be_bytes());
        put(&mut raw, 23, self.last_offset_delta.to_be_bytes());
        put(&mut raw, 27, self.base_timestamp_ms.to_be_bytes());
        put(&mut raw, 35, self.max_timestamp_ms.to_be_bytes());
        put(&mut raw, 43, self.producer_id.to_be_bytes());
        put(&mut raw, 51, self.producer_epoch.to_be_bytes());
        put(&mut raw, 53, self.base_sequence.to_be_bytes());
        put(&mut raw, 57, self.record_count.to_be_bytes());
        raw
    }

    fn checked(self, length: i32) -> Result<Self, BadBatch> {
        if !(BATCH_HEADER_BYTES..=BATCH_BYTES_MAX).contains(&self.batch_bytes) {
            return Err(BadBatch::Length(length));
        }
        if self.record_count < 0 || self.last_offset_delta < 0 {
            let Self { record_count, last_offset_delta, .. } = self;
            return Err(BadBatch::Counts { record_count, last_offset_delta });
        }
        // The offset after the last one must still be an offset.
        if self.base_offset < 0 || self.base_offset > i64::MAX - i64::from(i32::MAX) - 1 {
            return Err(BadBatch::BaseOffset(self.base_offset));
        }
        Ok(self)
    }

    /// Bytes of records after the header.
    pub fn payload_bytes(&self) -> usize {
        self.batch_bytes.saturating_sub(BATCH_HEADER_BYTES)
    }

    pub fn last_offset(&self) -> i64 {
        self.base_offset + i64::from(self.last_offset_delta)
    }

    /// The offset that the log continues with after this batch.
    pub fn next_offset(&self) -> i64 {
        self.last_offset() + 1
    }

    /// Transaction markers and the like: written by brokers, never produced.
    pub fn is_control(&self) -> bool {
        self.attributes & CONTROL != 0
    }

    pub fn is_transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL != 0
    }

    /// The records' timestamp is `max_timestamp_ms`, whatever they say themselves.
    pub fn is_log_append_time(&self) -> bool {
        self.attributes & LOG_APPEND_TIME != 0
    }

    /// 0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd (Kafka's `CompressionType`).
    pub fn codec(&self) -> u8 {
        (self.attributes & CODEC_MASK) as u8
    }

    /// No offset is missing inside the batch (compaction makes holes; a broker refuses to append such a batch).
    pub fn is_contiguous(&self) -> bool {
        i64::from(self.record_count) == i64::from(self.last_offset_delta) + 1
    }

    /// Sequence of the last record; sequences go on with 0 after 2^31 - 1 (Kafka's `DefaultRecordBatch.incrementSequence`).
    pub fn last_sequence(&self) -> i32 {
        self.base_sequence.wrapping_add(self.last_offset_delta) & i32::MAX
    }
}

/// Who writes a batch, and with which sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    pub producer_id: i64,
    pub producer_epoch: i16,
    /// Sequence of the batch's first record.
    pub base_sequence: i32,
    /// Whether the batch is part of a transaction of that producer.
    pub is_transactional: bool,
}

/// Makes the header of a batch of magic 2 as a broker accepts it from a producer: base offset 0, no leader epoch, the
/// stamp's producer, transactional only if the stamp says so, and not stamped by a broker's clock. The CRC is brought up to date
/// without reading the payload, so that damage to the payload, before or after, is still found by whoever checks it.
///
/// The header must have passed [`BatchHeader::parse`]; control batches are never passed on.
pub fn restamp(raw: &mut [u8; BATCH_HEADER_BYTES], stamp: Stamp) {
    let before: [u8; 40] = field(raw, ATTRIBUTES_AT);
    let batch_bytes = u32::from_be_bytes(field(raw, 8)).wrapping_add(LOG_OVERHEAD_BYTES as u32);
    let kept = i16::from_be_bytes(field(raw, ATTRIBUTES_AT)) & !(LOG_APPEND_TIME | TRANSACTIONAL);
    let attributes = if stamp.is_transactional { kept | TRANSACTIONAL } else { kept };
    put(raw, 0, 0i64.to_be_bytes());
    put(raw, 12, (-1i32).to_be_bytes());
    put(raw, ATTRIBUTES_AT, attributes.to_be_bytes());
    put(raw, 43, stamp.producer_id.to_be_bytes());
    put(raw, 51, stamp.producer_epoch.to_be_bytes());
    put(raw, 53, stamp.base_sequence.to_be_bytes());

    let mut difference: [u8; 40] = field(raw, ATTRIBUTES_AT);
    difference.iter_mut().zip(before).for_each(|(new, old)| *new ^= old);
    let payload_bytes = batch_bytes.wrapping_sub(BATCH_HEADER_BYTES as u32);
    let crc = u32::from_be_bytes(field(raw, CRC_AT)) ^ crc::change(&difference, payload_bytes);
    put(raw, CRC_AT, crc.to_be_bytes());
}

/// Whether the CRC in a header of magic 2 fits the header and the payload.
pub fn is_intact(raw: &[u8; BATCH_HEADER_BYTES], payload: &[u8]) -> bool {
    crc::of_batch(&field(raw, ATTRIBUTES_AT), payload) == u32::from_be_bytes(field(raw, CRC_AT))
}

/// Whether two batches have the same payload, as far as their CRCs tell, which are taken for right. The CRC of a batch covers
/// header and payload; what the headers' difference makes of it is known without the payload.
pub fn has_same_payload(one: &[u8; BATCH_HEADER_BYTES], other: &[u8; BATCH_HEADER_BYTES]) -> bool {
    let length = |raw| u32::from_be_bytes(field(raw, 8));
    if length(one) != length(other) {
        return false;
    }
    let (one_header, other_header): ([u8; 40], [u8; 40]) =
        (field(one, ATTRIBUTES_AT), field(other, ATTRIBUTES_AT));
    let mut difference = one_header;
    difference.iter_mut().zip(other_header).for_each(|(one, other)| *one ^= other);
    let payload_bytes =
        length(one).wrapping_add(LOG_OVERHEAD_BYTES as u32).wrapping_sub(BATCH_HEADER_BYTES as u32);
    let crc = |raw| u32::from_be_bytes(field(raw, CRC_AT));
    crc(one) ^ crc(other) == crc::change(&difference, payload_bytes)
}

/// Writes the CRC that fits the header and the payload: for batches made here, not for those passed on.
pub fn seal(raw: &mut [u8; BATCH_HEADER_BYTES], payload: &[u8]) {
    let crc = crc::of_batch(&field(raw, ATTRIBUTES_AT), payload);
    put(raw, CRC_AT, crc.to_be_bytes());
}

fn field<const N: usize>(raw: &[u8; BATCH_HEADER_BYTES], at: usize) -> [u8; N] {
    let mut value = [0; N];
    value.copy_from_slice(&raw[at..at + N]);
    value
}

fn put<const N: usize>(raw: &mut [u8; BATCH_HEADER_BYTES], at: usize, value: [u8; N]) {
    raw[at..at + N].copy_from_slice(&value);
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A header as brokers write them, for a payload of that many bytes.
    pub(in crate::wire) fn header(payload_bytes: usize) -> impl Strategy<Value = BatchHeader> {
        let offsets = (0..i64::MAX / 2, any::<i32>(), 0..i32::MAX);
        let contents = (any::<i16>(), any::<i64>(), any::<i64>(), 0..i32::MAX);
        let producer = (any::<i64>(), any::<i16>(), any::<i32>());
        (offsets, contents, producer, any::<u32>()).prop_map(move |(offsets, contents, producer, crc)| {
            BatchHeader {
                base_offset: offsets.0,
                batch_bytes: BATCH_HEADER_BYTES + payload_bytes,
                leader_epoch: offsets.1,
                magic: 2,
                crc,
                attributes: contents.0,
                last_offset_delta: offsets.2,
                base_timestamp_ms: contents.1,
                max_timestamp_ms: contents.2,
                producer_id: producer.0,
                producer_epoch: producer.1,
                base_sequence: producer.2,
                record_count: contents.3,
            }
        })
    }

    proptest! {
        #[test]
        fn a_header_comes_back_as_written(header in header(1000)) {
            prop_assert_eq!(BatchHeader::parse(&header.to_raw()), Ok(header));
        }

        #[test]
        fn any_bytes_are_a_header_or_refused(raw in proptest::array::uniform32(any::<[u8; 2]>())) {
            let bytes = raw.concat();
            let mut raw: [u8; BATCH_HEADER_BYTES] = bytes[..BATCH_HEADER_BYTES].try_into().unwrap();
            raw[16] = 2;
            if let Ok(header) = BatchHeader::parse(&raw) {
                prop_assert!(header.batch_bytes <= BATCH_BYTES_MAX);
                prop_assert!(header.next_offset() > header.base_offset);
                prop_assert!(header.last_sequence() >= 0);
            }
        }

        #[test]
        fn a_restamped_header_fits_the_payload_it_was_not_shown(
            mut header in header(0),
            payload in proptest::collection::vec(any::<u8>(), 0..5000),
            producer_id: i64,
            producer_epoch: i16,
            base_sequence: i32,
            is_transactional: bool,
        ) {
            header.batch_bytes += payload.len();
            let mut raw = header.to_raw();
            seal(&mut raw, &payload);
            let before = raw;
            restamp(&mut raw, Stamp { producer_id, producer_epoch, base_sequence, is_transactional });

            prop_assert!(is_intact(&raw, &payload));
            prop_assert!(has_same_payload(&before, &raw));
            let new = BatchHeader::parse(&raw).unwrap();
            prop_assert_eq!(new, BatchHeader {
                base_offset: 0,
                leader_epoch: -1,
                attributes: (header.attributes & !0x18) | if is_transactional { 0x10 } else { 0 },
                producer_id,
                producer_epoch,
                base_sequence,
                crc: new.crc,
                ..header
            });
        }

        #[test]
        fn damage_to_the_payload_outlives_the_new_header(
            header in header(300),
            mut payload in proptest::collection::vec(any::<u8>(), 300),
            damaged in 0usize..300,
            bit in 0u8..8,
        ) {
            let mut raw = header.to_raw();
            seal(&mut raw, &payload);
            payload[damaged] ^= 1 << bit;
            let mut other = raw;
            seal(&mut other, &payload);
            prop_assert!(!has_same_payload(&raw, &other));
            let stamp =
                Stamp { producer_id: 7, producer_epoch: 0, base_sequence: 0, is_transactional: false };
            restamp(&mut raw, stamp);
            prop_assert!(!is_intact(&raw, &payload));
        }
    }

    fn plain() -> BatchHeader {
        BatchHeader {
            base_offset: 100,
            batch_bytes: 71,
            leader_epoch: 0,
            magic: 2,
            crc: 0,
            attributes: 0,
            last_offset_delta: 9,
            base_timestamp_ms: 0,
            max_timestamp_ms: 0,
            producer_id: -1,
            producer_epoch: -1,
            base_sequence: -1,
            record_count: 10,
        }
    }

    #[test]
    fn lengths_offsets_and_attributes_are_what_kafka_means_by_them() {
        let header = plain();
        assert_eq!((header.payload_bytes(), header.last_offset(), header.next_offset()), (10, 109, 110));
        assert!(header.is_contiguous() && !BatchHeader { record_count: 9, ..header }.is_contiguous());
        assert!(!BatchHeader { last_offset_delta: i32::MAX, record_count: 0, ..header }.is_contiguous());
        let with = |attributes| BatchHeader { attributes, ..header };
        assert_eq!(with(0x3c).codec(), 4);
        assert!(with(0x08).is_log_append_time() && !with(!0x08).is_log_append_time());
        assert!(with(0x10).is_transactional() && !with(!0x10).is_transactional());
        assert!(with(0x20).is_control() && !with(!0x20).is_control());
    }

    #[test]
    fn sequences_go_on_with_0_after_the_largest() {
        let last = |base_sequence| BatchHeader { base_sequence, ..plain() }.last_sequence();
        assert_eq!(last(5), 14);
        assert_eq!(last(i32::MAX - 9), i32::MAX);
        assert_eq!(last(i32::MAX - 8), 0);
        assert_eq!(last(i32::MAX), 8);
    }

    #[test]
    fn impossible_headers_are_refused() {
        let refused = |header: BatchHeader| BatchHeader::parse(&header.to_raw()).is_err();
        assert!(!refused(plain()));
        assert!(refused(BatchHeader { batch_bytes: 60, ..plain() }));
        assert!(refused(BatchHeader { batch_bytes: BATCH_BYTES_MAX + 1, ..plain() }));
        assert!(refused(BatchHeader { batch_bytes: (1 << 31) + 71, ..plain() }));
        assert!(refused(BatchHeader { base_offset: -1, ..plain() }));
        assert!(refused(BatchHeader { base_offset: i64::MAX - 10, ..plain() }));
        assert!(refused(BatchHeader { record_count: -1, ..plain() }));
        assert!(refused(BatchHeader { last_offset_delta: -1, ..plain() }));
        assert!(!refused(BatchHeader { magic: 1, record_count: -1, ..plain() }));
    }
}
