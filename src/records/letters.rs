//! Dead letters: what a mirror could not bring over, as records of a topic for somebody to look at.

use super::parts::{Parts, put_bytes};
use crate::wire::batch::BatchHeader;
use crate::wire::codec::BadRecords;
use crate::wire::rebuild::{Batches, Holes, Packing, Record, put_zigzag};
use bytes::{BufMut, Bytes, BytesMut};

/// Codec 0.
const NONE: u8 = 0;

/// A record of the source that is not mirrored, or a batch of which not even the records can be told.
#[derive(Clone, PartialEq, Eq)]
pub struct Letter {
    pub offset: i64,
    /// Of a batch: the last offset that it has.
    pub last_offset: Option<i64>,
    /// The record's time, or the batch's first; milliseconds since 1970, -1 where there is none.
    pub timestamp_ms: i64,
    /// A line for the operator, with nothing of the record's contents.
    pub reason: String,
    key: Option<Bytes>,
    value: Option<Bytes>,
    /// How many of the record's own there are, and these as a record holds them.
    header_count: usize,
    headers: Bytes,
}

/// Contents are nobody's business who reads a log.
impl std::fmt::Debug for Letter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { offset, last_offset, reason, .. } = self;
        write!(f, "Letter {{ {offset}..={}, {reason} }}", last_offset.unwrap_or(*offset))
    }
}

/// Where letters come from.
#[derive(Clone, Copy, Debug)]
pub struct Sender<'a> {
    pub link: &'a str,
    /// By the source's name.
    pub topic: &'a str,
    pub partition: i32,
}

/// How much of a letter goes into the topic, where it does not take all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    Whole,
    WithoutValue,
    /// Nothing but what says where it comes from.
    Address,
}

impl Extent {
    /// The next smaller one.
    pub fn less(self) -> Option<Self> {
        match self {
            Self::Whole => Some(Self::WithoutValue),
            Self::WithoutValue => Some(Self::Address),
            Self::Address => None,
        }
    }
}

impl Letter {
    /// Of a record. Its key and its value come along if they have no more bytes than `bytes_max` each, the value if `has_value`. A
    /// body in which no key and no value can be told is a value as a whole.
    pub fn of_record(record: &Record<'_>, reason: String, has_value: bool, bytes_max: usize) -> Self {
        let fits = |part: &&[u8]| part.len() <= bytes_max;
        let is_value = |value: &&[u8]| has_value && fits(value);
        let copy = |bytes: Option<&[u8]>| bytes.map(Bytes::copy_from_slice);
        let (key, value, header_count, headers) = match Parts::read(record.body) {
            Ok(parts) => {
                let (count, headers) = parts.headers.raw();
                (copy(parts.key.filter(fits)), copy(parts.value.filter(is_value)), count, headers)
            }
            Err(_) => (None, copy(Some(record.body).filter(is_value)), 0, &[][..]),
        };
        Self {
            offset: record.offset,
            last_offset: None,
            timestamp_ms: record.timestamp_ms,
            reason,
            key,
            value,
            header_count,
            headers: Bytes::copy_from_slice(headers),
        }
    }

    /// Of a whole batch, with its payload as it is, if it has no more bytes than that.
    pub fn of_batch(header: &BatchHeader, payload: &[u8], reason: String, value_bytes_max: usize) -> Self {
        let value = Some(payload).filter(|payload| payload.len() <= value_bytes_max);
        Self {
            offset: header.base_offset,
            last_offset: Some(header.last_offset()),
            timestamp_ms: header.base_timestamp_ms,
            reason,
            key: None,
            value: value.map(Bytes::copy_from_slice),
            header_count: 0,
            headers: Bytes::new(),
        }
    }

    /// The first offset that it is about, and the one behind the last.
    pub fn range(&self) -> (i64, i64) {
        (self.offset, self.last_offset.unwrap_or(self.offset) + 1)
    }

    /// What it holds in memory, about.
    pub fn bytes(&self) -> usize {
        let length = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
        size_of::<Self>() + length(&self.key) + length(&self.value) + self.headers.len() + self.reason.len()
    }

    /// The body of the record that it becomes. What the record had by the same names comes before ours.
    fn body(&self, sender: Sender<'_>, extent: Extent) -> Vec<u8> {
        let ours = [
            ("twinlog.link", Some(sender.link.to_owned())),
            ("twinlog.topic", Some(sender.topic.to_owned())),
            ("twinlog.partition", Some(sender.partition.to_string())),
            ("twinlog.offset", Some(self.offset.to_string())),
            ("twinlog.last-offset", self.last_offset.map(|last| last.to_string())),
            ("twinlog.timestamp_ms", Some(self.timestamp_ms.to_string())),
            ("twinlog.reason", Some(self.reason.clone())),
        ];
        let ours: Vec<(&str, String)> =
            ours.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
        let has_value = extent == Extent::Whole;
        let has_key = extent != Extent::Address;
        let mut body = Vec::new();
        put_bytes(&mut body, self.key.as_deref().filter(|_| has_key));
        put_bytes(&mut body, self.value.as_deref().filter(|_| has_value));
        let theirs = if has_key { self.header_count } else { 0 };
        put_zigzag(&mut body, (theirs + ours.len()) as i64);
        if has_key {
            body.extend(&self.headers);
        }
        for (name, value) in ours {
            put_bytes(&mut body, Some(name.as_bytes()));
            put_bytes(&mut body, Some(value.as_bytes()));
        }
        body
    }
}

