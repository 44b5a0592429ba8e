//! From a source broker's answer to accepted batches, and the next fetch.

use super::api::{ConnId, Event, Side, StopKind, Want};
use super::lane::{FetchFrom, Path, Verdict};
use super::source::{Changes, Slot, Source, Tag, Walk, Walking};
use super::{FETCH_PAUSE_MS, Key, Member, Shard};
use crate::config::Isolation;
use crate::conn::Read;
use crate::error::{self, Verdict as ErrorVerdict};
use crate::limits::{BATCH_HEADER_BYTES, LANE_PENDING_BYTES_MAX};
use crate::time::Now;
use crate::wire::TopicKey;
use crate::wire::batch::BatchHeader;
use crate::wire::fetch::{FetchPartition, FetchRequest, FetchWalk, PartitionHead, VERSIONS, Walked};
use crate::wire::produce::Payload;
use crate::wire::rebuild::rebuild;
use bytes::BytesMut;
use smallvec::SmallVec;

const FETCH_KEY: i16 = 1;
/// The last version that names topics; later ones have ids (KIP-516).
const FETCH_NAMES_MAX: i16 = 12;
/// Sessions (KIP-227) since this version.
const FETCH_SESSIONS_MIN: i16 = 7;
/// A fetch that could bring less than this waits until there is more room.
const FETCH_BYTES_MIN: usize = 256 << 10;
/// What a lane is asked for at least; the smaller, the more lanes an answer holds, and a request can pack.
const PARTITION_BYTES_MIN: usize = 256 << 10;
/// How much may be waited for at a time without looking.
const WAIT_BYTES_MAX: usize = 128 << 10;

impl Shard {
    /// Walks as far as the bytes go.
    pub(super) fn read_source(&mut self, now: Now, key: Key, input: &mut BytesMut) -> Result<(), String> {
        loop {
            let Some(source) = self.sources.get_mut(&key) else { return Ok(()) };
            let progress = match &mut source.walk {
                Some(_) => self.walk(now, key, input)?,
                None => match source.conn.front() {
                    Some(&Tag::Fetch { version, bytes }) => {
                        source.walk = Some(Walk::new(version, bytes));
                        true
                    }
                    _ => self.read_source_answer(now, key, input)?,
                },
            };
            if !progress {
                if let Some(source) = self.sources.get_mut(&key) {
                    source.unread_bytes = input.len();
                }
                return Ok(());
            }
        }
    }

    fn read_source_answer(&mut self, now: Now, key: Key, input: &mut BytesMut) -> Result<bool, String> {
        let Some(source) = self.sources.get_mut(&key) else { return Ok(false) };
        match source.conn.read(now, input)? {
            Read::Incomplete => return Ok(false),
            Read::Ready => {
                let (min, max) = (*VERSIONS.start(), *VERSIONS.end());
                if source.conn.versions().pick(FETCH_KEY, min, max).is_none() {
                    return Err(source.conn.versions().why_not(FETCH_KEY, min, max));
                }
                self.reset_pause(Side::Source, key.0);
            }
            Read::Answer { tag: Tag::Locate(lanes), frame } => {
                self.handle_located(now, key, &lanes, frame)?;
            }
            Read::Answer { tag: Tag::LogStarts(lanes), frame } => {
                self.handle_log_starts(now, key, &lanes, frame)?;
            }
            Read::Answer { tag: Tag::LogEnds(lanes), frame } => {
                self.handle_log_ends(now, key, &lanes, frame)?;
            }
            Read::Answer { tag: Tag::Fetch { .. }, .. } => return Err("a fetch answer was not walked".into()),
        }
        Ok(true)
    }

