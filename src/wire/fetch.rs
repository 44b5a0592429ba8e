//! A Fetch answer, walked as it streams in: no frame is ever collected, and no payload is looked at.
//!
//! ```text
//! Head ─ Response ─┬─ Topic ─┬─ Partition ─ Aborted… ─ Records ─ [Batch | OldFormat]… [Damaged] [Cut] ─ PartitionEnd ─┐
//!                  │         └──────────────────────────────────────────────────────────────────────────────────────┤
//!                  └────────────────────────────────────────────────────────────────────────────────────────────────┴─ End
//! ```

use super::batch::{BadBatch, BatchHeader};
use super::cursor::{Cursor, Read, Unread};
use super::frame::{SIZE_BYTES, frame_bytes};
use super::legacy::message::{self, MessageHeader};
use super::{BadFrame, TopicKey};
use crate::limits::{BATCH_HEADER_BYTES, FETCH_ANSWER_BYTES_MAX, TOPIC_NAME_BYTES_MAX};
use bytes::{Buf, BytesMut};

pub use super::fetch_request::{FetchPartition, FetchRequest};

/// Versions of the Fetch API that [`FetchWalk`] and [`FetchRequest`] know: from Kafka 0.8 to topic ids.
pub const VERSIONS: std::ops::RangeInclusive<i16> = 0..=13;
/// From here on (Kafka 0.10.1) an answer has a size limit of its own, and at least one whole message whatever that is.
pub const WHOLE_MIN: i16 = 3;
/// From here on (Kafka 0.11) records come as they are stored, and with what is known of transactions; before, brokers send message
/// sets.
pub const BATCHES_MIN: i16 = 4;

/// More tagged fields than this in one place are damage: the known ones take 40 bytes.
const TAGGED_BYTES_MAX: usize = 64 << 10;
/// A message of format 0 or 1 shows its magic at the same place as a batch.
const MAGIC_AT: usize = 16;
/// Asking the kernel to wait for more than this at once saves nothing.
const AT_LEAST_MAX: usize = 4 << 10;

/// What the walk found next.
#[derive(Clone, Debug, PartialEq)]
pub enum Walked {
    /// Append more to the input, [`FetchWalk::at_least`] bytes or more, and step again.
    NeedMore,
    Head {
        correlation_id: i32,
    },
    /// `error` and `session_id` are 0 before version 7.
    Response {
        throttle_ms: i32,
        error: i16,
        session_id: i32,
    },
    Topic(TopicKey),
    Partition(PartitionHead),
    /// The producer's transactional batches from `first_offset` to its next control batch were aborted.
    Aborted {
        producer_id: i64,
        first_offset: i64,
    },
    /// The partition's records begin, `bytes` in all. The replica to fetch from instead is -1 when there is none.
    Records {
        preferred_read_replica: i32,
        bytes: usize,
    },
    /// A batch of magic 2. The next `header.payload_bytes()` of the stream are the caller's, to move in whatever pieces; it
    /// must have reported all of them by [`FetchWalk::take_payload`] before the next step.
    Batch {
        header: BatchHeader,
        raw: [u8; BATCH_HEADER_BYTES],
    },
    /// What comes next is a message of format 0 or 1, whole. The next `message.bytes` of the stream are the caller's, as those of
    /// a payload are.
    OldFormat {
        message: MessageHeader,
    },
    /// What comes next is no batch. The rest of the partition follows as a `Cut`.
    Damaged(BadBatch),
    /// The partition's records end with a part of a batch, or with what cannot be read. The caller drops the next `bytes` of
    /// the stream and reports them by [`FetchWalk::take_payload`], as for a payload.
    Cut {
        bytes: usize,
    },
    /// `diverging`: the source's log has no more of the last fetched epoch than up to this (epoch, end offset). `current_leader`:
    /// (broker, epoch) to go to. Both since version 12 only.
    PartitionEnd {
        diverging: Option<(i32, i64)>,
        current_leader: Option<(i32, i32)>,
    },
    /// The answer is complete; the next step expects the size prefix of another one.
    End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionHead {
    pub partition: i32,
    /// Kafka's error code, 0 for none.
    pub error: i16,
    pub high_watermark: i64,
    /// -1 before version 4.
    pub last_stable_offset: i64,
    /// -1 before version 5.
    pub log_start_offset: i64,
}

/// Where in the answer the walk stands: what the next bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Head,
    Body,
    Topic,
    Partition,
    Aborted { left: usize },
    Records,
    Batch,
    Cut,
    PartitionTail,
    TopicTail,
    Tail,
}

