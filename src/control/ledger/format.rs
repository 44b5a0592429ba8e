//! The state topic's records: JSON keys and values, written as plain record batches (magic 2).
//!
//! | key | value |
//! |---|---|
//! | `{"t":"owner","pid":P}` | [`Owner`]: an instance that owns, owned or was locked out with the lock's producer id P |
//! | `{"t":"pid"}` | [`DataPid`]: the producer ids of everything the link writes into mirrored topics |
//! | `{"t":"lane","topic":T,"partition":N}` | [`LaneValue`]: a lane's runs and its checkpoint, whole |
//! | `{"t":"runs","topic":T,"partition":N,"id":I,"chunk":K}` | [`Runs`]: older runs of a lane into the topic with this id |
//! | `{"t":"failover","topic":T,"partition":N}` | [`Failover`]: clients write to the target since then, the link does not |
//! | `{"t":"topic","topic":T}` | the first part of a divided link has seen the topic on both sides: it is the link's to grow |
//! | `{"t":"upstream","topic":T}` | ids of the clusters that the topic's records come from, if there are more than the source |
//! | `{"t":"loss","topic":T,"partition":N,"from":O}` | [`Loss`]: source records that are not on the target, and why |
//!
//! Each value is whole, so that the topic may be compacted and reading it to its end gives the state.

use crate::config::TopicNames;
use crate::shard::{LossCause, OffsetMode};
use crate::wire::cursor::{Cursor, Read, Unread};
use bytes::{Bytes, BytesMut};
use kafka_protocol::records::{
    Compression, NO_PARTITION_LEADER_EPOCH, Record, RecordBatchEncoder, RecordEncodeOptions, TimestampType,
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A key of the state topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "t", rename_all = "lowercase")]
pub enum Key {
    Owner { pid: i64 },
    Pid,
    Lane { topic: String, partition: i32 },
    Runs { topic: String, partition: i32, id: String, chunk: u32 },
    Loss { topic: String, partition: i32, from: i64 },
    Failover { topic: String, partition: i32 },
    Topic { topic: String },
    Upstream { topic: String },
}

/// An instance that holds or held the link's lock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    pub epoch: i16,
    /// Chosen anew by every instance, to tell its records from others'.
    pub instance: String,
    /// After its last acknowledged record it may go on sending for this long...
    pub lease_ms: u64,
    /// ...and what it sent may be under way for this long.
    pub zombie_bound_ms: u64,
    /// Ended cleanly: everything it sent was answered, and what its predecessors sent may be under way for this long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub released_ms: Option<u64>,
    /// Written by a successor with another lock producer id, to lock this one out.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub fenced: bool,
}

/// The producer ids of everything the link writes, bound to the pair of clusters it was allocated for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataPid {
    pub producer_id: i64,
    pub producer_epoch: i16,
    /// In whose name control records are written where the source has gaps.
    pub marker_producer_id: i64,
    /// Shards that any instance had: each has a transactional id, whose transactions the next owner aborts.
    #[serde(default)]
    pub transactional_ids: u32,
    /// The producer ids that those had.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub transactional_pids: Vec<i64>,
    pub source_cluster: String,
    pub target_cluster: String,
    /// What the target calls the link's topics.
    #[serde(default, skip_serializing_if = "TopicNames::is_identity")]
    pub names: TopicNames,
    /// In how many parts the link is divided of which this is one; None: it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parts: Option<u32>,
}

impl DataPid {
    /// Another part of the same link writes with those: for looks at the whole.
    pub(super) fn join(&mut self, other: Self) {
        self.transactional_pids.push(other.producer_id);
        self.transactional_pids.extend(other.transactional_pids);
    }

    /// Whether records with this producer id are the link's.
    pub fn writes(&self, producer_id: i64) -> bool {
        self.producer_id == producer_id || self.transactional_pids.contains(&producer_id)
    }
}

/// In how many parts the link is divided, if this is the record that says so.
pub fn parts_told(record: &StateRecord) -> Option<u32> {
    let is_it = serde_json::from_slice(&record.key).is_ok_and(|key: Key| key == Key::Pid);
    let pid: DataPid = serde_json::from_slice(record.value.as_ref().filter(|_| is_it)?).ok()?;
    pid.parts
}

/// A run as it is written: (number, source offset, target offset, source leader epoch).
pub type RunValue = (i64, i64, i64, i32);

