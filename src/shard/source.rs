//! A shard's view of one source broker: one connection, one incremental fetch session (KIP-227), one fetch under way.
//!
//! The broker remembers which partitions the session reads and from where, so a request names only what changed, and ten
//! thousand quiet lanes cost nothing. A lane that is full is taken out of the session: that is the back-pressure.

use super::api::ConnId;
use super::lane::{Batch, FetchFrom, Path};
use super::window::Window;
use crate::config::StartFrom;
use crate::conn::Conn;
use crate::wire::TopicKey;
use crate::wire::batch::BatchHeader;
use crate::wire::fetch::FetchWalk;
use crate::wire::rebuild::Batches;
use bytes::Bytes;
use smallvec::SmallVec;
use std::collections::{BTreeMap, BTreeSet};

/// Index of a lane in its shard.
pub(super) type Slot = usize;

/// The list of changed lanes is thinned out beyond this length, and some for every lane.
const DIRTY_MAX: usize = 1024;
/// The reading of no lane.
const NOBODYS: u32 = u32::MAX;

/// What a source connection waits for.
pub(super) enum Tag {
    /// Fetch of that version, which may bring so many bytes.
    Fetch {
        version: i16,
        bytes: usize,
    },
    /// ListOffsets for lanes that have no position yet; the slot, and the lane's round.
    Locate(Vec<(Slot, u32)>),
    /// ListOffsets, earliest and then latest, for lanes whose position is not in the source's log.
    LogStarts(Vec<(Slot, u32)>),
    LogEnds(Vec<(Slot, u32)>),
}

pub(super) struct Source {
    pub(super) path: Path,
    pub(super) conn_id: ConnId,
    pub(super) conn: Conn<Tag>,
    /// Partitions of this broker's answers → lanes, by name and by id, whichever the version in use has.
    lanes: BTreeMap<TopicKey, BTreeMap<i32, Slot>>,
    slots: BTreeSet<Slot>,
    /// A lane's topic has no id: use a version that names topics.
    pub(super) names_only: bool,
    pub(super) walk: Option<Walk>,
    /// Read from the socket and left with the driver: the beginning of something.
    pub(super) unread_bytes: usize,
    session: Session,
    /// Lanes that went and are in the session still: the partition's topic, by name and by id, its number, and the lane.
    gone: Vec<(TopicKey, TopicKey, i32, Slot)>,
    /// Lanes whose part of the session may have to change.
    dirty: Vec<Slot>,
    /// Where the next request begins that does not ask for all.
    pub(super) turn: usize,
    /// Fetches sent whose answers are not walked to their end: two only while the first one's last payload comes in.
    pub(super) fetches: usize,
    /// Bytes that they may bring.
    pub(super) reserved_bytes: usize,
    pub(super) window: Window,
}

/// Where a fetch answer stands while it streams in.
pub(super) struct Walk {
    pub(super) fetch: FetchWalk,
    pub(super) topic: Option<TopicKey>,
    /// Bytes that the fetch reserved.
    pub(super) bytes: usize,
    /// Bytes of the answer.
    pub(super) came_bytes: usize,
    /// The broker kept it back for a quota.
    pub(super) was_held: bool,
    /// The lane of the partition at hand and the reading it was fetched for, unless its data is of no use.
    pub(super) lane: Option<(Slot, u32)>,
    /// Whether the partition at hand ended in something that was not whole.
    pub(super) is_cut: bool,
    /// Messages of old formats, whole ones but for the last, to be converted for the lane.
    pub(super) messages: Vec<u8>,
    /// Batches that were taken apart, to be put together anew for the lane.
    pub(super) gathered: Option<Gathered>,
    /// So many batches or messages of the partition at hand came whole.
    pub(super) batches: u32,
    pub(super) payload: Walking,
}

/// Source batches that follow each other, taken apart.
pub(super) struct Gathered {
    pub(super) batches: Batches,
    pub(super) next_offset: i64,
    pub(super) source_epoch: i32,
    pub(super) count: u64,
}