/// Walks the Fetch answers of one connection.
#[derive(Clone, Debug)]
pub struct FetchWalk {
    version: i16,
    at: At,
    /// Size of the answer, 0 between two answers.
    frame_bytes: usize,
    frame_remaining: usize,
    topics_left: usize,
    partitions_left: usize,
    /// Bytes of the partition's records not yet consumed.
    records_left: usize,
    /// Bytes that the caller has yet to take.
    owed: usize,
    at_least: usize,
}

impl FetchWalk {
    /// Stands before the size prefix of an answer of that version.
    ///
    /// # Panics
    /// For a version outside [`VERSIONS`].
    pub fn new(version: i16) -> Self {
        assert!(VERSIONS.contains(&version), "Fetch version {version} is not spoken here");
        let mut walk = Self {
            version,
            at: At::Head,
            frame_bytes: 0,
            frame_remaining: 0,
            topics_left: 0,
            partitions_left: 0,
            records_left: 0,
            owed: 0,
            at_least: 0,
        };
        walk.at_least = SIZE_BYTES + walk.sure_from(At::Head);
        walk
    }

    pub fn version(&self) -> i16 {
        self.version
    }

    /// Bytes of this answer that are not yet consumed, payloads included. 0 before the size prefix is known.
    pub fn frame_remaining(&self) -> usize {
        self.frame_remaining
    }

    /// After `NeedMore`: how many bytes more than the input held are sure to come before a payload begins or the answer
    /// ends. At least 1; there is no progress without them.
    pub fn at_least(&self) -> usize {
        self.at_least
    }

    /// The caller took that many bytes of the current batch's payload, or of a `Cut`, out of the stream.
    ///
    /// # Panics
    /// When that is more than there was to take.
    pub fn take_payload(&mut self, bytes: usize) {
        assert!(bytes <= self.owed, "{bytes} bytes taken of {} that were to be taken", self.owed);
        self.owed -= bytes;
        self.records_left -= bytes;
        self.frame_remaining -= bytes;
    }

    /// Goes one step on, consuming what it has read from the front of `input`. Call until `NeedMore`.
    ///
    /// # Panics
    /// While a payload announced before has not been taken.
    pub fn step(&mut self, input: &mut BytesMut) -> Result<Walked, BadFrame> {
        assert_eq!(self.owed, 0, "the payload must be taken before the walk goes on");
        if self.frame_bytes == 0 {
            let Some(prefix) = input.first_chunk::<SIZE_BYTES>() else {
                self.at_least = SIZE_BYTES + self.sure_from(At::Head) - input.len();
                return Ok(Walked::NeedMore);
            };
            self.frame_bytes = frame_bytes(*prefix, FETCH_ANSWER_BYTES_MAX)?;
            self.frame_remaining = self.frame_bytes;
            input.advance(SIZE_BYTES);
        }
        match self.walk(input) {
            Ok(walked) => Ok(walked),
            Err(Unread::Short(missing)) => self.wait(input.len(), missing),
            Err(Unread::Bad(what)) => Err(self.bad(what)),
        }
    }

    fn walk(&mut self, input: &mut BytesMut) -> Read<Walked> {
        loop {
            match self.at {
                At::Head => return self.head(input),
                At::Body => return self.body(input),
                At::Topic => return self.topic(input),
                At::Partition => return self.partition(input),
                At::Aborted { left } => return self.aborted(input, left),
                At::Records => return self.records(input),
                At::Batch if self.records_left > 0 => return self.batch(input),
                At::Batch => self.at = At::PartitionTail,
                At::Cut => return Ok(self.cut()),
                At::PartitionTail => return self.partition_tail(input),
                At::TopicTail => {
                    self.tags(input)?;
                    self.at = if self.topics_left > 0 { At::Topic } else { At::Tail };
                }
                At::Tail => return self.tail(input),
            }
        }
    }

