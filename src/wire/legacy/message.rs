//! Messages of format 0 and 1 (Kafka's `LegacyRecord`), as they follow each other in a message set.
//!
//! ```text
//! offset 8 │ size 4 │ crc 4 │ magic 1 │ attributes 1 │ timestamp 8 (format 1) │ key │ value
//! ```
//!
//! The value of a compressed message is a message set.

use crate::limits::BATCH_BYTES_MAX;
use crate::wire::batch::BadBatch;
use crate::wire::cursor::{Cursor, Read, Unread};

/// From the offset to the attributes: what has to be seen of a message before it is collected.
pub const SHOWN_BYTES: usize = 18;
/// Offset and size, which the size does not count.
const LOG_OVERHEAD_BYTES: usize = 12;
/// Checksum, magic, attributes, and the lengths of key and value.
const SIZE_MIN: usize = 14;
const CODEC_MASK: u8 = 0x07;
const LOG_APPEND_TIME: u8 = 0x08;
/// Kafka's `RecordBatch.NO_TIMESTAMP`.
pub const NO_TIMESTAMP: i64 = -1;

/// The beginning of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageHeader {
    /// Its offset; of a compressed message, that of the last one within.
    pub offset: i64,
    /// The whole message, offset and size included.
    pub bytes: usize,
    pub magic: i8,
    pub attributes: u8,
}

impl MessageHeader {
    pub fn parse(shown: &[u8; SHOWN_BYTES]) -> Result<Self, BadBatch> {
        let mut cursor = Cursor::new(shown);
        let (Ok(offset), Ok(size)) = (cursor.i64(), cursor.i32()) else { return Err(BadBatch::Length(0)) };
        let header = Self {
            offset,
            bytes: usize::try_from(size).unwrap_or(0) + LOG_OVERHEAD_BYTES,
            magic: shown[16] as i8,
            attributes: shown[17],
        };
        if !(SIZE_MIN + LOG_OVERHEAD_BYTES..=BATCH_BYTES_MAX).contains(&header.bytes) {
            return Err(BadBatch::Length(size));
        }
        // As for a batch: the offset after this one must still be an offset.
        if offset < 0 || offset > i64::MAX - i64::from(i32::MAX) - 1 {
            return Err(BadBatch::BaseOffset(offset));
        }
        Ok(header)
    }

    /// 0 none, 1 gzip, 2 snappy, 3 lz4.
    pub fn codec(&self) -> u8 {
        self.attributes & CODEC_MASK
    }
}

/// A whole message whose checksum fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// In a compressed message of format 1, relative to the first one there.
    pub offset: i64,
    pub magic: i8,
    attributes: u8,
    /// [`NO_TIMESTAMP`] in format 0.
    pub timestamp_ms: i64,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
}

impl Message<'_> {
    pub fn codec(&self) -> u8 {
        self.attributes & CODEC_MASK
    }

    /// The broker's clock at the time of the append, for all messages within.
    pub fn log_append_time_ms(&self) -> Option<i64> {
        (self.magic == 1 && self.attributes & LOG_APPEND_TIME != 0).then_some(self.timestamp_ms)
    }
}

/// Takes a message from the front of a set.
pub fn read<'a>(set: &mut Cursor<'a>) -> Read<Message<'a>> {
    let (offset, bytes) = sized(set)?;
    let mut cursor = Cursor::new(bytes);
    let crc = cursor.i32()? as u32;
    let mut computed = flate2::Crc::new();
    computed.update(bytes.get(4..).unwrap_or_default());
    if computed.sum() != crc {
        return Err(Unread::Bad("the checksum of a message is wrong"));
    }
    let magic = cursor.u8()? as i8;
    let attributes = cursor.u8()?;
    let timestamp_ms = match magic {
        0 => NO_TIMESTAMP,
        1 => cursor.i64()?,
        _ => return Err(Unread::Bad("a message has another format than 0 and 1")),
    };
    let (key, value) = (nullable(&mut cursor)?, nullable(&mut cursor)?);
    if cursor.remaining() > 0 {
        return Err(Unread::Bad("bytes follow the end of a message"));
    }
    Ok(Message { offset, magic, attributes, timestamp_ms, key, value })
}

/// The offset of the last message of a set; nothing else of it is looked at.
pub fn last_offset(set: &[u8]) -> Read<i64> {
    let mut cursor = Cursor::new(set);
    let mut last = Err(Unread::Bad("a compressed message holds no message"));
    while cursor.remaining() > 0 {
        last = Ok(sized(&mut cursor)?.0);
    }
    last
}

/// A message's offset, and its bytes from the checksum on.
fn sized<'a>(set: &mut Cursor<'a>) -> Read<(i64, &'a [u8])> {
    let (offset, size) = (set.i64()?, set.i32()?);
    let size = usize::try_from(size).ok().filter(|size| *size >= SIZE_MIN);
    let size = size.ok_or(Unread::Bad("a message announces a size that none has"))?;
    Ok((offset, set.bytes(size)?))
}

fn nullable<'a>(cursor: &mut Cursor<'a>) -> Read<Option<&'a [u8]>> {
    match cursor.i32()? {
        -1 => Ok(None),
        length => {
            let length =
                usize::try_from(length).map_err(|_| Unread::Bad("a key or a value has a negative length"))?;
            cursor.bytes(length).map(Some)
        }
    }
}
