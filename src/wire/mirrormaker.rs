//! The records that MirrorMaker 2 keeps for its client library: checkpoints and heartbeats, as Kafka's
//! `org.apache.kafka.connect.mirror.Checkpoint` and `Heartbeat` write them, version 0.
//!
//! Numbers are big-endian; a STRING is its length in two bytes, and UTF-8 (Kafka's `Type.STRING`). A value begins with the version,
//! a key has none.

use bytes::{BufMut, Bytes, BytesMut};

const VERSION: i16 = 0;

/// Where a consumer group of the source stands, and what that is on the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkpoint<'a> {
    pub group: &'a str,
    /// What the target calls the topic.
    pub topic: &'a str,
    pub partition: i32,
    /// What the group committed on the source.
    pub upstream_offset: i64,
    /// What that is on the target.
    pub downstream_offset: i64,
    /// What the consumer put beside its offset. It is left out if it is too long for the format (32,767 bytes).
    pub metadata: &'a str,
}

impl Checkpoint<'_> {
    /// Key and value of its record. None: a name is longer than the format allows, which Kafka's names are not.
    pub fn record(&self) -> Option<(Bytes, Bytes)> {
        let mut key = BytesMut::new();
        put_string(&mut key, self.group)?;
        put_string(&mut key, self.topic)?;
        key.put_i32(self.partition);
        let mut value = BytesMut::new();
        value.put_i16(VERSION);
        value.put_i64(self.upstream_offset);
        value.put_i64(self.downstream_offset);
        put_string(&mut value, self.metadata).or_else(|| put_string(&mut value, ""))?;
        Some((key.freeze(), value.freeze()))
    }
}

/// A sign of life of the flow between two clusters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heartbeat<'a> {
    pub source_alias: &'a str,
    pub target_alias: &'a str,
    /// When it was sent, since 1970.
    pub timestamp_ms: i64,
}

impl Heartbeat<'_> {
    /// Key and value of its record. None: an alias is longer than the format allows.
    pub fn record(&self) -> Option<(Bytes, Bytes)> {
        let mut key = BytesMut::new();
        put_string(&mut key, self.source_alias)?;
        put_string(&mut key, self.target_alias)?;
        let mut value = BytesMut::new();
        value.put_i16(VERSION);
        value.put_i64(self.timestamp_ms);
        Some((key.freeze(), value.freeze()))
    }
}

/// None, and nothing is put: the text is too long.
fn put_string(out: &mut BytesMut, text: &str) -> Option<()> {
    out.put_i16(i16::try_from(text.len()).ok()?);
    out.put_slice(text.as_bytes());
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &Bytes) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// `recordKey()` and `recordValue()` of Kafka 4.3.1's `Checkpoint`.
    #[test]
    fn checkpoints_have_kafkas_bytes() {
        let checkpoint = Checkpoint {
            group: "billing",
            topic: "east.orders",
            partition: 3,
            upstream_offset: 81_230,
            downstream_offset: 79_114,
            metadata: "mé",
        };
        let (key, value) = checkpoint.record().unwrap();
        assert_eq!(hex(&key), "000762696c6c696e67000b656173742e6f726465727300000003");
        assert_eq!(hex(&value), "00000000000000013d4e000000000001350a00036dc3a9");
        let begin = Checkpoint {
            group: "g",
            topic: "t",
            partition: 0,
            upstream_offset: 0,
            downstream_offset: 0,
            metadata: "",
        };
        let (key, value) = begin.record().unwrap();
        assert_eq!(hex(&key), "00016700017400000000");
        assert_eq!(hex(&value), "0000000000000000000000000000000000000000");
    }

    /// The same of its `Heartbeat`.
    #[test]
    fn heartbeats_have_kafkas_bytes() {
        let heartbeat =
            Heartbeat { source_alias: "east", target_alias: "west", timestamp_ms: 1_700_000_000_123 };
        let (key, value) = heartbeat.record().unwrap();
        assert_eq!(hex(&key), "000465617374000477657374");
        assert_eq!(hex(&value), "00000000018bcfe5687b");
    }

    #[test]
    fn what_is_too_long_for_the_format_is_left_out() {
        let long = "x".repeat(40_000);
        let with = |group, metadata| Checkpoint {
            group,
            topic: "t",
            partition: 0,
            upstream_offset: 1,
            downstream_offset: 1,
            metadata,
        };
        let (_, value) = with("g", &long).record().unwrap();
        assert_eq!(value, with("g", "").record().unwrap().1);
        assert_eq!(with(&long, "").record(), None);
        assert_eq!(Heartbeat { source_alias: &long, target_alias: "", timestamp_ms: 0 }.record(), None);
    }
}