/// Runs that no resume needs any more, oldest first: the exact map between the offsets of both sides.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Runs {
    pub runs: Vec<RunValue>,
}

/// All that is durable of a lane, but for the runs that are in records of their own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaneValue {
    #[serde(with = "uuid_text")]
    pub source_topic_id: Uuid,
    #[serde(with = "uuid_text")]
    pub target_topic_id: Uuid,
    #[serde(default)]
    pub mode: OffsetMode,
    /// Oldest first.
    pub runs: Vec<RunValue>,
    /// (number, source offset)
    pub checkpoint: Option<(i64, i64)>,
    /// Leader epoch of the last source batch below the checkpoint, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_epoch: Option<i32>,
}

mod uuid_text {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};
    use uuid::Uuid;

    pub fn serialize<S: Serializer>(id: &Uuid, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(id)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Uuid, D::Error> {
        let text = String::deserialize(deserializer)?;
        Uuid::parse_str(&text).map_err(D::Error::custom)
    }
}

/// An entry of the gap ledger: source offsets from the key's `from` up to `to` (exclusive) were lost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loss {
    pub to: i64,
    pub cause: String,
    pub recorded_at_ms: i64,
}

/// Where a partition was handed over to the target's clients.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failover {
    /// Source records from this offset on were not mirrored.
    pub source_offset: i64,
    /// Target records from this offset on are not the link's.
    pub target_offset: i64,
    /// The source was not waited for.
    pub is_forced: bool,
    pub at_ms: i64,
}

impl Loss {
    /// What happened, for people; as it stands there if a newer version wrote it.
    pub fn words(&self) -> &str {
        let known = [LossCause::SourceRetention, LossCause::SourceTruncation];
        known
            .into_iter()
            .find(|cause| cause_name(*cause) == self.cause)
            .map_or(self.cause.as_str(), |cause| cause.words())
    }
}

/// What the ledger calls a cause.
pub fn cause_name(cause: LossCause) -> &'static str {
    match cause {
        LossCause::SourceRetention => "source-retention",
        LossCause::SourceTruncation => "source-truncation",
    }
}

/// A record of the state topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateRecord {
    pub offset: i64,
    pub key: Bytes,
    /// None deletes the key.
    pub value: Option<Bytes>,
}

/// One batch of state records, with offsets from 0 on as a producer sends them.
pub fn encode_batch(
    producer_id: i64,
    producer_epoch: i16,
    base_sequence: i32,
    timestamp_ms: i64,
    records: &[(Bytes, Option<Bytes>)],
) -> Bytes {
    let records: Vec<Record> = (0i32..)
        .zip(records)
        .map(|(at, (key, value))| Record {
            transactional: false,
            control: false,
            delete_horizon: false,
            partition_leader_epoch: NO_PARTITION_LEADER_EPOCH,
            producer_id,
            producer_epoch,
            timestamp_type: TimestampType::Creation,
            offset: at.into(),
            sequence: base_sequence.wrapping_add(at),
            timestamp: timestamp_ms,
            key: Some(key.clone()),
            value: value.clone(),
            headers: Default::default(),
        })
        .collect();
    let mut batch = BytesMut::new();
    let options = RecordEncodeOptions { version: 2, compression: Compression::None };
    RecordBatchEncoder::encode(&mut batch, &records, &options)
        .expect("records of bounded size are encodable");
    batch.freeze()
}

/// Record batches as a Fetch answer holds them; an incomplete one at the end is left out. Gives the records at `from` and
/// after, and the offset after the last whole batch (`from` when there is none).
pub fn decode_batches(from: i64, mut bytes: Bytes) -> Result<(Vec<StateRecord>, i64), String> {
    let mut records = Vec::new();
    let mut end = from;
    while let Some(batch_bytes) = whole_batch(&bytes) {
        let batch = bytes.split_to(batch_bytes);
        let next = decode_batch(&batch, from, &mut records).map_err(|unread| match unread {
            Unread::Bad(what) => what.to_owned(),
            Unread::Short(_) => "a record ends after its batch".to_owned(),
        })?;
        end = end.max(next);
    }
    Ok((records, end))
}

/// Length of the batch at the front if it is there whole.
fn whole_batch(bytes: &[u8]) -> Option<usize> {
    let mut cursor = Cursor::new(bytes);
    cursor.i64().ok()?;
    let length = usize::try_from(cursor.i32().ok()?).ok()?;
    let whole = length.checked_add(12)?;
    (whole <= bytes.len()).then_some(whole)
}