/// What the next bytes of the stream are.
pub(super) enum Walking {
    Heads,
    /// An accepted batch's payload is being collected.
    Collect {
        slot: Slot,
        batch: Batch,
        ranges: SmallVec<[Bytes; 2]>,
        missing: usize,
    },
    /// The payload of a batch that is taken apart is being collected.
    Open {
        slot: Slot,
        header: BatchHeader,
        ranges: SmallVec<[Bytes; 2]>,
        missing: usize,
    },
    /// A message of an old format is being collected.
    Message {
        missing: usize,
    },
    /// An accepted batch's payload goes straight to the connection.
    Splice {
        into: ConnId,
        missing: usize,
    },
    /// A batch to be spliced waits until its lane may send.
    Wait {
        slot: Slot,
        batch: Batch,
    },
    Drop {
        missing: usize,
    },
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
    pub(super) fn new(path: Path, conn_id: ConnId, conn: Conn<Tag>, window: Window) -> Self {
        Self {
            path,
            conn_id,
            conn,
            lanes: BTreeMap::new(),
            slots: BTreeSet::new(),
            names_only: false,
            walk: None,
            unread_bytes: 0,
            session: Session::default(),
            gone: Vec::new(),
            dirty: Vec::new(),
            turn: 0,
            fetches: 0,
            reserved_bytes: 0,
            window,
        }
    }

