//! A shard's view of one target broker: one connection, Produce requests in flight, and the questions of lanes in doubt.
//!
//! A request packs one batch of every lane that may send (a broker takes one batch per partition and request): that costs the
//! target broker far less than one request per batch. A lane stays with one sink, so its batches arrive in order.

use super::api::ConnId;
use super::lane::Path;
use super::source::Slot;
use super::timing::Departures;
use crate::conn::Conn;
use std::collections::BTreeSet;

/// What a target connection waits for. A slot goes with the lane's round: answers to an older round are not listened to.
pub(super) enum Tag {
    Produce(Request),
    /// ListOffsets, latest: the high watermark, leader-checked.
    HighWatermarks(Vec<(Slot, u32)>),
    /// DescribeProducers: which sequence the broker remembers of us.
    Producers(Vec<(Slot, u32)>),
    /// OffsetForLeaderEpoch: the log end, leader-checked.
    LogEnds(Vec<(Slot, u32)>),
    /// WriteTxnMarkers: control records in gaps.
    Fill(Vec<(Slot, u32)>),
    /// Fetch of the last batch's header.
    Tail(Slot, u32),
}

/// One Produce request: the lanes of its batches, in the order of the request.
pub(super) struct Request {
    pub(super) slots: Vec<Slot>,
    pub(super) bytes: usize,
    pub(super) version: i16,
    /// The answer is at least this long.
    pub(super) answer_bytes: usize,
}

pub(super) struct Sink {
    pub(super) path: Path,
    pub(super) conn_id: ConnId,
    pub(super) conn: Conn<Tag>,
    /// Lanes that produce through this connection.
    pub(super) lanes: BTreeSet<Slot>,
    /// Those of them that may have a batch to send.
    pub(super) ready: Vec<Slot>,
    /// A lane's topic has no id: use a version that names topics.
    pub(super) names_only: bool,
    pub(super) requests_in_flight: usize,
    pub(super) bytes_in_flight: usize,
    /// The last batch of one lane is being asked for: one at a time, because the answer brings a whole batch.
    pub(super) tail_asked: bool,
    /// When the requests in flight left, while that is recorded.
    pub(super) departures: Departures,
    /// Requests whose lists serve again, so that a batch costs no allocation.
    spare: Vec<Vec<Slot>>,
}

impl Sink {
    pub(super) fn new(path: Path, conn_id: ConnId, conn: Conn<Tag>) -> Self {
        Self {
            path,
            conn_id,
            conn,
            lanes: BTreeSet::new(),
            ready: Vec::new(),
            names_only: false,
            requests_in_flight: 0,
            bytes_in_flight: 0,
            tail_asked: false,
            departures: Departures::default(),
            spare: Vec::new(),
        }
    }

    pub(super) fn begin_request(&mut self, version: i16) -> Request {
        Request { slots: self.spare.pop().unwrap_or_default(), bytes: 0, version, answer_bytes: 0 }
    }

    pub(super) fn handle_sent(&mut self, request: &Request) {
        self.requests_in_flight += 1;
        self.bytes_in_flight += request.bytes;
    }

    pub(super) fn handle_answered(&mut self, mut request: Request) {
        self.requests_in_flight -= 1;
        self.bytes_in_flight -= request.bytes;
        request.slots.clear();
        self.spare.push(request.slots);
    }
}