/// The letters as a record batch without a producer. Their own times stand in a header: the topic's retention counts from now.
///
/// # Errors
/// They are too large for a batch.
pub fn batch(
    letters: &[Letter],
    sender: Sender<'_>,
    extent: Extent,
    now_ms: i64,
) -> Result<Bytes, BadRecords> {
    let mut batches = Batches::new(Packing::apart(Holes::Close));
    for (offset, letter) in (0..).zip(letters) {
        let body = letter.body(sender, extent);
        let record = Record { offset, attributes: 0, timestamp_ms: now_ms, body: &body };
        batches.push(NONE, &record, None)?;
    }
    let mut bytes = BytesMut::new();
    for rebuilt in batches.finish()? {
        bytes.put_slice(&rebuilt.header.to_raw());
        bytes.put_slice(&rebuilt.payload);
    }
    Ok(bytes.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;
    use kafka_protocol::records::{Record as Decoded, RecordBatchDecoder};

    const SENDER: Sender<'_> = Sender { link: "east-west", topic: "orders", partition: 3 };

    fn decode(letters: &[Letter], extent: Extent) -> Vec<Decoded> {
        let mut bytes = batch(letters, SENDER, extent, 5_000).unwrap();
        RecordBatchDecoder::decode(&mut bytes).unwrap().records
    }

    fn header<'a>(record: &'a Decoded, name: &str) -> Option<&'a str> {
        let value = record.headers.iter().rfind(|(key, _)| key.as_str() == name)?.1.as_ref()?;
        std::str::from_utf8(value).ok()
    }

    fn record() -> Vec<u8> {
        let mut body = Vec::new();
        put_bytes(&mut body, Some(b"key"));
        put_bytes(&mut body, Some(b"value"));
        put_zigzag(&mut body, 1);
        put_bytes(&mut body, Some(b"trace"));
        put_bytes(&mut body, None);
        body
    }

    #[test]
    fn a_record_is_itself_with_where_it_comes_from() {
        let body = record();
        let record = Record { offset: 17, attributes: 0, timestamp_ms: 1_234, body: &body };
        let letter = Letter::of_record(&record, "because".into(), true, 100);
        let decoded = &decode(&[letter.clone(), letter.clone()], Extent::Whole)[1];
        assert_eq!(
            (decoded.key.as_deref(), decoded.value.as_deref()),
            (Some(&b"key"[..]), Some(&b"value"[..]))
        );
        assert_eq!(decoded.timestamp, 5_000, "old records would not be kept");
        let named = ["link", "topic", "partition", "offset", "timestamp_ms", "reason"];
        let said = named.map(|name| header(decoded, &format!("twinlog.{name}")).unwrap());
        assert_eq!(said, ["east-west", "orders", "3", "17", "1234", "because"]);
        assert_eq!(header(decoded, "twinlog.last-offset"), None);
        assert!(decoded.headers.iter().any(|(name, value)| name.as_str() == "trace" && value.is_none()));

        let small = &decode(std::slice::from_ref(&letter), Extent::WithoutValue)[0];
        assert_eq!((small.key.as_deref(), &small.value, small.headers.len()), (Some(&b"key"[..]), &None, 7));
        let bare = &decode(std::slice::from_ref(&letter), Extent::Address)[0];
        assert_eq!((&bare.key, &bare.value, bare.headers.len()), (&None, &None, 6));
        assert!(!format!("{letter:?}").contains("value"), "contents are not shown");
        assert_eq!(Letter::of_record(&record, String::new(), true, 4).value, None);
        let keyed = Letter::of_record(&record, String::new(), false, 100);
        assert!(keyed.value.is_none() && keyed.key.is_some());
    }

    #[test]
    fn what_is_no_record_is_a_value() {
        let record = Record { offset: 1, attributes: 0, timestamp_ms: -1, body: &[0x7f, 1] };
        let letter = Letter::of_record(&record, "damaged".into(), true, 100);
        let decoded = &decode(&[letter], Extent::Whole)[0];
        assert_eq!((decoded.key.as_deref(), decoded.value.as_deref()), (None, Some(&[0x7f, 1][..])));
    }

    #[test]
    fn a_batch_is_its_payload_and_says_where_it_ends() {
        let mut batches = Batches::new(Packing::apart(Holes::Close));
        let body = record();
        for offset in 0..3 {
            let record = Record { offset, attributes: 0, timestamp_ms: 7, body: &body };
            batches.push(NONE, &record, None).unwrap();
        }
        let mut header_of = batches.finish().unwrap().remove(0).header;
        header_of.base_offset = 40;
        let letter = Letter::of_batch(&header_of, b"payload", "checksum".into(), 100);
        assert_eq!(letter.range(), (40, 43));
        let decoded = &decode(&[letter], Extent::Whole)[0];
        assert_eq!(decoded.value.as_deref(), Some(&b"payload"[..]));
        assert_eq!(
            (header(decoded, "twinlog.offset"), header(decoded, "twinlog.last-offset")),
            (Some("40"), Some("42"))
        );
        assert_eq!(Letter::of_batch(&header_of, b"payload", String::new(), 6).value, None);
    }
}
