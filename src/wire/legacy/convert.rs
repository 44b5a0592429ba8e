//! Message sets made into record batches, as a modern broker would do it when a producer sent them (Kafka's `LogValidator`).
//!
//! Every record keeps its offset, key, value and timestamp; what has none gets none (-1). A compressed message becomes a batch with
//! the same codec; plain ones that follow each other share a batch. How many of them are handed in at a time does not change what
//! the records are, nor what a compressed message becomes.

use super::lz4;
use super::message::{self, Message};
use crate::limits::{OLD_BATCH_BYTES, RECORDS_BYTES_MAX, RUNS_PER_BATCH_MAX};
use crate::wire::codec::{BadRecords, decompress};
use crate::wire::cursor::{Cursor, Unread};
use crate::wire::rebuild::{Builder, Holes, Rebuilt, put_zigzag};
use std::borrow::Cow;

const NONE: u8 = 0;
const LZ4: u8 = 3;
const ZSTD: u8 = 4;

/// A message set that cannot be converted.
#[derive(Debug, thiserror::Error)]
#[error("the message set at offset {offset} cannot be converted: {cause}")]
pub struct BadSet {
    /// Of the message; if that is compressed, of the last one within.
    pub offset: i64,
    pub cause: BadRecords,
}

/// The records of whole messages from `from_offset` on, as batches. None when there are no such records.
pub fn convert(messages: &[u8], from_offset: i64, holes: Holes) -> Result<Vec<Rebuilt>, BadSet> {
    let mut set = Cursor::new(messages);
    let mut batches = Batches { from_offset, holes, last_offset: -1, builder: None, done: Vec::new() };
    let mut at = from_offset;
    while set.remaining() > 0 {
        let converted = set.clone().i64().map_err(bad).and_then(|offset| {
            at = offset;
            batches.add(&message::read(&mut set).map_err(bad)?)
        });
        converted.map_err(|cause| BadSet { offset: at, cause })?;
    }
    batches.finish().map_err(|cause| BadSet { offset: at, cause })
}

struct Batches {
    from_offset: i64,
    holes: Holes,
    /// Of the last record seen, kept or not.
    last_offset: i64,
    builder: Option<Builder>,
    done: Vec<Rebuilt>,
}

impl Batches {
    fn add(&mut self, message: &Message<'_>) -> Result<(), BadRecords> {
        if message.codec() == NONE {
            let is_full = |builder: &Builder| builder.codec() != NONE || builder.bytes() >= OLD_BATCH_BYTES;
            if self.builder.as_ref().is_some_and(is_full) {
                self.close()?;
            }
            return self.push(NONE, message.offset, message.timestamp_ms, message);
        }
        self.close()?;
        self.add_compressed(message)?;
        self.close()
    }

    fn add_compressed(&mut self, outer: &Message<'_>) -> Result<(), BadRecords> {
        let codec = outer.codec();
        if codec >= ZSTD {
            return Err(BadRecords::Codec(codec));
        }
        let compressed = outer.value.ok_or(BadRecords::Records("a compressed message has no value"))?;
        let frame = match (codec, outer.magic) {
            (LZ4, 0) => lz4::with_checksum(compressed)?,
            _ => Cow::Borrowed(compressed),
        };
        let inner = decompress(codec, &frame, RECORDS_BYTES_MAX)?;
        let last = message::last_offset(&inner).map_err(bad)?;
        // Format 1 counts from the first message of the set, and the outer offset is the last one's.
        let base = match outer.magic {
            0 => 0,
            _ => outer.offset.checked_sub(last).ok_or(BadRecords::Records("its offsets are no offsets"))?,
        };
        let mut set = Cursor::new(&inner);
        while set.remaining() > 0 {
            let message = message::read(&mut set).map_err(bad)?;
            if message.codec() != NONE {
                return Err(BadRecords::Records("a compressed message holds another one"));
            }
            if message.magic != outer.magic {
                return Err(BadRecords::Records("a compressed message holds one of another format"));
            }
            let offset = base.checked_add(message.offset).filter(|offset| *offset <= outer.offset);
            let offset = offset.ok_or(BadRecords::Records("its offsets do not ascend"))?;
            let timestamp_ms = outer.log_append_time_ms().unwrap_or(message.timestamp_ms);
            self.push(codec, offset, timestamp_ms, &message)?;
        }
        Ok(())
    }

    fn push(
        &mut self,
        codec: u8,
        offset: i64,
        timestamp_ms: i64,
        message: &Message<'_>,
    ) -> Result<(), BadRecords> {
        if offset <= self.last_offset {
            return Err(BadRecords::Records("their offsets do not ascend"));
        }
        self.last_offset = offset;
        if offset < self.from_offset {
            return Ok(());
        }
        let ends_at_hole = |builder: &Builder| {
            !builder.is_followed_by(offset)
                && (self.holes == Holes::Split || builder.runs() >= RUNS_PER_BATCH_MAX)
        };
        if self.builder.as_ref().is_some_and(ends_at_hole) {
            self.close()?;
        }
        let builder = self.builder.get_or_insert_with(|| Builder::new(codec));
        let (mut key_length, mut value_length) = (Vec::new(), Vec::new());
        put_zigzag(&mut key_length, length(message.key));
        put_zigzag(&mut value_length, length(message.value));
        let (key, value) = (message.key.unwrap_or_default(), message.value.unwrap_or_default());
        // No headers.
        builder.push(offset, 0, timestamp_ms, &[&key_length, key, &value_length, value, &[0]]);
        Ok(())
    }

    fn close(&mut self) -> Result<(), BadRecords> {
        if let Some(builder) = self.builder.take() {
            self.done.push(builder.finish()?);
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Vec<Rebuilt>, BadRecords> {
        self.close()?;
        Ok(self.done)
    }
}

fn length(bytes: Option<&[u8]>) -> i64 {
    bytes.map_or(-1, |bytes| bytes.len() as i64)
}

fn bad(unread: Unread) -> BadRecords {
    BadRecords::Records(match unread {
        Unread::Bad(what) => what,
        Unread::Short(_) => "a message is cut short",
    })
}