    /// One step of the walk. False: more bytes are needed, or a splice or a wait is under way.
    fn walk(&mut self, now: Now, key: Key, input: &mut BytesMut) -> Result<bool, String> {
        let Some(source) = self.sources.get_mut(&key) else { return Ok(false) };
        let Some(walk) = &mut source.walk else { return Ok(false) };
        match &mut walk.payload {
            Walking::Heads => {}
            Walking::Splice { .. } | Walking::Wait { .. } if input.is_empty() => return Ok(false),
            Walking::Splice { .. } | Walking::Wait { .. } => {
                return Err("bytes of a batch that is to be spliced were read".into());
            }
            Walking::Drop { missing } => {
                let taken = input.len().min(*missing);
                let _ = input.split_to(taken);
                walk.fetch.take_payload(taken);
                *missing -= taken;
                if *missing == 0 {
                    walk.payload = Walking::Heads;
                }
                return Ok(taken > 0 || matches!(walk.payload, Walking::Heads));
            }
            Walking::Collect { ranges, missing, .. } | Walking::Rebuild { ranges, missing, .. } => {
                let taken = input.len().min(*missing);
                if taken > 0 {
                    ranges.push(input.split_to(taken).freeze());
                    walk.fetch.take_payload(taken);
                    *missing -= taken;
                }
                if *missing > 0 {
                    return Ok(false);
                }
                self.collected(now, key);
                return Ok(true);
            }
        }
        match walk.fetch.step(input).map_err(|bad| bad.to_string())? {
            Walked::NeedMore => return Ok(false),
            Walked::Head { correlation_id } => {
                source.conn.answered(correlation_id)?;
            }
            Walked::Response { throttle_ms, error, session_id } => {
                self.counters.throttled_ms += u64::try_from(throttle_ms).unwrap_or(0);
                match error::of_fetch(error) {
                    ErrorVerdict::Ok => source.handle_session(session_id),
                    ErrorVerdict::SessionLost => source.reset_session(),
                    _ => return Err(format!("fetching: {}: {}", error::name(error), error::advice(error))),
                }
            }
            Walked::Topic(topic) => walk.topic = Some(topic),
            Walked::Partition(head) => self.begin_partition(now, key, &head),
            Walked::Aborted { producer_id, first_offset } => {
                if let Some((slot, _)) = walk.lane {
                    self.lanes[slot].lane.handle_aborted(producer_id, first_offset);
                }
            }
            Walked::Records { .. } => {}
            Walked::Batch { header, raw } => self.begin_batch(now, key, &header, raw),
            Walked::OldFormat { magic } => {
                let lane = walk.lane.map(|(slot, _)| slot);
                self.stop_lane(
                    now,
                    lane,
                    StopKind::OldFormat,
                    format!("the source's message format there is {magic}"),
                );
            }
            Walked::Damaged(bad) => {
                let lane = walk.lane.map(|(slot, _)| slot);
                self.stop_lane(now, lane, StopKind::DamagedBatch, bad.to_string());
            }
            Walked::Cut { bytes } => walk.payload = Walking::Drop { missing: bytes },
            Walked::PartitionEnd { diverging, .. } => self.end_partition(now, key, diverging),
            Walked::End => {
                source.reserved_bytes -= walk.bytes;
                source.fetches -= 1;
                source.walk = None;
            }
        }
        Ok(true)
    }

    fn begin_partition(&mut self, now: Now, key: Key, head: &PartitionHead) {
        let Some(source) = self.sources.get_mut(&key) else { return };
        let Some(walk) = &source.walk else { return };
        let slot = walk.topic.as_ref().and_then(|topic| source.lane_of(topic, head.partition));
        if let Some(slot) = slot.filter(|_| head.error == 0) {
            // A session tells it once, and for whatever reading.
            self.lanes[slot].lane.handle_source_begins(head.log_start_offset);
        }
        // What was asked for before the lane began to read anew may lie beyond where it reads now.
        let current = slot
            .and_then(|slot| Some((slot, source.asked(slot)?.reading)))
            .filter(|&(slot, reading)| self.lanes[slot].lane.reads(reading));
        if let Some(walk) = &mut source.walk {
            walk.lane = current;
        }
        let Some((slot, _)) = current else { return };
        if head.error == 0 {
            let is_committed = self.settings.isolation == Isolation::ReadCommitted;
            let end = match is_committed && head.last_stable_offset >= 0 {
                true => head.last_stable_offset,
                false => head.high_watermark,
            };
            let lane = &mut self.lanes[slot].lane;
            lane.handle_watermark(end);
            return;
        }
        let member = &mut self.lanes[slot];
        match error::of_fetch(head.error) {
            ErrorVerdict::Ask => member.lane.handle_out_of_range(),
            ErrorVerdict::Stop(kind) => {
                let detail = format!("fetching: {}: {}", error::name(head.error), error::advice(head.error));
                member.lane.stop(kind, detail, &mut self.events);
            }
            verdict => {
                if verdict == ErrorVerdict::LeaderUnknown {
                    self.events.push_back(Event::LeaderUnknown { lane: member.lane.id, side: Side::Source });
                }
                member.fetch_pause_until_us = now.after_ms(FETCH_PAUSE_MS);
                self.paused.insert(slot);
            }
        }
        self.refresh(now, slot);
    }

