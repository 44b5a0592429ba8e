//! A stored record batch of magic 2, and the checks a broker makes before it stores one.

use crate::limits::BATCH_HEADER_BYTES;
use bytes::Bytes;
use kafka_protocol::error::ResponseError;

/// Bytes before the part of a batch that `batch_length` counts (base offset and the length itself).
pub const LOG_OVERHEAD_BYTES: usize = 12;
/// Where the part of a batch begins that its checksum covers.
const CRC_COVERED_FROM: usize = 21;

const LOG_APPEND_TIME_BIT: i16 = 1 << 3;
pub(super) const TRANSACTIONAL_BIT: i16 = 1 << 4;
pub(super) const CONTROL_BIT: i16 = 1 << 5;

/// One batch: its header, in which the broker writes offset and leader epoch, and its payload as it was received.
#[derive(Clone, Debug)]
pub struct Batch {
    header: [u8; BATCH_HEADER_BYTES],
    /// The records, compressed or not; a shared slice of the request they came in.
    pub payload: Bytes,
}

impl Batch {
    /// The two parts of a batch that is known to be whole. No check is made.
    pub fn from_parts(header: [u8; BATCH_HEADER_BYTES], payload: Bytes) -> Self {
        Self { header, payload }
    }

    /// Takes the only batch out of the `records` field of a Produce request.
    ///
    /// # Errors
    /// What `ProduceRequest.validateRecords` and `DefaultRecordBatch.ensureValid` refuse: INVALID_RECORD for none or several
    /// batches or an old magic, CORRUPT_MESSAGE for a wrong length.
    pub fn from_records(records: &Bytes) -> Result<Self, ResponseError> {
        let Some(header) = records.first_chunk::<BATCH_HEADER_BYTES>() else {
            return Err(if records.is_empty() {
                ResponseError::InvalidRecord
            } else {
                ResponseError::CorruptMessage
            });
        };
        let batch = Self { header: *header, payload: records.slice(BATCH_HEADER_BYTES..) };
        if batch.magic() != 2 {
            return Err(ResponseError::InvalidRecord);
        }
        match usize::try_from(batch.length()) {
            Ok(length) if length + LOG_OVERHEAD_BYTES == records.len() => Ok(batch),
            Ok(length) if length + LOG_OVERHEAD_BYTES < records.len() && length >= 49 => {
                Err(ResponseError::InvalidRecord)
            }
            _ => Err(ResponseError::CorruptMessage),
        }
    }

    /// Whether the checksum is right (CRC-32C over everything from the attributes on).
    pub fn is_intact(&self) -> bool {
        self.computed_crc() == u32::from_be_bytes(self.field(17))
    }

    /// What `LogValidator.validateBatch` refuses in a batch from a client, short of looking into the records.
    pub fn validate(&self) -> Result<(), ResponseError> {
        let sequence_wrong = self.producer_id() >= 0 && self.base_sequence() < 0;
        if self.base_offset() != 0
            || self.record_count() <= 0
            || self.last_offset_delta() < 0
            || self.record_count() - 1 != self.last_offset_delta()
            || sequence_wrong
            || self.is_control()
        {
            return Err(ResponseError::InvalidRecord);
        }
        if self.attributes() & LOG_APPEND_TIME_BIT != 0 {
            return Err(ResponseError::InvalidTimestamp);
        }
        // Kafka's own clients cannot make one.
        if self.is_transactional() && self.producer_id() < 0 {
            return Err(ResponseError::InvalidTxnState);
        }
        Ok(())
    }

    /// Writes what only the broker knows. Both fields lie outside the checksum.
    pub fn place(&mut self, base_offset: i64, leader_epoch: i32) {
        self.header[0..8].copy_from_slice(&base_offset.to_be_bytes());
        self.header[12..16].copy_from_slice(&leader_epoch.to_be_bytes());
    }

    /// Replaces the producer's time by the broker's, as a topic with `message.timestamp.type=LogAppendTime` asks.
    pub fn stamp_append_time(&mut self, wall_ms: i64) {
        let attributes = self.attributes() | LOG_APPEND_TIME_BIT;
        self.header[21..23].copy_from_slice(&attributes.to_be_bytes());
        self.header[35..43].copy_from_slice(&wall_ms.to_be_bytes());
        self.seal();
    }

    /// Writes the checksum that fits.
    pub(super) fn seal(&mut self) {
        let crc = self.computed_crc();
        self.header[17..21].copy_from_slice(&crc.to_be_bytes());
    }

    pub fn header(&self) -> &[u8; BATCH_HEADER_BYTES] {
        &self.header
    }

    /// Header and payload together.
    pub fn size_bytes(&self) -> usize {
        BATCH_HEADER_BYTES + self.payload.len()
    }

    pub fn base_offset(&self) -> i64 {
        i64::from_be_bytes(self.field(0))
    }

    /// Offset of the last record.
    pub fn last_offset(&self) -> i64 {
        self.base_offset() + i64::from(self.last_offset_delta())
    }

    pub fn leader_epoch(&self) -> i32 {
        i32::from_be_bytes(self.field(12))
    }

    pub fn magic(&self) -> u8 {
        self.header[16]
    }

    pub fn attributes(&self) -> i16 {
        i16::from_be_bytes(self.field(21))
    }

    pub fn last_offset_delta(&self) -> i32 {
        i32::from_be_bytes(self.field(23))
    }

    /// Milliseconds since the Unix epoch, of the first record.
    pub fn base_timestamp(&self) -> i64 {
        i64::from_be_bytes(self.field(27))
    }

    /// Milliseconds since the Unix epoch; -1 when the records carry none.
    pub fn max_timestamp(&self) -> i64 {
        i64::from_be_bytes(self.field(35))
    }

    /// -1 when the batch was not produced idempotently.
    pub fn producer_id(&self) -> i64 {
        i64::from_be_bytes(self.field(43))
    }

    pub fn producer_epoch(&self) -> i16 {
        i16::from_be_bytes(self.field(51))
    }

    pub fn base_sequence(&self) -> i32 {
        i32::from_be_bytes(self.field(53))
    }

    /// The last record's sequence, modulo 2^31 (`DefaultRecordBatch.incrementSequence`).
    pub fn last_sequence(&self) -> i32 {
        self.base_sequence().wrapping_add(self.last_offset_delta()) & i32::MAX
    }

    pub fn record_count(&self) -> i32 {
        i32::from_be_bytes(self.field(57))
    }

    pub fn is_control(&self) -> bool {
        self.attributes() & CONTROL_BIT != 0
    }

    pub fn is_transactional(&self) -> bool {
        self.attributes() & TRANSACTIONAL_BIT != 0
    }

    /// 0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd.
    pub fn codec(&self) -> u8 {
        (self.attributes() & 7) as u8
    }

    fn length(&self) -> i32 {
        i32::from_be_bytes(self.field(8))
    }

    fn computed_crc(&self) -> u32 {
        crc32c::crc32c_append(crc32c::crc32c(&self.header[CRC_COVERED_FROM..]), &self.payload)
    }

    fn field<const N: usize>(&self, at: usize) -> [u8; N] {
        let mut field = [0; N];
        field.copy_from_slice(&self.header[at..at + N]);
        field
    }
}
