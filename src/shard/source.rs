//! A shard's view of one source broker: one connection, one incremental fetch session (KIP-227), one fetch under way.
//!
//! The broker remembers which partitions the session reads and from where, so a request names only what changed, and ten
//! thousand quiet lanes cost nothing. A lane that is full is taken out of the session: that is the back-pressure.

use super::api::{ConnId, StartFrom};
use super::lane::{Batch, FetchFrom, Path};
use crate::conn::Conn;
use crate::wire::TopicKey;
use crate::wire::fetch::FetchWalk;
use bytes::Bytes;
use smallvec::SmallVec;
use std::collections::BTreeMap;

/// Index of a lane in its shard.
pub(super) type Slot = usize;

/// Fetch sessions end with these (FETCH_SESSION_ID_NOT_FOUND, INVALID_FETCH_SESSION_EPOCH, FETCH_SESSION_TOPIC_ID_ERROR).
pub(super) const SESSION_ERRORS: [i16; 3] = [70, 71, 106];

/// What a source connection waits for.
pub(super) enum Tag {
    Fetch,
    /// ListOffsets for lanes that have no position yet; the slot, and the lane's round.
    Locate(Vec<(Slot, u32)>),
}

pub(super) struct Source {
    pub(super) broker: i32,
    pub(super) path: Path,
    pub(super) conn_id: ConnId,
    pub(super) conn: Conn<Tag>,
    /// Partitions of this broker's answers → lanes. Keyed as the fetch version in use names topics.
    pub(super) lanes: BTreeMap<TopicKey, BTreeMap<i32, Slot>>,
    pub(super) walk: Option<Walk>,
    session: Session,
    /// Lanes whose part of the session may have to change.
    dirty: Vec<Slot>,
    pub(super) fetching: bool,
    /// Payload bytes that the fetch under way may bring.
    pub(super) reserved_bytes: usize,
}

/// Where a fetch answer stands while it streams in.
pub(super) struct Walk {
    pub(super) fetch: FetchWalk,
    /// Past the correlation id.
    pub(super) is_known: bool,
    pub(super) topic: Option<TopicKey>,
    /// The lane of the partition at hand, unless its data is of no use.
    pub(super) lane: Option<Slot>,
    pub(super) payload: Walking,
    pub(super) next_sent: bool,
}

/// What the next bytes of the stream are.
pub(super) enum Walking {
    Heads,
    /// An accepted batch's payload is being collected.
    Collect { slot: Slot, batch: Batch, ranges: SmallVec<[Bytes; 2]>, missing: usize },
    /// An accepted batch's payload goes straight to the connection.
    Splice { into: ConnId, missing: usize },
    /// A batch to be spliced waits until its lane may send.
    Wait { slot: Slot, batch: Batch },
    Drop { missing: usize },
}

#[derive(Default)]
struct Session {
    id: i32,
    /// 0 asks for a new session.
    epoch: i32,
    partitions: BTreeMap<Slot, FetchFrom>,
}

/// What changes in the session with the next request.
#[derive(Default)]
pub(super) struct Changes {
    pub(super) session_id: i32,
    pub(super) session_epoch: i32,
    pub(super) added: Vec<(Slot, FetchFrom)>,
    pub(super) forgotten: Vec<Slot>,
}

impl Source {
    pub(super) fn new(broker: i32, path: Path, conn_id: ConnId, conn: Conn<Tag>) -> Self {
        Self {
            broker,
            path,
            conn_id,
            conn,
            lanes: BTreeMap::new(),
            walk: None,
            session: Session::default(),
            dirty: Vec::new(),
            fetching: false,
            reserved_bytes: 0,
        }
    }

    /// The lane belongs here from now on, or what it wants has changed.
    pub(super) fn touch(&mut self, slot: Slot) {
        if self.dirty.last() != Some(&slot) {
            self.dirty.push(slot);
        }
    }

    pub(super) fn lane_of(&self, topic: &TopicKey, partition: i32) -> Option<Slot> {
        self.lanes.get(topic)?.get(&partition).copied()
    }

    /// What the fetch under way asked for this lane.
    pub(super) fn asked(&self, slot: Slot) -> Option<FetchFrom> {
        self.session.partitions.get(&slot).copied()
    }

    /// Whether a request would fetch anything, `wanted` telling what each lane wants by now. Sessions before version 7 do not
    /// exist: then every request is a whole one.
    pub(super) fn changes(&mut self, has_sessions: bool, wanted: impl Fn(Slot) -> Option<FetchFrom>) -> Option<Changes> {
        let mut changes = Changes::default();
        let whole = self.session.epoch == 0 || !has_sessions;
        if whole {
            self.dirty.extend(self.session.partitions.keys());
            self.dirty.extend(self.lanes.values().flat_map(BTreeMap::values));
            self.session.partitions.clear();
        }
        self.dirty.sort_unstable();
        self.dirty.dedup();
        let before = self.session.partitions.len();
        let mut removed = 0;
        let mut inserted = 0;
        for &slot in &self.dirty {
            match (wanted(slot), self.session.partitions.get(&slot)) {
                (Some(now), before) if before != Some(&now) => {
                    inserted += usize::from(before.is_none());
                    changes.added.push((slot, now));
                }
                (None, Some(_)) => {
                    removed += 1;
                    changes.forgotten.push(slot);
                }
                _ => {}
            }
        }
        if before + inserted == removed {
            // Nothing to fetch. The session is brought up to date when there is.
            return None;
        }
        self.dirty.clear();
        for &(slot, from) in &changes.added {
            self.session.partitions.insert(slot, from);
        }
        for slot in &changes.forgotten {
            self.session.partitions.remove(slot);
        }
        changes.session_id = if has_sessions { self.session.id } else { 0 };
        changes.session_epoch = if has_sessions { self.session.epoch } else { -1 };
        Some(changes)
    }

    /// The answer to the last request carries this session id; 0: the broker keeps no session.
    pub(super) fn handle_session(&mut self, session_id: i32) {
        if session_id == 0 {
            self.session.id = 0;
            self.session.epoch = 0;
        } else {
            self.session.id = session_id;
            // Epochs go from i32::MAX to 1: 0 would begin a new session.
            self.session.epoch = if self.session.epoch == i32::MAX { 1 } else { self.session.epoch + 1 };
        }
    }

    /// The broker has forgotten the session: begin a new one.
    pub(super) fn reset_session(&mut self) {
        self.session.id = 0;
        self.session.epoch = 0;
    }

    /// The lane is gone from this broker.
    pub(super) fn remove(&mut self, topic: &TopicKey, partition: i32) {
        if let Some(partitions) = self.lanes.get_mut(topic) {
            if let Some(slot) = partitions.remove(&partition) {
                self.touch(slot);
            }
            if partitions.is_empty() {
                self.lanes.remove(topic);
            }
        }
    }
}

/// ListOffsets' word for a start (`ListOffsetsRequest.EARLIEST_TIMESTAMP`, `LATEST_TIMESTAMP`, or a time).
pub(super) fn list_offsets_timestamp(from: StartFrom) -> i64 {
    match from {
        StartFrom::Earliest => -2,
        StartFrom::Latest => -1,
        StartFrom::TimestampMs(timestamp_ms) => timestamp_ms,
    }
}
