//! Bytes of the Kafka protocol. What the data plane touches (Fetch answers, Produce requests, batch headers) is written by
//! hand and never copies a payload; every other API goes through the crate `kafka-protocol` ([`control`]), but for what
//! brokers before Kafka 0.11 speak ([`legacy`]).

pub mod batch;
pub mod codec;
pub mod control;
pub mod crc;
#[cfg(target_arch = "x86_64")]
mod crc_x86;
pub mod cursor;
pub mod fetch;
mod fetch_request;
pub mod frame;
pub mod legacy;
pub mod mirrormaker;
pub mod produce;
pub mod rebuild;
pub mod seed;
pub mod versions;

#[cfg(test)]
pub(crate) mod oracle;

use bytes::{BufMut, Bytes, BytesMut};
use std::borrow::Cow;
use uuid::Uuid;

/// How a request or an answer names a topic: by id since Fetch v13 and Produce v13 (KIP-516), by name before.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TopicKey {
    /// The name's bytes as they were on the wire, not checked to be UTF-8.
    Name(Bytes),
    Id(Uuid),
}

impl TopicKey {
    /// Bytes that the key takes on the wire, its length included.
    fn wire_bytes(&self, flexible: bool) -> usize {
        match self {
            Self::Name(name) => cursor::string_bytes(name.len(), flexible),
            Self::Id(_) => 16,
        }
    }

    fn put(&self, out: &mut BytesMut, flexible: bool) {
        match self {
            Self::Name(name) => cursor::put_string(out, name, flexible),
            Self::Id(id) => out.put_slice(id.as_bytes()),
        }
    }

    fn is_id(&self) -> bool {
        matches!(self, Self::Id(_))
    }
}

/// Bytes that are not what the Kafka protocol says should be there. The connection they came from has lost its place and
/// can only be closed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{frame}: {what} (at byte {at}); close the connection and ask again")]
pub struct BadFrame {
    /// Which message was being read.
    pub frame: Cow<'static, str>,
    pub what: Cow<'static, str>,
    /// Bytes of the frame that had been read, size prefix not counted.
    pub at: usize,
}

impl BadFrame {
    pub(crate) fn new(
        frame: impl Into<Cow<'static, str>>,
        what: impl Into<Cow<'static, str>>,
        at: usize,
    ) -> Self {
        Self { frame: frame.into(), what: what.into(), at }
    }
}
