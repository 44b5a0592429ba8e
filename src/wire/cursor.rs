//! A bounds-checked reader of Kafka's primitive types, and their encoders.

use bytes::{BufMut, BytesMut};
use uuid::Uuid;

/// Why a value could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unread {
    /// The bytes end inside the value; it takes at least this many more.
    Short(usize),
    /// No continuation can make this right.
    Bad(&'static str),
}

pub type Read<T> = Result<T, Unread>;

/// Reads from the front of a slice. `flexible` chooses between the two ways to encode lengths (KIP-482).
#[derive(Clone, Debug)]
pub struct Cursor<'a> {
    bytes: &'a [u8],
    read: usize,
}

impl<'a> Cursor<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, read: 0 }
    }

    /// Bytes read so far.
    pub fn read(&self) -> usize {
        self.read
    }

    pub fn remaining(&self) -> usize {
        self.bytes.len() - self.read
    }

    /// Fails early, with everything that is missing, when fewer than `bytes` remain.
    pub fn need(&self, bytes: usize) -> Read<()> {
        match bytes.checked_sub(self.remaining()) {
            None | Some(0) => Ok(()),
            Some(missing) => Err(Unread::Short(missing)),
        }
    }

    pub fn bytes(&mut self, length: usize) -> Read<&'a [u8]> {
        self.need(length)?;
        let taken = &self.bytes[self.read..self.read + length];
        self.read += length;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Read<[u8; N]> {
        self.need(N)?;
        let (value, _) = self.bytes[self.read..].split_first_chunk::<N>().ok_or(Unread::Short(N))?;
        self.read += N;
        Ok(*value)
    }

    pub fn u8(&mut self) -> Read<u8> {
        self.array().map(u8::from_be_bytes)
    }

    pub fn i16(&mut self) -> Read<i16> {
        self.array().map(i16::from_be_bytes)
    }

    pub fn i32(&mut self) -> Read<i32> {
        self.array().map(i32::from_be_bytes)
    }

    pub fn i64(&mut self) -> Read<i64> {
        self.array().map(i64::from_be_bytes)
    }

    pub fn uuid(&mut self) -> Read<Uuid> {
        self.array().map(Uuid::from_bytes)
    }

    /// An unsigned varint of at most 32 bits.
    pub fn uvarint(&mut self) -> Read<u32> {
        let mut value = 0u64;
        for shift in (0..35).step_by(7) {
            let byte = self.u8()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return u32::try_from(value).map_err(|_| Unread::Bad("a varint is longer than 32 bits"));
            }
        }
        Err(Unread::Bad("a varint is longer than 5 bytes"))
    }

    /// A signed varint (protobuf's zigzag coding) of at most 32 bits.
    pub fn varint(&mut self) -> Read<i32> {
        let zigzag = self.uvarint()?;
        Ok((zigzag >> 1) as i32 ^ -((zigzag & 1) as i32))
    }

    /// Bytes with their length before them as in a record: a signed varint, -1 for null.
    pub fn record_bytes(&mut self) -> Read<Option<&'a [u8]>> {
        match self.varint()? {
            -1 => Ok(None),
            length => {
                let length = usize::try_from(length).map_err(|_| Unread::Bad("a negative length"))?;
                self.bytes(length).map(Some)
            }
        }
    }

    /// Length of an array or of nullable bytes; null counts as empty.
    pub fn length(&mut self, flexible: bool) -> Read<usize> {
        if flexible {
            return Ok((self.uvarint()? as usize).saturating_sub(1));
        }
        match self.i32()? {
            -1 => Ok(0),
            length => usize::try_from(length).map_err(|_| Unread::Bad("a negative length")),
        }
    }

    /// Length of a string, nullable or not; null counts as empty.
    pub fn string_length(&mut self, flexible: bool) -> Read<usize> {
        if flexible {
            return self.length(true);
        }
        match self.i16()? {
            -1 => Ok(0),
            length => usize::try_from(length).map_err(|_| Unread::Bad("a negative string length")),
        }
    }

    /// A string's bytes, nullable or not; null counts as empty.
    pub fn string(&mut self, flexible: bool) -> Read<&'a [u8]> {
        let length = self.string_length(flexible)?;
        self.bytes(length)
    }

    /// A section of tagged fields (KIP-482), of at most `limit` bytes. `each` gets a tag and a reader of its value.
    pub fn tagged_fields(
        &mut self,
        limit: usize,
        mut each: impl FnMut(u32, &mut Cursor<'a>) -> Read<()>,
    ) -> Read<()> {
        let start = self.read;
        for _ in 0..self.uvarint()? {
            let tag = self.uvarint()?;
            let length = self.uvarint()? as usize;
            if self.read - start + length > limit {
                return Err(Unread::Bad("the tagged fields are longer than any broker sends"));
            }
            let mut value = Cursor::new(self.bytes(length)?);
            each(tag, &mut value).map_err(|_| Unread::Bad("a tagged field is too short for its content"))?;
        }
        Ok(())
    }
}