fn decode_batch(batch: &Bytes, from: i64, records: &mut Vec<StateRecord>) -> Read<i64> {
    let mut cursor = Cursor::new(batch);
    let base_offset = cursor.i64()?;
    let _length = cursor.i32()?;
    let _leader_epoch = cursor.i32()?;
    if cursor.u8()? != 2 {
        return Err(Unread::Bad("the state topic holds a message of an old format"));
    }
    let crc = cursor.i32()? as u32;
    if crc32c::crc32c(batch.get(21..).unwrap_or_default()) != crc {
        return Err(Unread::Bad("a batch of the state topic is damaged (wrong checksum)"));
    }
    let attributes = cursor.i16()?;
    let next_offset = base_offset.saturating_add(cursor.i32()?.into()).saturating_add(1);
    // Timestamps, producer id and epoch, base sequence.
    cursor.bytes(8 + 8 + 8 + 2 + 4)?;
    let count = cursor.i32()?;
    if attributes & 0x20 != 0 {
        return Ok(next_offset);
    }
    if attributes & 0x07 != 0 {
        return Err(Unread::Bad("the state topic is compressed; its compression.type must be producer"));
    }
    for _ in 0..count {
        let length = cursor.varint()?;
        let length = usize::try_from(length).map_err(|_| Unread::Bad("a record has a negative length"))?;
        let mut record = Cursor::new(cursor.bytes(length)?);
        record.u8()?;
        skip_varlong(&mut record)?;
        let offset = base_offset.saturating_add(record.varint()?.into());
        let key = record.record_bytes()?;
        let value = record.record_bytes()?;
        if let Some(key) = key
            && offset >= from
        {
            let value = value.map(|value| batch.slice_ref(value));
            records.push(StateRecord { offset, key: batch.slice_ref(key), value });
        }
    }
    Ok(next_offset)
}

fn skip_varlong(cursor: &mut Cursor<'_>) -> Read<()> {
    for _ in 0..10 {
        if cursor.u8()? & 0x80 == 0 {
            return Ok(());
        }
    }
    Err(Unread::Bad("a varint is longer than 10 bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(key: &'static str, value: Option<&'static str>) -> (Bytes, Option<Bytes>) {
        (Bytes::from(key), value.map(Bytes::from))
    }

    #[test]
    fn what_was_encoded_is_read_back() {
        let records = [pair("a", Some("1")), pair("b", None), pair("", Some(""))];
        let batch = encode_batch(7, 3, i32::MAX, 1_700_000_000_000, &records);
        let mut twice = batch.to_vec();
        twice.extend_from_slice(&batch);
        // The second batch lies at offset 3.
        twice[batch.len()..batch.len() + 8].copy_from_slice(&3i64.to_be_bytes());
        let (read, end) = decode_batches(1, twice.into()).unwrap();
        assert_eq!(end, 6);
        assert_eq!(read.iter().map(|record| record.offset).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
        assert_eq!(read[0].key, "b");
        assert_eq!(read[0].value, None);
        assert_eq!(read[2].value.as_deref(), Some(b"1".as_slice()));
    }

    #[test]
    fn an_incomplete_batch_is_left_for_the_next_answer() {
        let batch = encode_batch(7, 3, 0, 0, &[pair("a", Some("1"))]);
        for cut in 0..batch.len() {
            assert_eq!(decode_batches(5, batch.slice(..cut)), Ok((vec![], 5)));
        }
    }

    #[test]
    fn hostile_bytes_are_refused_without_a_panic() {
        let batch = encode_batch(7, 3, 0, 0, &[pair("some key", Some("some value"))]);
        for at in 12..batch.len() {
            for bit in 0..8 {
                let mut damaged = batch.to_vec();
                damaged[at] ^= 1 << bit;
                let before_the_checksum = (12..16).contains(&at);
                let read = decode_batches(0, damaged.clone().into());
                assert_eq!(read.is_ok(), before_the_checksum, "byte {at}");
                // The same with a right checksum must not panic either.
                let crc = crc32c::crc32c(&damaged[21..]);
                damaged[17..21].copy_from_slice(&crc.to_be_bytes());
                let _ = decode_batches(0, damaged.into());
            }
        }
    }
}