    fn head(&mut self, input: &mut BytesMut) -> Read<Walked> {
        let flexible = self.flexible();
        let correlation_id = self.read(input, |cursor| {
            let correlation_id = cursor.i32()?;
            skip_tags(cursor, flexible)?;
            Ok(correlation_id)
        })?;
        self.at = At::Body;
        Ok(Walked::Head { correlation_id })
    }

    fn body(&mut self, input: &mut BytesMut) -> Read<Walked> {
        let (version, flexible) = (self.version, self.flexible());
        let (throttle_ms, error, session_id, topics) = self.read(input, |cursor| {
            let throttle_ms = if version >= 1 { cursor.i32()? } else { 0 };
            let (error, session_id) = if version >= 7 { (cursor.i16()?, cursor.i32()?) } else { (0, 0) };
            Ok((throttle_ms, error, session_id, cursor.length(flexible)?))
        })?;
        self.topics_left = self.fitting(topics, self.sure_from(At::Topic))?;
        self.at = if topics > 0 { At::Topic } else { At::Tail };
        Ok(Walked::Response { throttle_ms, error, session_id })
    }

    fn topic(&mut self, input: &mut BytesMut) -> Read<Walked> {
        let flexible = self.flexible();
        let (key, partitions) = if self.version >= 13 {
            self.read(input, |cursor| Ok((TopicKey::Id(cursor.uuid()?), cursor.length(flexible)?)))?
        } else {
            let ((name_at, name_bytes, partitions), read) = self.peek(input, |cursor| {
                let name_bytes = name_length(cursor, flexible)?;
                let name_at = cursor.read();
                cursor.need(name_bytes + if flexible { 1 } else { 4 })?;
                cursor.bytes(name_bytes)?;
                Ok((name_at, name_bytes, cursor.length(flexible)?))
            })?;
            self.frame_remaining -= read;
            input.advance(name_at);
            let name = input.split_to(name_bytes).freeze();
            input.advance(read - name_at - name_bytes);
            (TopicKey::Name(name), partitions)
        };
        self.topics_left -= 1;
        self.partitions_left = self.fitting(partitions, self.sure_from(At::Partition))?;
        self.at = if partitions > 0 { At::Partition } else { At::TopicTail };
        Ok(Walked::Topic(key))
    }

    fn partition(&mut self, input: &mut BytesMut) -> Read<Walked> {
        let (version, flexible) = (self.version, self.flexible());
        let (head, aborted) = self.read(input, |cursor| {
            let head = PartitionHead {
                partition: cursor.i32()?,
                error: cursor.i16()?,
                high_watermark: cursor.i64()?,
                last_stable_offset: if version >= BATCHES_MIN { cursor.i64()? } else { -1 },
                log_start_offset: if version >= 5 { cursor.i64()? } else { -1 },
            };
            Ok((head, if version >= BATCHES_MIN { cursor.length(flexible)? } else { 0 }))
        })?;
        self.partitions_left -= 1;
        let left = self.fitting(aborted, self.aborted_bytes_min())?;
        self.at = if left > 0 { At::Aborted { left } } else { At::Records };
        Ok(Walked::Partition(head))
    }

    fn aborted(&mut self, input: &mut BytesMut, left: usize) -> Read<Walked> {
        let flexible = self.flexible();
        let (producer_id, first_offset) = self.read(input, |cursor| {
            let aborted = (cursor.i64()?, cursor.i64()?);
            skip_tags(cursor, flexible)?;
            Ok(aborted)
        })?;
        self.at = if left > 1 { At::Aborted { left: left - 1 } } else { At::Records };
        Ok(Walked::Aborted { producer_id, first_offset })
    }

