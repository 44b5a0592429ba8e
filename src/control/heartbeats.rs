//! Batches of a small topic, such as MirrorMaker 2's heartbeats, on their way from one cluster to another beside the lanes.

use crate::limits::BATCH_HEADER_BYTES;
use crate::wire::batch::{BadBatch, BatchHeader};
use crate::wire::codec::BadRecords;
use crate::wire::rebuild::{Holes, Rebuilt, rebuild};

/// Why batches of a topic cannot be passed on.
#[derive(Debug, thiserror::Error)]
pub enum Unpassable {
    #[error(transparent)]
    Batch(#[from] BadBatch),
    #[error("a batch has the old format {0}, which this topic never had")]
    Old(i8),
    #[error(transparent)]
    Records(#[from] BadRecords),
}

/// The records of a Fetch answer at `from` and after, as batches that another cluster takes, and the offset behind them. A batch
/// that is cut short at the end is left for the next answer; control batches are left out.
pub fn passed_on(mut answer: &[u8], from: i64) -> Result<(Vec<Rebuilt>, i64), Unpassable> {
    let (mut batches, mut end) = (Vec::new(), from);
    while let Some((raw, _)) = answer.split_first_chunk::<BATCH_HEADER_BYTES>() {
        let header = BatchHeader::parse(raw)?;
        if header.magic != 2 {
            return Err(Unpassable::Old(header.magic));
        }
        let Some((batch, rest)) = answer.split_at_checked(header.batch_bytes) else { break };
        if !header.is_control() {
            batches.extend(rebuild(&header, &batch[BATCH_HEADER_BYTES..], from, Holes::Close)?);
        }
        end = end.max(header.next_offset());
        answer = rest;
    }
    Ok((batches, end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::ledger::encode_batch;
    use bytes::Bytes;

    #[test]
    fn a_fetch_answer_becomes_batches_without_a_producer() {
        let batch = |base_offset: i64| {
            let records = [
                (Bytes::from_static(b"a"), Some(Bytes::from_static(b"1"))),
                (Bytes::from_static(b"b"), None),
            ];
            let mut batch = encode_batch(7, 3, 5, 1_700_000_000_000, &records).to_vec();
            batch[..8].copy_from_slice(&base_offset.to_be_bytes());
            batch
        };
        let mut answer = batch(10);
        answer.extend(batch(12));
        let whole = answer.len();
        answer.extend(&batch(14)[..40]);
        let (batches, end) = passed_on(&answer, 11).unwrap();
        assert_eq!(end, 14);
        assert_eq!(batches.iter().map(|batch| batch.header.record_count).collect::<Vec<_>>(), [1, 2]);
        assert!(batches.iter().all(|batch| batch.header.producer_id == -1 && batch.header.base_offset == 0));
        assert_eq!(passed_on(&answer[..60], 11).unwrap().1, 11, "half a header is nothing yet");
        for at in 0..whole {
            let mut damaged = answer[..whole].to_vec();
            damaged[at] ^= 0x55;
            let _ = passed_on(&damaged, 0);
        }
        answer[16] = 1;
        assert!(matches!(passed_on(&answer, 0), Err(Unpassable::Old(1))));
    }
}