    fn begin_batch(&mut self, now: Now, key: Key, header: &BatchHeader, raw: [u8; BATCH_HEADER_BYTES]) {
        self.throttle.take(now, header.batch_bytes);
        let Some(source) = self.sources.get_mut(&key) else { return };
        let conn_budget = self.settings.buffer_bytes / 2;
        let path = source.path;
        let Some(walk) = &mut source.walk else { return };
        let missing = header.payload_bytes();
        walk.payload = if missing == 0 { Walking::Heads } else { Walking::Drop { missing } };
        let Some((slot, reading)) = walk.lane else { return };
        let lane = &mut self.lanes[slot].lane;
        if !lane.reads(reading) {
            walk.lane = None;
            self.counters.batches_skipped += 1;
            return;
        }
        let (kind, detail) =
            match lane.judge(now, header, self.settings.isolation, &self.writers, &mut self.events) {
                Verdict::Pass | Verdict::Rebuild if missing > conn_budget && path == Path::Copy => (
                    StopKind::BatchTooLarge,
                    format!(
                        "a batch of {} bytes does not fit the buffers; raise --buffer-bytes",
                        header.batch_bytes
                    ),
                ),
                Verdict::Pass => {
                    let batch = lane.accept(now, header, raw);
                    walk.payload = match path {
                        Path::Copy => Walking::Collect { slot, batch, ranges: SmallVec::new(), missing },
                        Path::Splice => Walking::Wait { slot, batch },
                    };
                    return;
                }
                Verdict::Skip => {
                    self.counters.batches_skipped += 1;
                    return self.refresh(now, slot);
                }
                Verdict::Rebuild if path == Path::Copy => {
                    let (header, ranges) = (*header, SmallVec::new());
                    walk.payload = Walking::Rebuild { slot, reading, header, ranges, missing };
                    return;
                }
                Verdict::Rebuild => {
                    // Read again over the other path.
                    lane.rewind();
                    return self.refresh(now, slot);
                }
                Verdict::Stop(stop) => (stop.kind, stop.detail),
            };
        self.stop_lane(now, Some(slot), kind, detail);
    }

    /// The payload is whole: the lane gets its batch, or what becomes of one that the target would refuse.
    fn collected(&mut self, now: Now, key: Key) {
        let walk = self.sources.get_mut(&key).and_then(|source| source.walk.as_mut());
        let Some(walk) = walk else { return };
        match std::mem::replace(&mut walk.payload, Walking::Heads) {
            Walking::Collect { slot, mut batch, ranges, .. } => {
                batch.payload = Payload::Ranges(ranges);
                self.lanes[slot].lane.push(batch);
                self.refresh(now, slot);
            }
            Walking::Rebuild { slot, reading, header, ranges, .. } => {
                self.rebuild(now, slot, reading, &header, &ranges.concat());
            }
            other => walk.payload = other,
        }
    }

    fn rebuild(&mut self, now: Now, slot: Slot, reading: u32, header: &BatchHeader, payload: &[u8]) {
        let lane = &mut self.lanes[slot].lane;
        if !lane.reads(reading) {
            return;
        }
        match rebuild(header, payload, lane.read_offset(), lane.holes()) {
            Ok(rebuilt) => lane.push_rebuilt(header, reading, now.mono_us, rebuilt, &mut self.events),
            Err(bad) => {
                let detail =
                    format!("the batch at offset {} has to be rebuilt, and {bad}", header.base_offset);
                lane.stop(StopKind::Unreadable, detail, &mut self.events);
            }
        }
        self.counters.batches_rebuilt += 1;
        self.refresh(now, slot);
    }

