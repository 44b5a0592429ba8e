//! Produce requests framed around payloads that are not here, and their answers.

use super::cursor::{Cursor, Read, Unread, length_bytes, put_length, put_string, string_bytes};
use super::frame::SIZE_BYTES;
use super::{BadFrame, TopicKey};
use crate::limits::BATCH_HEADER_BYTES;
use bytes::{BufMut, Bytes, BytesMut};
use smallvec::SmallVec;
use uuid::Uuid;

/// Versions of the Produce API that this module knows: from batches of magic 2 to topic ids.
pub const VERSIONS: std::ops::RangeInclusive<i16> = 3..=13;

const PRODUCE_KEY: i16 = 0;
/// A batch is acknowledged once all replicas in sync have it.
pub const ACKS_ALL: i16 = -1;
/// More tagged fields than this in one place are damage; the answer's largest are the brokers' addresses.
const TAGGED_BYTES_MAX: usize = 1 << 20;

/// Where a batch's records are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// In these buffers, one after the other.
    Ranges(SmallVec<[Bytes; 2]>),
    /// The next so many bytes of a source connection, which the driver splices.
    Stream(usize),
}

impl Payload {
    pub fn bytes(&self) -> usize {
        match self {
            Self::Ranges(ranges) => ranges.iter().map(Bytes::len).sum(),
            Self::Stream(bytes) => *bytes,
        }
    }
}

/// One batch for one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub topic: TopicKey,
    pub partition: i32,
    /// The header as it is to be written ([`super::batch::restamp`]).
    pub raw: [u8; BATCH_HEADER_BYTES],
    pub payload: Payload,
}

/// A part of a request, in the order of sending.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    Framing(Bytes),
    Payload(Payload),
}

/// What a request says of itself, before its batches.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    pub version: i16,
    pub correlation_id: i32,
    pub client_id: &'a str,
    /// Of the producer whose transaction all of the request's batches are part of; None where none is.
    pub transactional_id: Option<&'a str>,
    /// Kafka's `acks`: [`ACKS_ALL`], 1 for the leader alone, 0 for no answer at all.
    pub acks: i16,
    /// How long the broker may wait for replicas.
    pub timeout_ms: i32,
}

/// Frames one request, and empties `entries`. For each batch one piece of framing,
/// which ends with the batch's header, and one of payload; then, if the version has any, the rest of the framing.
/// Consecutive entries of one topic are sent as one topic; a broker accepts one batch for each partition.
///
/// Framing is cut from `scratch`, which allocates only when its capacity is used up. Returns the request's size in bytes, the
/// size prefix included.
///
/// # Panics
/// For a version outside [`VERSIONS`], a topic not keyed as the version wants it, an id beyond 32,767 bytes, and a
/// request beyond 2 GiB.
pub fn frame(
    head: Head<'_>,
    entries: &mut Vec<Entry>,
    scratch: &mut BytesMut,
    out: &mut impl FnMut(Piece),
) -> usize {
    let Head { version, correlation_id, client_id, transactional_id, acks, timeout_ms } = head;
    assert!(VERSIONS.contains(&version), "Produce version {version} is not spoken here");
    let flexible = version >= 9;
    let sizes = Sizes::of(entries, client_id, transactional_id, flexible);
    scratch.reserve(sizes.framing_bytes);

    let size = sizes.framing_bytes + sizes.payload_bytes;
    scratch.put_i32(i32::try_from(size - SIZE_BYTES).expect("a request fits in 31 bits"));
    scratch.put_i16(PRODUCE_KEY);
    scratch.put_i16(version);
    scratch.put_i32(correlation_id);
    put_string(scratch, client_id.as_bytes(), false);
    put_no_tags(scratch, flexible);
    match transactional_id {
        Some(id) => put_string(scratch, id.as_bytes(), flexible),
        None => put_null_string(scratch, flexible),
    }
    scratch.put_i16(acks);
    scratch.put_i32(timeout_ms);
    put_length(scratch, sizes.topics, flexible);

    let mut of_topic_left = 0;
    for at in 0..entries.len() {
        if of_topic_left == 0 {
            let topic = &entries[at].topic;
            assert_eq!(topic.is_id(), version >= 13, "topics have ids since Produce version 13");
            of_topic_left = entries[at..].iter().take_while(|entry| entry.topic == *topic).count();
            topic.put(scratch, flexible);
            put_length(scratch, of_topic_left, flexible);
        }
        let entry = &mut entries[at];
        let payload = std::mem::replace(&mut entry.payload, Payload::Stream(0));
        scratch.put_i32(entry.partition);
        put_length(scratch, BATCH_HEADER_BYTES + payload.bytes(), flexible);
        scratch.put_slice(&entry.raw);
        out(Piece::Framing(scratch.split().freeze()));
        out(Piece::Payload(payload));
        put_no_tags(scratch, flexible); // of the partition
        of_topic_left -= 1;
        if of_topic_left == 0 {
            put_no_tags(scratch, flexible); // of the topic
        }
    }
    put_no_tags(scratch, flexible);
    if !scratch.is_empty() {
        out(Piece::Framing(scratch.split().freeze()));
    }
    entries.clear();
    size
}

