//! A record's body as it stands in Kafka's record batches.

use std::borrow::Cow;

pub type Bytes<'a> = Cow<'a, [u8]>;

/// What is not changed stays where it was.
#[derive(Debug)]
pub struct Record<'a> {
    pub key: Option<Bytes<'a>>,
    /// None: a tombstone, which deletes the key in compacted topics.
    pub value: Option<Bytes<'a>>,
    /// (key, value)
    pub headers: Vec<(Bytes<'a>, Option<Bytes<'a>>)>,
}

impl<'a> Record<'a> {
    /// None: these bytes are no record.
    pub fn decode(mut body: &'a [u8]) -> Option<Self> {
        let (key, value) = (nullable(&mut body)?, nullable(&mut body)?);
        let mut headers = Vec::new();
        for _ in 0..number(&mut body)? {
            headers.push((nullable(&mut body)??, nullable(&mut body)?));
        }
        body.is_empty().then_some(Self { key, value, headers })
    }

    pub fn encode(&self, body: &mut Vec<u8>) {
        put_nullable(body, self.key.as_deref());
        put_nullable(body, self.value.as_deref());
        put_number(body, self.headers.len() as i32);
        for (key, value) in &self.headers {
            put_nullable(body, Some(key));
            put_nullable(body, value.as_deref());
        }
    }
}

/// Bytes with their length before them, -1 for null.
fn nullable<'a>(body: &mut &'a [u8]) -> Option<Option<Bytes<'a>>> {
    match number(body)? {
        -1 => Some(None),
        length => {
            let (bytes, rest) = body.split_at_checked(usize::try_from(length).ok()?)?;
            *body = rest;
            Some(Some(bytes.into()))
        }
    }
}

fn put_nullable(body: &mut Vec<u8>, bytes: Option<&[u8]>) {
    put_number(body, bytes.map_or(-1, |bytes| bytes.len() as i32));
    body.extend(bytes.unwrap_or_default());
}

/// Seven bits a byte, the lowest first, of 0, -1, 1, -2, 2 and so on counted from 0: protobuf's zigzag varint.
fn number(body: &mut &[u8]) -> Option<i32> {
    let mut counted = 0;
    for shift in [0, 7, 14, 21, 28] {
        let (byte, rest) = body.split_first()?;
        *body = rest;
        counted |= u32::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some((counted >> 1) as i32 ^ -((counted & 1) as i32));
        }
    }
    None
}

fn put_number(body: &mut Vec<u8>, number: i32) {
    let mut rest = ((number << 1) ^ (number >> 31)) as u32;
    while rest >= 0x80 {
        body.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    body.push(rest as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_decoded_is_encoded_as_it_was() {
        let long = [&[0x80, 0x02][..], &[b'v'; 128], &[4, 2, b'a', 1, 0, 0]].concat();
        for body in [&[1, 1, 0][..], &[1, 4, b'h', b'i', 0], &[&[2, b'k'], &long[..]].concat()] {
            let mut again = Vec::new();
            Record::decode(body).unwrap().encode(&mut again);
            assert_eq!(again, body);
            assert!((0..body.len()).all(|cut| Record::decode(&body[..cut]).is_none()));
        }
    }

    #[test]
    fn numbers_come_back() {
        for n in [0, -1, 1, 63, -64, 64, 300, i32::MAX, i32::MIN] {
            let mut bytes = Vec::new();
            put_number(&mut bytes, n);
            assert_eq!(number(&mut &bytes[..]), Some(n));
        }
    }
}
