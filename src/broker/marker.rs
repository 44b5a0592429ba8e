//! Control batches that end a transaction in one partition, byte for byte as Kafka's brokers write them
//! (`MemoryRecords.withEndTransactionMarker`, `EndTransactionMarker`, `ControlRecordType`).

use super::batch::{Batch, CONTROL_BIT, TRANSACTIONAL_BIT};
use crate::limits::BATCH_HEADER_BYTES;
use bytes::{BufMut, Bytes};

/// The only record of such a batch: length 16, attributes 0, both deltas 0, a key of 4 bytes, a value of 6, no headers.
/// Lengths are zigzag varints.
const RECORD_BYTES: usize = 17;
/// `ControlRecordType.ABORT` and `COMMIT`, as the record's key says them.
const ABORT: i16 = 0;
const COMMIT: i16 = 1;

/// How a producer's transaction ended, and who says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marker {
    pub producer_id: i64,
    pub producer_epoch: i16,
    pub commits: bool,
    /// Leader epoch of the coordinator's partition of `__transaction_state`, by which newer coordinators fence older ones.
    pub coordinator_epoch: i32,
}

impl Marker {
    /// The batch that says so, for any offset.
    pub fn to_batch(self, wall_ms: i64) -> Batch {
        let mut record = Vec::with_capacity(RECORD_BYTES);
        record.put_slice(&[32, 0, 0, 0, 8]);
        record.put_i16(0);
        record.put_i16(if self.commits { COMMIT } else { ABORT });
        record.put_u8(12);
        record.put_i16(0);
        record.put_i32(self.coordinator_epoch);
        record.put_u8(0);
        let mut header = Vec::with_capacity(BATCH_HEADER_BYTES);
        header.put_i64(0);
        header.put_u32((BATCH_HEADER_BYTES - super::batch::LOG_OVERHEAD_BYTES + RECORD_BYTES) as u32);
        header.put_i32(-1);
        header.put_u8(2);
        header.put_u32(0);
        header.put_i16(TRANSACTIONAL_BIT | CONTROL_BIT);
        header.put_i32(0);
        header.put_i64(wall_ms);
        header.put_i64(wall_ms);
        header.put_i64(self.producer_id);
        header.put_i16(self.producer_epoch);
        header.put_i32(-1);
        header.put_i32(1);
        let mut raw = [0; BATCH_HEADER_BYTES];
        raw.copy_from_slice(&header);
        let mut batch = Batch::from_parts(raw, Bytes::from(record));
        batch.seal();
        batch
    }

    /// What a control batch says. None for one that ends no transaction: Kafka has other kinds, and compaction leaves empty
    /// ones.
    pub fn of_batch(batch: &Batch) -> Option<Self> {
        let record: &[u8; RECORD_BYTES] = batch.payload.first_chunk()?;
        let commits = match i16::from_be_bytes([record[7], record[8]]) {
            ABORT => false,
            COMMIT => true,
            _ => return None,
        };
        let is_marker = batch.is_control() && record[4] == 8 && record[9] == 12;
        is_marker.then_some(Self {
            producer_id: batch.producer_id(),
            producer_epoch: batch.producer_epoch(),
            commits,
            coordinator_epoch: i32::from_be_bytes([record[12], record[13], record[14], record[15]]),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::BytesMut;
    use kafka_protocol::records::RecordBatchDecoder;

    #[test]
    fn a_marker_is_what_kafka_reads_and_comes_back() {
        for commits in [false, true] {
            let marker = Marker { producer_id: 7, producer_epoch: 3, commits, coordinator_epoch: 9 };
            let batch = marker.to_batch(1_700_000_000_000);
            assert!(batch.is_intact() && batch.is_control() && batch.is_transactional());
            assert_eq!(batch.size_bytes(), 78, "as `kafka-dump-log` shows them");
            assert_eq!(Marker::of_batch(&batch), Some(marker));
            let mut whole = BytesMut::from(&batch.header()[..]);
            whole.extend_from_slice(&batch.payload);
            let records = RecordBatchDecoder::decode(&mut whole.freeze()).unwrap().records;
            assert_eq!(records[0].key.as_deref(), Some(&[0, 0, 0, u8::from(commits)][..]));
            assert_eq!(records[0].value.as_deref(), Some(&[0, 0, 0, 0, 0, 9][..]));
            assert!(records[0].control && records[0].transactional);
        }
    }

    #[test]
    fn what_is_no_marker_is_not_taken_for_one() {
        let batch =
            Marker { producer_id: 7, producer_epoch: 3, commits: true, coordinator_epoch: 9 }.to_batch(5);
        for length in 0..RECORD_BYTES {
            let cut = Batch::from_parts(*batch.header(), batch.payload.slice(..length));
            assert_eq!(Marker::of_batch(&cut), None);
        }
    }
}