    /// The lane belongs here from now on, or what it wants has changed.
    pub(super) fn touch(&mut self, slot: Slot) {
        if self.dirty.last() != Some(&slot) {
            self.dirty.push(slot);
        }
        if self.dirty.len() > DIRTY_MAX + 4 * self.slots.len() {
            self.dirty.sort_unstable();
            self.dirty.dedup();
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
    pub(super) fn changes(
        &mut self,
        has_sessions: bool,
        wanted: impl Fn(Slot) -> Option<FetchFrom>,
    ) -> Option<Changes> {
        let mut changes = Changes::default();
        let whole = self.session.epoch == 0 || !has_sessions;
        if whole {
            self.dirty.extend(self.session.partitions.keys());
            self.dirty.extend(&self.slots);
            self.session.partitions.clear();
        }
        self.dirty.sort_unstable();
        self.dirty.dedup();
        let before = self.session.partitions.len();
        let mut removed = 0;
        let mut inserted = 0;
        for &slot in &self.dirty {
            let now = if self.slots.contains(&slot) { wanted(slot) } else { None };
            match (now, self.session.partitions.get(&slot)) {
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
        self.gone.clear();
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

    /// The lane is read here from now on.
    pub(super) fn insert(&mut self, name: TopicKey, id: TopicKey, partition: i32, slot: Slot) {
        // Brokers forget after they add: a lane that takes another's place takes over its part of the session.
        let place = self
            .gone
            .iter()
            .position(|(one, other, number, _)| (one, other, *number) == (&name, &id, partition));
        if let Some((.., before)) = place.map(|at| self.gone.swap_remove(at))
            && let Some(from) = self.session.partitions.remove(&before)
        {
            // What is under way was asked for where the other one stood, which means nothing to this one.
            self.session.partitions.insert(slot, FetchFrom { reading: NOBODYS, ..from });
        }
        for topic in [name, id] {
            self.lanes.entry(topic).or_default().insert(partition, slot);
        }
        self.slots.insert(slot);
        self.touch(slot);
    }

    /// The lane is read elsewhere from now on.
    pub(super) fn remove(&mut self, name: &TopicKey, id: &TopicKey, partition: i32, slot: Slot) {
        for topic in [name, id] {
            if let Some(partitions) = self.lanes.get_mut(topic) {
                partitions.remove(&partition);
                if partitions.is_empty() {
                    self.lanes.remove(topic);
                }
            }
        }
        self.slots.remove(&slot);
        if self.session.partitions.contains_key(&slot) {
            self.gone.push((name.clone(), id.clone(), partition, slot));
        }
        self.touch(slot);
    }

    pub(super) fn slots(&self) -> impl Iterator<Item = Slot> {
        self.slots.iter().copied()
    }

    pub(super) fn lane_count(&self) -> usize {
        self.slots.len()
    }

    /// Whether an accepted batch of this lane is not whole yet.
    pub(super) fn is_collecting(&self, slot: Slot) -> bool {
        match self.walk.as_ref().map(|walk| &walk.payload) {
            Some(Walking::Collect { slot: collecting, .. } | Walking::Wait { slot: collecting, .. }) => {
                *collecting == slot
            }
            _ => false,
        }
    }

    /// Whether the answer that is coming in has more for this lane, or may have.
    pub(super) fn is_walking(&self, slot: Slot) -> bool {
        self.walk.as_ref().and_then(|walk| walk.lane).is_some_and(|(walked, _)| walked == slot)
    }

    pub(super) fn collecting_bytes(&self) -> usize {
        let gathered =
            |walk: &Walk| walk.gathered.as_ref().map_or(0, |gathered| gathered.batches.open_bytes());
        let waiting = self.walk.as_ref().map_or(0, |walk| walk.messages.len() + gathered(walk));
        waiting + self.collecting_payload_bytes()
    }

    fn collecting_payload_bytes(&self) -> usize {
        match self.walk.as_ref().map(|walk| &walk.payload) {
            Some(Walking::Collect { batch, missing, .. }) => batch.header.payload_bytes() - missing,
            Some(Walking::Open { header, missing, .. }) => header.payload_bytes() - missing,
            _ => 0,
        }
    }

    /// The target connection that waits for the rest of a payload from here.
    pub(super) fn splicing_into(&self) -> Option<ConnId> {
        match self.walk.as_ref().map(|walk| &walk.payload) {
            Some(Walking::Splice { into, .. }) => Some(*into),
            _ => None,
        }
    }

    /// In the middle of an answer, with more batches to come.
    pub(super) fn is_mid_answer(&self) -> bool {
        self.walk.as_ref().is_some_and(|walk| walk.fetch.frame_remaining() > 0)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Now;
    use uuid::Uuid;

    fn from(offset: i64) -> FetchFrom {
        FetchFrom { offset, epoch: 0, leader_epoch: 0, reading: 0 }
    }

    fn keys(id: u128) -> (TopicKey, TopicKey) {
        (TopicKey::Name(Bytes::from_static(b"t")), TopicKey::Id(Uuid::from_u128(id)))
    }

    fn source() -> Source {
        let conn = Conn::new(Now::default(), "test".into(), 1_000, false);
        let mut source = Source::new(Path::Copy, ConnId(0), conn, Window::new(1 << 20));
        for (partition, slot) in [(0, 1), (1, 2)] {
            let (name, id) = keys(7);
            source.insert(name, id, partition, slot);
        }
        let changes = source.changes(true, |_| Some(from(0))).unwrap();
        assert_eq!((changes.added.len(), changes.forgotten.len()), (2, 0));
        source.handle_session(5);
        source
    }

    /// Named in one request as new and as to be forgotten, a partition would be forgotten, and never read again.
    #[test]
    fn a_lane_that_takes_anothers_place_is_not_forgotten() {
        let mut source = source();
        let (name, id) = keys(7);
        source.remove(&name, &id, 0, 1);
        source.insert(name, id, 0, 3);
        let asked = source.asked(3).map(|asked| asked.reading);
        assert_ne!(asked, Some(from(0).reading), "the answer under way is none of its");
        let changes = source.changes(true, |slot| Some(from(if slot == 3 { 9 } else { 0 }))).unwrap();
        assert_eq!((changes.added, changes.forgotten), (vec![(3, from(9))], vec![]));
        assert_eq!((source.asked(1), source.asked(3)), (None, Some(from(9))));
    }

    #[test]
    fn a_topic_that_was_made_anew_is_another_one() {
        let mut source = source();
        let (name, id) = keys(7);
        source.remove(&name, &id, 0, 1);
        let (name, id) = keys(8);
        source.insert(name, id, 0, 3);
        let changes = source.changes(true, |_| Some(from(0))).unwrap();
        assert_eq!((changes.added, changes.forgotten), (vec![(3, from(0))], vec![1]));
    }
}