    fn end_partition(&mut self, now: Now, key: Key, diverging: Option<(i32, i64)>) {
        let lane = self
            .sources
            .get_mut(&key)
            .and_then(|source| source.walk.as_mut())
            .and_then(|walk| walk.lane.take());
        let Some((slot, reading)) = lane else { return };
        if let Some((_, end_offset)) = diverging {
            self.lanes[slot].lane.handle_source_truncated(now, end_offset, &self.settings, &mut self.events);
        }
        if self.lanes[slot].lane.reads(reading) {
            self.lanes[slot].lane.close_gap(&mut self.events);
        }
        self.tell_caught_up(slot);
        self.refresh(now, slot);
    }

    pub(super) fn tell_caught_up(&mut self, slot: Slot) {
        let lane = &mut self.lanes[slot].lane;
        if lane.is_caught_up() {
            self.events.push_back(Event::CaughtUp { lane: lane.id });
        }
    }

    pub(super) fn stop_lane(&mut self, now: Now, slot: Option<Slot>, kind: StopKind, detail: String) {
        if let Some(slot) = slot {
            self.lanes[slot].lane.stop(kind, detail, &mut self.events);
            self.refresh(now, slot);
        }
    }

    /// The driver moved bytes of the source's stream without showing them.
    pub(super) fn moved(&mut self, now: Now, key: Key, bytes: usize) {
        let Some(walk) = self.sources.get_mut(&key).and_then(|source| source.walk.as_mut()) else { return };
        let done = match &mut walk.payload {
            Walking::Splice { missing, .. } | Walking::Drop { missing } => {
                let bytes = bytes.min(*missing);
                *missing -= bytes;
                walk.fetch.take_payload(bytes);
                *missing == 0
            }
            _ => false,
        };
        if done {
            walk.payload = Walking::Heads;
            // The answer may end right here, without another byte to come.
            let _ = self.read_source(now, key, &mut BytesMut::new());
        }
    }

    /// What the driver should do with this connection's socket.
    pub fn want(&self, conn: ConnId) -> Want {
        match self.conns.get(&conn) {
            Some((Side::Source, key)) => self.sources.get(key).map_or(Want::Pause, Source::want),
            Some((Side::Target, key)) => self.sinks.get(key).map_or(Want::Pause, super::sink::Sink::want),
            None => Want::Pause,
        }
    }

    /// Sends the fetches that are due.
    pub(super) fn fetch(&mut self, now: Now) {
        if !self.throttle.may_fetch(now) {
            return;
        }
        let outgoing: usize = self.sinks.values().map(|sink| sink.conn.outgoing_bytes()).sum();
        let reserved: usize = self.sources.values().map(|source| source.reserved_bytes).sum();
        let mut room = self.settings.buffer_bytes.saturating_sub(self.pending_bytes + outgoing + reserved);
        // A fetch holds its room while the broker waits for data: no source may take what another needs.
        let fair = self.settings.buffer_bytes / self.sources.len().max(1);
        for source in self.sources.values_mut() {
            if !source.may_fetch() || room < FETCH_BYTES_MIN.min(fair) {
                continue;
            }
            let names = source.names_only;
            let max = if names { FETCH_NAMES_MAX } else { *VERSIONS.end() };
            let Some(version) = source.conn.versions().pick(FETCH_KEY, *VERSIONS.start(), max) else {
                continue;
            };
            let members = &self.lanes;
            let path = source.path;
            let wanted = |slot: Slot| -> Option<FetchFrom> {
                let member = &members[slot];
                let is_due = member.fetch_pause_until_us <= now.mono_us;
                let stays = member.path_wanted == path;
                (is_due && stays && member.sink_key.is_some())
                    .then(|| member.lane.fetch_from(LANE_PENDING_BYTES_MAX))
                    .flatten()
            };
            let lanes = source.lane_count();
            let Some(changes) = source.changes(version >= FETCH_SESSIONS_MIN, wanted) else { continue };
            let max_bytes = room
                .min(self.settings.fetch_bytes_max)
                .min(fair)
                .min(self.throttle.portion_bytes().max(FETCH_BYTES_MIN));
            let share = (max_bytes / lanes.max(1)).next_power_of_two();
            let mut partitions = Vec::with_capacity(changes.added.len());
            let mut forgotten = Vec::with_capacity(changes.forgotten.len());
            let Changes { added, forgotten: gone, session_id, session_epoch } = changes;
            for (slot, from) in added {
                let member = &members[slot];
                // Room for two batches, so that a batch in the way of another's end does not halve the rate.
                let batches = (member.lane.batch_bytes_average() * 2).next_power_of_two();
                let bytes = batches
                    .max(share)
                    .min(member.lane.fetch_bytes_max())
                    .clamp(PARTITION_BYTES_MIN, self.settings.fetch_bytes_max.max(PARTITION_BYTES_MIN));
                partitions.push(FetchPartition {
                    topic: topic_key(version, member),
                    partition: member.lane.partition,
                    current_leader_epoch: from.leader_epoch,
                    fetch_offset: from.offset,
                    last_fetched_epoch: from.epoch,
                    log_start_offset: -1,
                    partition_max_bytes: i32::try_from(bytes).unwrap_or(i32::MAX),
                });
            }
            for slot in gone {
                let member = &members[slot];
                let topic = topic_key(version, member);
                forgotten.push((topic, member.lane.partition));
            }
            let mut request = BytesMut::new();
            FetchRequest {
                version,
                correlation_id: source.conn.next_correlation_id(),
                client_id: &self.client_id,
                max_wait_ms: self.settings.fetch_wait_ms,
                min_bytes: 1,
                max_bytes: i32::try_from(max_bytes).unwrap_or(i32::MAX),
                isolation: u8::from(self.settings.isolation == Isolation::ReadCommitted),
                session_id,
                session_epoch,
                partitions: &partitions,
                forgotten: &forgotten,
                rack: "",
            }
            .encode(&mut request);
            let patience_ms = u64::try_from(self.settings.fetch_wait_ms).unwrap_or(0);
            source.conn.send(now, Tag::Fetch { version, bytes: max_bytes }, patience_ms, request.freeze());
            source.fetches += 1;
            source.reserved_bytes += max_bytes;
            room = room.saturating_sub(max_bytes);
            self.counters.fetch_requests += 1;
        }
    }
}