/// Bytes that `value` takes as an unsigned varint.
pub fn uvarint_bytes(value: u32) -> usize {
    (32 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

pub fn put_uvarint(out: &mut BytesMut, mut value: u32) {
    while value >= 0x80 {
        out.put_u8(value as u8 | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}

/// Bytes that the length of an array, or of bytes, takes.
pub fn length_bytes(length: usize, flexible: bool) -> usize {
    if flexible { uvarint_bytes(length as u32 + 1) } else { 4 }
}

/// Writes the length of an array, or of bytes.
///
/// # Panics
/// When the length does not fit Kafka's 31 bits.
pub fn put_length(out: &mut BytesMut, length: usize, flexible: bool) {
    let length = i32::try_from(length).expect("a length on the wire fits in 31 bits");
    if flexible {
        put_uvarint(out, length as u32 + 1);
    } else {
        out.put_i32(length);
    }
}

/// Bytes that a string of this length takes, its length included.
pub fn string_bytes(length: usize, flexible: bool) -> usize {
    length + if flexible { uvarint_bytes(length as u32 + 1) } else { 2 }
}

/// # Panics
/// When the string is longer than 32,767 bytes.
pub fn put_string(out: &mut BytesMut, string: &[u8], flexible: bool) {
    let length = i16::try_from(string.len()).expect("a string on the wire fits in 15 bits");
    if flexible {
        put_uvarint(out, length as u32 + 1);
    } else {
        out.put_i16(length);
    }
    out.put_slice(string);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn varints_come_back_as_written_and_are_as_long_as_announced(value: u32) {
            let mut out = BytesMut::new();
            put_uvarint(&mut out, value);
            prop_assert_eq!(out.len(), uvarint_bytes(value));
            let mut cursor = Cursor::new(&out);
            prop_assert_eq!(cursor.uvarint(), Ok(value));
            prop_assert_eq!(cursor.remaining(), 0);
            for cut in 0..out.len() {
                prop_assert!(matches!(Cursor::new(&out[..cut]).uvarint(), Err(Unread::Short(1))));
            }
        }
    }

    #[test]
    fn overlong_varints_and_negative_lengths_are_refused() {
        assert!(matches!(Cursor::new(&[0xff; 6]).uvarint(), Err(Unread::Bad(_))));
        assert!(matches!(Cursor::new(&[0xff, 0xff, 0xff, 0xff, 0x7f]).uvarint(), Err(Unread::Bad(_))));
        assert!(matches!(Cursor::new(&(-2i32).to_be_bytes()).length(false), Err(Unread::Bad(_))));
        assert!(matches!(Cursor::new(&(-2i16).to_be_bytes()).string(false), Err(Unread::Bad(_))));
        assert_eq!(Cursor::new(&(-1i32).to_be_bytes()).length(false), Ok(0));
        assert_eq!(Cursor::new(&[0]).length(true), Ok(0));
    }

    #[test]
    fn a_tagged_section_beyond_its_limit_is_refused_before_it_is_awaited() {
        let section = [1, 9, 0xff, 0xff, 0x7f];
        assert!(matches!(Cursor::new(&section).tagged_fields(100, |_, _| Ok(())), Err(Unread::Bad(_))));
        let section = [1, 9, 50];
        assert_eq!(Cursor::new(&section).tagged_fields(100, |_, _| Ok(())), Err(Unread::Short(50)));
    }
}