    fn records(&mut self, input: &mut BytesMut) -> Read<Walked> {
        let (version, flexible) = (self.version, self.flexible());
        let (preferred_read_replica, bytes) = self.read(input, |cursor| {
            Ok((if version >= 11 { cursor.i32()? } else { -1 }, cursor.length(flexible)?))
        })?;
        self.records_left = self.fitting(bytes, 1)?;
        self.at = At::Batch;
        Ok(Walked::Records { preferred_read_replica, bytes })
    }

    fn batch(&mut self, input: &mut BytesMut) -> Read<Walked> {
        if self.records_left <= MAGIC_AT {
            return Ok(self.cut());
        }
        let shown = self.records_left.min(BATCH_HEADER_BYTES);
        let (header, _) = self.peek(input, |cursor| cursor.bytes(shown))?;
        self.at = At::Cut;
        match header[MAGIC_AT] as i8 {
            0 | 1 => return Ok(self.message(header)),
            2 => {}
            magic => return Ok(Walked::Damaged(BadBatch::Magic(magic))),
        }
        let Some(raw) = header.first_chunk::<BATCH_HEADER_BYTES>() else {
            return Ok(self.cut());
        };
        match BatchHeader::parse(raw) {
            Err(cause) => Ok(Walked::Damaged(cause)),
            Ok(header) if header.batch_bytes > self.records_left => Ok(self.cut()),
            Ok(header) => {
                let walked = Walked::Batch { header, raw: *raw };
                input.advance(BATCH_HEADER_BYTES);
                self.frame_remaining -= BATCH_HEADER_BYTES;
                self.records_left -= BATCH_HEADER_BYTES;
                self.owed = header.payload_bytes();
                self.at = At::Batch;
                Ok(walked)
            }
        }
    }

    /// A message of format 0 or 1, if all of it is there.
    fn message(&mut self, shown: &[u8]) -> Walked {
        let Some(header) = shown.first_chunk::<{ message::SHOWN_BYTES }>() else {
            return self.cut();
        };
        match MessageHeader::parse(header) {
            Err(cause) => Walked::Damaged(cause),
            Ok(message) if message.bytes > self.records_left => self.cut(),
            Ok(message) => {
                self.owed = message.bytes;
                self.at = At::Batch;
                Walked::OldFormat { message }
            }
        }
    }

    /// Leaves the rest of the partition's records, headers included, to the caller.
    fn cut(&mut self) -> Walked {
        self.owed = self.records_left;
        self.at = At::PartitionTail;
        Walked::Cut { bytes: self.owed }
    }

    fn partition_tail(&mut self, input: &mut BytesMut) -> Read<Walked> {
        let flexible = self.flexible();
        let (diverging, current_leader) = self.read(input, |cursor| {
            let (mut diverging, mut leader) = (None, None);
            if flexible {
                cursor.tagged_fields(TAGGED_BYTES_MAX, |tag, value| {
                    match tag {
                        0 => diverging = Some((value.i32()?, value.i64()?)),
                        1 => leader = Some((value.i32()?, value.i32()?)),
                        _ => {}
                    }
                    Ok(())
                })?;
            }
            Ok((diverging, leader))
        })?;
        self.at = if self.partitions_left > 0 { At::Partition } else { At::TopicTail };
        Ok(Walked::PartitionEnd { diverging, current_leader })
    }

    fn tail(&mut self, input: &mut BytesMut) -> Read<Walked> {
        self.tags(input)?;
        if self.frame_remaining > 0 {
            return Err(Unread::Bad("bytes follow the end of the answer"));
        }
        self.frame_bytes = 0;
        self.at = At::Head;
        Ok(Walked::End)
    }

    fn tags(&mut self, input: &mut BytesMut) -> Read<()> {
        let flexible = self.flexible();
        self.read(input, |cursor| skip_tags(cursor, flexible))
    }