struct Sizes {
    topics: usize,
    framing_bytes: usize,
    payload_bytes: usize,
}

impl Sizes {
    fn of(entries: &[Entry], client_id: &str, transactional_id: Option<&str>, flexible: bool) -> Self {
        let tags = usize::from(flexible);
        let mut sizes = Self { topics: 0, framing_bytes: 0, payload_bytes: 0 };
        for of_topic in entries.chunk_by(|a, b| a.topic == b.topic) {
            sizes.topics += 1;
            sizes.framing_bytes += of_topic[0].topic.wire_bytes(flexible);
            sizes.framing_bytes += length_bytes(of_topic.len(), flexible) + tags;
            for entry in of_topic {
                let payload_bytes = entry.payload.bytes();
                sizes.payload_bytes += payload_bytes;
                sizes.framing_bytes += 4 + length_bytes(BATCH_HEADER_BYTES + payload_bytes, flexible);
                sizes.framing_bytes += BATCH_HEADER_BYTES + tags;
            }
        }
        let header = SIZE_BYTES + 8 + string_bytes(client_id.len(), false) + tags;
        // A string of no length takes as much as none.
        let id_bytes = transactional_id.map_or(0, str::len);
        let body = string_bytes(id_bytes, flexible) + 6 + length_bytes(sizes.topics, flexible) + tags;
        sizes.framing_bytes += header + body;
        sizes
    }
}

fn put_no_tags(out: &mut BytesMut, flexible: bool) {
    if flexible {
        out.put_u8(0);
    }
}

fn put_null_string(out: &mut BytesMut, flexible: bool) {
    if flexible { out.put_u8(0) } else { out.put_i16(-1) }
}

/// A topic in an answer, still in the answer's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TopicRef<'a> {
    Name(&'a [u8]),
    Id(Uuid),
}

impl PartialEq<TopicKey> for TopicRef<'_> {
    fn eq(&self, key: &TopicKey) -> bool {
        match (self, key) {
            (Self::Name(name), TopicKey::Name(key)) => *name == &key[..],
            (Self::Id(id), TopicKey::Id(key)) => id == key,
            _ => false,
        }
    }
}

/// What became of one batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acked<'a> {
    pub topic: TopicRef<'a>,
    pub partition: i32,
    /// Kafka's error code, 0 for none.
    pub error: i16,
    /// Offset that the batch's first record got; -1 on errors.
    pub base_offset: i64,
    /// -1 before version 5.
    pub log_start_offset: i64,
    /// The broker's explanation, since version 8; empty when there is none.
    pub error_message: &'a str,
    /// (broker, epoch) to go to, since version 10 (KIP-951).
    pub current_leader: Option<(i32, i32)>,
}

