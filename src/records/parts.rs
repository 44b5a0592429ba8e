//! A record's body: key, value and headers, each with its length before it.

use crate::wire::cursor::{Cursor, Read, Unread};
use crate::wire::rebuild::put_zigzag;

#[derive(Clone, Copy, Debug)]
pub(super) struct Parts<'a> {
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    pub headers: Headers<'a>,
}

impl<'a> Parts<'a> {
    pub fn read(body: &'a [u8]) -> Read<Self> {
        let mut cursor = Cursor::new(body);
        let key = cursor.record_bytes()?;
        let value = cursor.record_bytes()?;
        let count = cursor.varint()?;
        let count = usize::try_from(count).map_err(|_| Unread::Bad("a negative number of headers"))?;
        let start = cursor.read();
        for _ in 0..count {
            header(&mut cursor)?;
        }
        if cursor.remaining() > 0 {
            return Err(Unread::Bad("bytes follow the last header"));
        }
        Ok(Self { key, value, headers: Headers { count, bytes: &body[start..] } })
    }

    pub fn write(&self, out: &mut Vec<u8>) {
        put_bytes(out, self.key);
        put_bytes(out, self.value);
        put_zigzag(out, self.headers.count as i64);
        out.extend(self.headers.bytes);
    }

    /// With other headers, each as it is encoded.
    pub fn write_with(&self, count: usize, headers: &[u8], out: &mut Vec<u8>) {
        Parts { headers: Headers { count, bytes: headers }, ..*self }.write(out);
    }
}

/// Headers that were read once and found sound.
#[derive(Clone, Copy, Debug)]
pub(super) struct Headers<'a> {
    count: usize,
    bytes: &'a [u8],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header<'a> {
    pub name: &'a [u8],
    pub value: Option<&'a [u8]>,
    /// Both, as they are encoded.
    pub raw: &'a [u8],
}

impl<'a> Headers<'a> {
    /// How many there are, and all of them as they are encoded.
    pub fn raw(self) -> (usize, &'a [u8]) {
        (self.count, self.bytes)
    }

    pub fn iter(self) -> impl Iterator<Item = Header<'a>> {
        let mut cursor = Cursor::new(self.bytes);
        (0..self.count).map_while(move |_| {
            let start = cursor.read();
            let (name, value) = header(&mut cursor).ok()?;
            Some(Header { name, value, raw: &self.bytes[start..cursor.read()] })
        })
    }
}

fn header<'a>(cursor: &mut Cursor<'a>) -> Read<(&'a [u8], Option<&'a [u8]>)> {
    let name = cursor.record_bytes()?.ok_or(Unread::Bad("a header without a name"))?;
    Ok((name, cursor.record_bytes()?))
}

/// Bytes or null, as they stand in a record.
pub(super) fn put_bytes(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    put_zigzag(out, bytes.map_or(-1, |bytes| bytes.len() as i64));
    out.extend(bytes.unwrap_or_default());
}