    /// Reads from what the input holds of this answer, and consumes it if that succeeds.
    fn read<T>(&mut self, input: &mut BytesMut, parse: impl FnOnce(&mut Cursor<'_>) -> Read<T>) -> Read<T> {
        let (value, read) = self.peek(input, parse)?;
        input.advance(read);
        self.frame_remaining -= read;
        Ok(value)
    }

    /// Reads without consuming; also says how many bytes were read.
    fn peek<'a, T>(
        &self,
        input: &'a BytesMut,
        parse: impl FnOnce(&mut Cursor<'a>) -> Read<T>,
    ) -> Read<(T, usize)> {
        let mut cursor = Cursor::new(&input[..input.len().min(self.frame_remaining)]);
        let value = parse(&mut cursor)?;
        Ok((value, cursor.read()))
    }

    /// `count` things of `bytes_min` bytes or more each must fit into the rest of the answer.
    fn fitting(&self, count: usize, bytes_min: usize) -> Read<usize> {
        if count.saturating_mul(bytes_min) > self.frame_remaining {
            return Err(Unread::Bad("a length goes beyond the end of the answer"));
        }
        Ok(count)
    }

    fn wait(&mut self, held: usize, missing: usize) -> Result<Walked, BadFrame> {
        let to_come = self.frame_remaining.saturating_sub(held);
        if missing > to_come {
            return Err(self.bad("the answer ends inside a value"));
        }
        let sure = self.sure_from(self.at).min(AT_LEAST_MAX).saturating_sub(held);
        self.at_least = missing.max(sure.min(to_come));
        Ok(Walked::NeedMore)
    }

    /// A lower bound of the bytes that come, from `at` on, before a payload or the end of the answer.
    fn sure_from(&self, at: At) -> usize {
        let length = if self.flexible() { 1 } else { 4 };
        let tags = usize::from(self.flexible());
        match at {
            At::Head => 4 + tags + self.sure_from(At::Body),
            At::Body => {
                let error_and_session = if self.version >= 7 { 6 } else { 0 };
                let throttle = if self.version >= 1 { 4 } else { 0 };
                throttle + error_and_session + length + self.sure_from(At::Tail)
            }
            At::Topic => {
                let key = match self.version {
                    13.. => 16,
                    12 => 1,
                    _ => 2,
                };
                key + length + tags
            }
            At::Partition => {
                let log_start_offset = if self.version >= 5 { 8 } else { 0 };
                let transactions = if self.version >= BATCHES_MIN { 8 + length } else { 0 };
                14 + log_start_offset + transactions + self.sure_from(At::Records)
            }
            At::Aborted { left } => left * self.aborted_bytes_min() + self.sure_from(At::Records),
            At::Records if self.version >= 11 => 4 + length,
            At::Records => length,
            At::Batch => self.records_left.min(BATCH_HEADER_BYTES),
            At::Cut => 0,
            At::PartitionTail if self.partitions_left > 0 => tags + self.sure_from(At::Partition),
            At::PartitionTail => tags + self.sure_from(At::TopicTail),
            At::TopicTail if self.topics_left > 0 => tags + self.sure_from(At::Topic),
            At::TopicTail => tags + self.sure_from(At::Tail),
            At::Tail => tags,
        }
    }

    fn aborted_bytes_min(&self) -> usize {
        if self.flexible() { 17 } else { 16 }
    }

    fn flexible(&self) -> bool {
        self.version >= 12
    }

    fn bad(&self, what: &'static str) -> BadFrame {
        let at = self.frame_bytes - self.frame_remaining;
        BadFrame::new(format!("answer to Fetch v{}", self.version), what, at)
    }
}

fn skip_tags(cursor: &mut Cursor<'_>, flexible: bool) -> Read<()> {
    if flexible { cursor.tagged_fields(TAGGED_BYTES_MAX, |_, _| Ok(())) } else { Ok(()) }
}

fn name_length(cursor: &mut Cursor<'_>, flexible: bool) -> Read<usize> {
    match cursor.string_length(flexible)? {
        length @ 1..=TOPIC_NAME_BYTES_MAX => Ok(length),
        _ => Err(Unread::Bad("a topic's name is empty or too long")),
    }
}
