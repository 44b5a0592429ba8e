//! Answers as they go to a socket: small framing, and payloads as shared slices between.

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::{ApiKey, ResponseHeader};
use kafka_protocol::protocol::Encodable;
use std::collections::VecDeque;

/// A payload below this size is copied into the framing: a slice of its own would cost more.
const COPIED_BELOW_BYTES: usize = 1024;

/// One answer with its size prefix, to be sent in order.
#[derive(Clone, Debug, Default)]
pub struct Response {
    pub parts: VecDeque<Bytes>,
}

impl Response {
    /// Encodes an answer. None when the message cannot be expressed in that version, which is a defect of the handler.
    pub fn encode(api: ApiKey, version: i16, correlation_id: i32, body: &impl Encodable) -> Option<Self> {
        let header = ResponseHeader::default().with_correlation_id(correlation_id);
        let mut frame = BytesMut::with_capacity(256);
        frame.put_i32(0);
        header.encode(&mut frame, api.response_header_version(version)).ok()?;
        body.encode(&mut frame, version).ok()?;
        let length = i32::try_from(frame.len() - 4).ok()?;
        frame[0..4].copy_from_slice(&length.to_be_bytes());
        Some(Self { parts: VecDeque::from([frame.freeze()]) })
    }

    pub fn len_bytes(&self) -> usize {
        self.parts.iter().map(Bytes::len).sum()
    }

    /// All in one piece; for tests and for drivers that do not care.
    pub fn to_bytes(&self) -> Bytes {
        let mut whole = BytesMut::with_capacity(self.len_bytes());
        self.parts.iter().for_each(|part| whole.extend_from_slice(part));
        whole.freeze()
    }
}

/// Writes an answer piece by piece; the size prefix comes last.
#[derive(Debug)]
pub struct FrameWriter {
    pub framing: BytesMut,
    parts: VecDeque<Bytes>,
}

impl FrameWriter {
    /// Begins with the response header: version 1 when `flexible`, else version 0.
    pub fn new(correlation_id: i32, flexible: bool) -> Self {
        let mut framing = BytesMut::with_capacity(512);
        framing.put_i32(correlation_id);
        if flexible {
            framing.put_u8(0);
        }
        Self { framing, parts: VecDeque::new() }
    }

    /// Appends a payload, shared unless it is small.
    pub fn put_payload(&mut self, payload: &Bytes) {
        if payload.len() < COPIED_BELOW_BYTES {
            self.framing.extend_from_slice(payload);
        } else {
            self.parts.push_back(self.framing.split().freeze());
            self.parts.push_back(payload.clone());
        }
    }

    pub fn finish(mut self) -> Response {
        if !self.framing.is_empty() {
            self.parts.push_back(self.framing.freeze());
        }
        let length: usize = self.parts.iter().map(Bytes::len).sum();
        let prefix = u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
        self.parts.push_front(Bytes::copy_from_slice(&prefix));
        Response { parts: self.parts }
    }
}