fn topic_key(version: i16, member: &Member) -> TopicKey {
    match version > FETCH_NAMES_MAX {
        true => TopicKey::Id(member.lane.source_topic_id),
        false => TopicKey::Name(member.name.clone()),
    }
}

impl Walk {
    fn new(version: i16, bytes: usize) -> Self {
        Self { fetch: FetchWalk::new(version), bytes, topic: None, lane: None, payload: Walking::Heads }
    }
}

impl Source {
    /// The connection can take a fetch: none is under way, or nothing but the payload at hand is missing of the last one.
    fn may_fetch(&self) -> bool {
        let last_batch = self.walk.as_ref().is_some_and(|walk| {
            let (Walking::Collect { missing, .. } | Walking::Splice { missing, .. }) = walk.payload else {
                return false;
            };
            walk.fetch.frame_remaining().saturating_sub(missing) < BATCH_HEADER_BYTES
        });
        self.conn.is_ready() && (self.fetches == 0 || (self.fetches == 1 && last_batch))
    }

    fn want(&self) -> Want {
        let Some(walk) = &self.walk else {
            return match (self.path, self.conn.front()) {
                // Not a byte beyond what a walk will ask for.
                (Path::Splice, Some(&Tag::Fetch { version, .. })) => {
                    let at_least = FetchWalk::new(version).at_least();
                    Want::Bytes { at_least, at_most: at_least }
                }
                _ => Want::Bytes { at_least: 1, at_most: usize::MAX },
            };
        };
        match walk.payload {
            Walking::Heads if self.path == Path::Splice => {
                let at_least = walk.fetch.at_least().max(1);
                Want::Bytes { at_least, at_most: at_least }
            }
            Walking::Splice { into, missing } => Want::Splice { bytes: missing, into },
            Walking::Wait { .. } => Want::Pause,
            Walking::Drop { missing } if self.path == Path::Splice => Want::Discard { bytes: missing },
            Walking::Heads | Walking::Collect { .. } | Walking::Rebuild { .. } | Walking::Drop { .. } => {
                let to_come = walk.fetch.frame_remaining().saturating_sub(self.unread_bytes);
                let at_least = to_come.clamp(1, WAIT_BYTES_MAX);
                Want::Bytes { at_least, at_most: usize::MAX }
            }
        }
    }
}
