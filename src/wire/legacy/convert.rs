//! Message sets made into record batches, as a modern broker would do it when a producer sent them (Kafka's `LogValidator`).
//!
//! Every record keeps its offset, key, value and timestamp; what has none gets none (-1). A compressed message becomes a batch with
//! the same codec; plain ones that follow each other share a batch. How many of them are handed in at a time does not change what
//! the records are, nor what a compressed message becomes.

use super::lz4;
use super::message::{self, Message};
use crate::limits::{OLD_BATCH_BYTES, RECORDS_BYTES_MAX};
use crate::wire::codec::{BadRecords, decompress};
use crate::wire::cursor::{Cursor, Unread};
use crate::wire::rebuild::{Batches, Change, Packing, Rebuilt, Record, put_zigzag};
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

/// What became of messages.
#[derive(Debug)]
pub struct Converted {
    /// None when there are no records, or none that stayed.
    pub batches: Vec<Rebuilt>,
    /// The offset after the last message.
    pub next_offset: i64,
}

/// The records of whole messages from `from_offset` on, as batches.
pub fn convert(
    messages: &[u8],
    from_offset: i64,
    packing: Packing,
    change: Option<&mut (dyn Change + '_)>,
) -> Result<Converted, BadSet> {
    let mut set = Cursor::new(messages);
    let packing = Packing { joined_bytes: OLD_BATCH_BYTES, ..packing };
    let batches = Batches::new(packing);
    let mut conversion = Conversion { from_offset, last_offset: -1, batches, change, body: Vec::new() };
    let mut at = from_offset;
    while set.remaining() > 0 {
        let converted = set.clone().i64().map_err(bad).and_then(|offset| {
            at = offset;
            conversion.add(&message::read(&mut set).map_err(bad)?)
        });
        converted.map_err(|cause| BadSet { offset: at, cause })?;
    }
    let next_offset = from_offset.max(conversion.last_offset.saturating_add(1));
    let batches = conversion.batches.finish().map_err(|cause| BadSet { offset: at, cause })?;
    Ok(Converted { batches, next_offset })
}

struct Conversion<'a, 'b> {
    from_offset: i64,
    /// Of the last record seen, kept or not.
    last_offset: i64,
    batches: Batches,
    change: Option<&'a mut (dyn Change + 'b)>,
    /// Room for a record's body.
    body: Vec<u8>,
}

impl Conversion<'_, '_> {
    fn add(&mut self, message: &Message<'_>) -> Result<(), BadRecords> {
        if message.codec() == NONE {
            let length = |bytes: Option<&[u8]>| bytes.map_or(0, <[u8]>::len);
            self.batches.begin(NONE, length(message.key) + length(message.value))?;
            return self.push(NONE, message.offset, message.timestamp_ms, message);
        }
        self.batches.close()?;
        self.add_compressed(message)?;
        self.batches.close()
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
        self.body.clear();
        put(&mut self.body, message.key);
        put(&mut self.body, message.value);
        // No headers.
        self.body.push(0);
        let record = Record { offset, attributes: 0, timestamp_ms, body: &self.body };
        self.batches.push(codec, &record, self.change.as_deref_mut())
    }
}

fn put(body: &mut Vec<u8>, bytes: Option<&[u8]>) {
    put_zigzag(body, bytes.map_or(-1, |bytes| bytes.len() as i64));
    body.extend(bytes.unwrap_or_default());
}

fn bad(unread: Unread) -> BadRecords {
    BadRecords::Records(match unread {
        Unread::Bad(what) => what,
        Unread::Short(_) => "a message is cut short",
    })
}