/// Reads an answer's body, which begins after the response header, and returns for how long the broker throttles the
/// connection, in ms. `each` may have been called for a part of the answer when an error is found.
pub fn read_answer(version: i16, body: &[u8], each: &mut impl FnMut(Acked<'_>)) -> Result<i32, BadFrame> {
    let mut cursor = Cursor::new(body);
    let answer = read_body(version, &mut cursor, each).and_then(|throttle_ms| match cursor.remaining() {
        0 => Ok(throttle_ms),
        _ => Err(Unread::Bad("bytes follow the end of the answer")),
    });
    answer.map_err(|cause| {
        let what = match cause {
            Unread::Short(_) => "the answer ends inside a value",
            Unread::Bad(what) => what,
        };
        BadFrame::new(format!("answer to Produce v{version}"), what, cursor.read())
    })
}

fn read_body<'a>(version: i16, cursor: &mut Cursor<'a>, each: &mut impl FnMut(Acked<'a>)) -> Read<i32> {
    let flexible = version >= 9;
    for _ in 0..cursor.length(flexible)? {
        let topic = if version >= 13 {
            TopicRef::Id(cursor.uuid()?)
        } else {
            TopicRef::Name(cursor.string(flexible)?)
        };
        for _ in 0..cursor.length(flexible)? {
            each(read_partition(version, topic, cursor)?);
        }
        skip_tags(cursor, flexible)?;
    }
    let throttle_ms = cursor.i32()?;
    skip_tags(cursor, flexible)?;
    Ok(throttle_ms)
}

fn read_partition<'a>(version: i16, topic: TopicRef<'a>, cursor: &mut Cursor<'a>) -> Read<Acked<'a>> {
    let flexible = version >= 9;
    let (partition, error, base_offset) = (cursor.i32()?, cursor.i16()?, cursor.i64()?);
    let _log_append_time_ms = cursor.i64()?;
    let log_start_offset = if version >= 5 { cursor.i64()? } else { -1 };
    let mut error_message = "";
    if version >= 8 {
        for _ in 0..cursor.length(flexible)? {
            let _record = cursor.i32()?;
            cursor.string(flexible)?;
            skip_tags(cursor, flexible)?;
        }
        error_message = std::str::from_utf8(cursor.string(flexible)?)
            .map_err(|_| Unread::Bad("an error message is not UTF-8"))?;
    }
    let mut current_leader = None;
    if flexible {
        cursor.tagged_fields(TAGGED_BYTES_MAX, |tag, value| {
            if tag == 0 {
                current_leader = Some((value.i32()?, value.i32()?));
            }
            Ok(())
        })?;
    }
    Ok(Acked { topic, partition, error, base_offset, log_start_offset, error_message, current_leader })
}

fn skip_tags(cursor: &mut Cursor<'_>, flexible: bool) -> Read<()> {
    if flexible { cursor.tagged_fields(TAGGED_BYTES_MAX, |_, _| Ok(())) } else { Ok(()) }
}

/// A lower bound of an answer's size on the wire, size prefix and response header included, which may serve as SO_RCVLOWAT.
/// Give what is sure: the number of different topics in the request, their names' bytes in all (0 since version 13), and
/// the partitions in all.
pub fn answer_bytes_min(version: i16, topics: usize, name_bytes: usize, partitions: usize) -> usize {
    let flexible = version >= 9;
    let (length, string, tags) = if flexible { (1, 1, 1) } else { (4, 2, 0) };
    let topic_key = if version >= 13 { 16 } else { string };
    let explanation = if version >= 8 { length + string } else { 0 };
    let partition = 22 + if version >= 5 { 8 } else { 0 } + explanation + tags;
    let header = SIZE_BYTES + 4 + tags;
    let names = if version >= 13 { 0 } else { name_bytes };
    header + length + topics * (topic_key + length + tags) + names + partitions * partition + 4 + tags
}
