//! What is written to the source, and thus what the target must come to hold.

use crate::limits::BATCH_HEADER_BYTES;
use crate::sim::random::Random;
use bytes::{BufMut, Bytes, BytesMut};

pub(super) const TRANSACTIONAL: i16 = 0x10;
pub(super) const CONTROL: i16 = 0x20;

/// What a correct mirror does with a source batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Pass,
    Skip,
    /// The lane must stop here.
    Halt,
}

/// A batch as the source holds it.
#[derive(Clone, Debug)]
pub(super) struct SourceBatch {
    pub(super) base_offset: i64,
    pub(super) next_offset: i64,
    pub(super) records: i32,
    /// Only the bits that a mirror must keep: codec and timestamp type.
    pub(super) codec: i16,
    pub(super) base_timestamp_ms: i64,
    pub(super) max_timestamp_ms: i64,
    pub(super) payload: Bytes,
    pub(super) fate: Fate,
}

/// A batch to be appended to the source.
pub(super) struct NewBatch {
    pub(super) attributes: i16,
    pub(super) records: i32,
    pub(super) last_offset_delta: i32,
    pub(super) base_timestamp_ms: i64,
    pub(super) max_timestamp_ms: i64,
    pub(super) producer_id: i64,
    pub(super) producer_epoch: i16,
    pub(super) base_sequence: i32,
    pub(super) payload: Bytes,
}

impl NewBatch {
    /// A plain batch of `records` records. No mirror may look into the payload, so it need not hold records; it is unlike any
    /// other payload of the run, so that a batch in the wrong place is noticed.
    pub(super) fn plain(label: &str, records: i32, timestamp_ms: i64, random: &mut Random) -> Self {
        let mut payload = BytesMut::from(label.as_bytes());
        let filler = if random.percent(5) { random.below(4000) } else { random.below(120) };
        payload.extend((0..filler).map(|_| random.next() as u8));
        Self {
            attributes: random.pick(&[0, 0, 1, 2, 3, 4]),
            records,
            last_offset_delta: records - 1,
            base_timestamp_ms: timestamp_ms - random.below(50) as i64,
            max_timestamp_ms: timestamp_ms,
            producer_id: -1,
            producer_epoch: -1,
            base_sequence: -1,
            payload: payload.freeze(),
        }
    }

    /// An end-of-transaction marker.
    pub(super) fn marker(producer_id: i64, commit: bool, timestamp_ms: i64) -> Self {
        let payload = Bytes::from_static(if commit { b"marker: commit" } else { b"marker: abort" });
        Self {
            attributes: TRANSACTIONAL | CONTROL,
            records: 1,
            last_offset_delta: 0,
            base_timestamp_ms: timestamp_ms,
            max_timestamp_ms: timestamp_ms,
            producer_id,
            producer_epoch: 0,
            base_sequence: -1,
            payload,
        }
    }

    /// The bytes a producer would send: base offset 0, no leader epoch, checksum right.
    pub(super) fn encode(&self) -> Bytes {
        let mut raw = BytesMut::with_capacity(BATCH_HEADER_BYTES + self.payload.len());
        raw.put_i64(0);
        raw.put_i32((BATCH_HEADER_BYTES - 12 + self.payload.len()) as i32);
        raw.put_i32(-1);
        raw.put_i8(2);
        raw.put_u32(0);
        raw.put_i16(self.attributes);
        raw.put_i32(self.last_offset_delta);
        raw.put_i64(self.base_timestamp_ms);
        raw.put_i64(self.max_timestamp_ms);
        raw.put_i64(self.producer_id);
        raw.put_i16(self.producer_epoch);
        raw.put_i32(self.base_sequence);
        raw.put_i32(self.records);
        raw.put_slice(&self.payload);
        let crc = crc32c::crc32c(&raw[21..]);
        raw[17..21].copy_from_slice(&crc.to_be_bytes());
        raw.freeze()
    }

    pub(super) fn stored_at(self, base_offset: i64, fate: Fate) -> SourceBatch {
        SourceBatch {
            base_offset,
            next_offset: base_offset + i64::from(self.last_offset_delta) + 1,
            records: self.records,
            codec: self.attributes & 0x07,
            base_timestamp_ms: self.base_timestamp_ms,
            max_timestamp_ms: self.max_timestamp_ms,
            payload: self.payload,
            fate,
        }
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

    #[test]
    fn encoded_batches_have_the_lengths_and_checksum_that_brokers_check() {
        let mut random = Random::new(1, "traffic");
        let batch = NewBatch::plain("t-0/0", 3, 1_800_000_000_000, &mut random);
        let raw = batch.encode();
        assert_eq!(raw.len() as i32, 12 + i32::from_be_bytes(raw[8..12].try_into().unwrap()));
        assert_eq!(crc32c::crc32c(&raw[21..]).to_be_bytes(), raw[17..21]);
        let stored = batch.stored_at(40, Fate::Pass);
        assert_eq!((stored.base_offset, stored.next_offset, stored.records), (40, 43, 3));
    }
}
