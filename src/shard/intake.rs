//! From a source broker's answer to accepted batches.

use super::api::{ConnId, Event, Side, StopKind, Want};
use super::lane::{Path, Verdict};
use super::source::{Slot, Source, Tag, Walk, Walking};
use super::throttle::Limited;
use super::{FETCH_PAUSE_MS, Key, Member, Shard};
use crate::config::Isolation;
use crate::conn::Read;
use crate::error::{self, Verdict as ErrorVerdict};
use crate::limits::{BATCH_HEADER_BYTES, OLD_BATCH_BYTES};
use crate::stats::Counters;
use crate::time::Now;
use crate::wire::batch::BatchHeader;
use crate::wire::fetch::{FetchWalk, PartitionHead, VERSIONS, WHOLE_MIN, Walked};
use crate::wire::legacy::message::MessageHeader;
use crate::wire::produce::Payload;
use bytes::BytesMut;
use smallvec::SmallVec;

pub(super) const FETCH_KEY: i16 = 1;
/// What a lane is asked for at least; the smaller, the more lanes an answer holds, and a request can pack.
pub(super) const PARTITION_BYTES_MIN: usize = 256 << 10;
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
            Walking::Message { missing } => {
                let taken = input.len().min(*missing);
                walk.messages.extend_from_slice(&input.split_to(taken));
                walk.fetch.take_payload(taken);
                *missing -= taken;
                if *missing > 0 {
                    return Ok(false);
                }
                walk.payload = Walking::Heads;
                if walk.messages.len() >= OLD_BATCH_BYTES {
                    self.convert_messages(now, key);
                }
                return Ok(true);
            }
            Walking::Collect { ranges, missing, .. } | Walking::Open { ranges, missing, .. } => {
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
                source.window.handle_begun(now);
                walk.came_bytes = walk.fetch.frame_remaining();
                source.conn.answered(correlation_id)?;
            }
            Walked::Response { throttle_ms, error, session_id } => {
                walk.was_held = throttle_ms > 0;
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
            Walked::Records { preferred_read_replica: replica, .. } => {
                if let Some((slot, _)) = walk.lane.filter(|_| replica >= 0 && replica != key.0) {
                    self.read_at_replica(now, slot, replica);
                }
            }
            Walked::Batch { header, raw } => self.begin_batch(now, key, &header, raw),
            Walked::OldFormat { message } => self.begin_message(now, key, &message),
            Walked::Damaged(bad) => {
                let lane = walk.lane.map(|(slot, _)| slot);
                self.stop_lane(now, lane, StopKind::DamagedBatch, bad.to_string());
            }
            Walked::Cut { bytes } => {
                walk.is_cut = true;
                walk.payload = Walking::Drop { missing: bytes };
            }
            Walked::PartitionEnd { diverging, .. } => self.end_partition(now, key, diverging),
            Walked::End => {
                source.window.handle_ended(now, walk.bytes, walk.came_bytes, walk.was_held);
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
            // A session tells it once, and for whatever reading. (A replica deletes what its leader does, and no other records.)
            self.lanes[slot].lane.handle_source_begins(head.log_start_offset);
        }
        // What was asked for before the lane began to read anew may lie beyond where it reads now.
        let current = slot
            .and_then(|slot| Some((slot, source.asked(slot)?.reading)))
            .filter(|&(slot, reading)| self.lanes[slot].lane.reads(reading));
        if let Some(walk) = &mut source.walk {
            walk.lane = current;
            (walk.is_cut, walk.batches) = (false, 0);
        }
        let Some((slot, _)) = current else { return };
        if head.error == 0 {
            let is_committed = self.settings.isolation == Isolation::ReadCommitted;
            let end = match is_committed && head.last_stable_offset >= 0 {
                true => head.last_stable_offset,
                false => head.high_watermark,
            };
            let member = &mut self.lanes[slot];
            match member.read_at.is_replica() {
                true => member.lane.handle_watermark_of_replica(end),
                false => member.lane.handle_watermark(end),
            }
            return;
        }
        let member = &mut self.lanes[slot];
        if member.read_at.is_replica() {
            self.events.push_back(Event::LeaderUnknown { lane: member.lane.id, side: Side::Source });
            self.read_at_leader_only(now, slot);
            return self.refresh(now, slot);
        }
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
                self.resting.insert(slot);
            }
        }
        self.refresh(now, slot);
    }

    /// A message of format 0 or 1 is collected, to be converted along with its neighbours.
    fn begin_message(&mut self, now: Now, key: Key, message: &MessageHeader) {
        self.throttle.take(now, message.bytes);
        let Some(source) = self.sources.get_mut(&key) else { return };
        let path = source.path;
        let conn_budget = self.settings.buffer_bytes / 2;
        let Some(walk) = &mut source.walk else { return };
        walk.batches += 1;
        walk.payload = Walking::Drop { missing: message.bytes };
        let Some((slot, reading)) = walk.lane else { return };
        self.lanes[slot].count_incoming(now, message.bytes, &mut self.limits, &mut self.counters);
        let lane = &mut self.lanes[slot].lane;
        if !lane.reads(reading) {
            walk.lane = None;
            walk.messages.clear();
            self.counters.batches_skipped += 1;
            return;
        }
        if message.offset < lane.read_offset() {
            self.counters.batches_skipped += 1;
            return;
        }
        if message.bytes > conn_budget {
            let detail = format!(
                "a message of {} bytes does not fit the buffers; raise --buffer-bytes",
                message.bytes
            );
            return self.stop_lane(now, Some(slot), StopKind::BatchTooLarge, detail);
        }
        if path == Path::Splice {
            lane.read_over_copying();
            return self.refresh(now, slot);
        }
        walk.messages.reserve(message.bytes.min(OLD_BATCH_BYTES));
        walk.payload = Walking::Message { missing: message.bytes };
    }

    fn begin_batch(&mut self, now: Now, key: Key, header: &BatchHeader, raw: [u8; BATCH_HEADER_BYTES]) {
        self.throttle.take(now, header.batch_bytes);
        self.convert_messages(now, key);
        self.make_way(now, key, header);
        let Some(source) = self.sources.get_mut(&key) else { return };
        let conn_budget = self.settings.buffer_bytes / 2;
        let path = source.path;
        let Some(walk) = &mut source.walk else { return };
        let missing = header.payload_bytes();
        walk.batches += 1;
        walk.payload = if missing == 0 { Walking::Heads } else { Walking::Drop { missing } };
        let Some((slot, reading)) = walk.lane else { return };
        self.lanes[slot].count_incoming(now, header.batch_bytes, &mut self.limits, &mut self.counters);
        let lane = &mut self.lanes[slot].lane;
        if !lane.reads(reading) {
            walk.lane = None;
            self.counters.batches_skipped += 1;
            return;
        }
        match lane.judge(now, header, self.settings.isolation, &self.writers, &mut self.events) {
            Verdict::Pass | Verdict::Open if missing > conn_budget && path == Path::Copy => {
                let detail = format!(
                    "a batch of {} bytes does not fit the buffers; raise --buffer-bytes",
                    header.batch_bytes
                );
                self.stop_lane(now, Some(slot), StopKind::BatchTooLarge, detail);
            }
            Verdict::Pass => {
                let batch = lane.accept(now, header, raw);
                walk.payload = match path {
                    Path::Copy => Walking::Collect { slot, batch, ranges: SmallVec::new(), missing },
                    Path::Splice => Walking::Wait { slot, batch },
                };
            }
            Verdict::Skip => {
                self.counters.batches_skipped += 1;
                self.refresh(now, slot);
            }
            Verdict::Open if path == Path::Copy => {
                let (header, ranges) = (*header, SmallVec::new());
                walk.payload = Walking::Open { slot, header, ranges, missing };
            }
            Verdict::Open => {
                // Read again over the other path.
                lane.rewind();
                self.refresh(now, slot);
            }
        }
    }

    /// The payload is whole: the lane gets its batch, or what becomes of one that the target would refuse.
    fn collected(&mut self, now: Now, key: Key) {
        let walk = self.sources.get_mut(&key).and_then(|source| source.walk.as_mut());
        let Some(walk) = walk else { return };
        match std::mem::replace(&mut walk.payload, Walking::Heads) {
            Walking::Collect { slot, mut batch, ranges, .. } => {
                batch.payload = Payload::Ranges(ranges);
                let lane = &mut self.lanes[slot].lane;
                lane.push(batch);
                lane.note_waiting(&mut self.events);
                self.refresh(now, slot);
            }
            Walking::Open { slot, header, ranges, .. } => {
                self.open(now, key, slot, &header, &ranges.concat());
            }
            other => walk.payload = other,
        }
    }

    fn end_partition(&mut self, now: Now, key: Key, diverging: Option<(i32, i64)>) {
        self.convert_messages(now, key);
        self.close_gathered(now, key);
        let walk = self.sources.get_mut(&key).and_then(|source| source.walk.as_mut());
        let Some(walk) = walk else { return };
        let batches = walk.batches;
        let is_too_large = walk.is_cut && walk.batches == 0 && walk.fetch.version() < WHOLE_MIN;
        let Some((slot, reading)) = walk.lane.take() else { return };
        if is_too_large && self.lanes[slot].lane.reads(reading) {
            let lane = &mut self.lanes[slot].lane;
            if let Err(detail) = lane.ask_for_more(PARTITION_BYTES_MIN, self.settings.fetch_bytes_max) {
                lane.stop(StopKind::BatchTooLarge, detail, &mut self.events);
            }
            return self.refresh(now, slot);
        }
        match diverging {
            Some(_) if self.lanes[slot].read_at.is_replica() => self.read_at_leader_only(now, slot),
            Some((_, end_offset)) => {
                let lane = &mut self.lanes[slot].lane;
                lane.handle_source_truncated(now, end_offset, &self.settings, &mut self.events);
            }
            None => {}
        }
        if self.lanes[slot].lane.reads(reading) {
            let lane = &mut self.lanes[slot].lane;
            lane.close_gap(&mut self.events);
            lane.note_answer(batches, &mut self.events);
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
}

impl Member {
    /// So much came for it, whatever becomes of that.
    fn count_incoming(&self, now: Now, bytes: usize, limits: &mut [Limited], counters: &mut Counters) {
        if self.read_at.is_replica() {
            counters.replica_bytes += bytes as u64;
        }
        if let Some(limit) = self.limit.and_then(|limit| limits.get_mut(limit)) {
            limit.throttle.take(now, bytes);
        }
    }
}

impl Walk {
    fn new(version: i16, bytes: usize) -> Self {
        Self {
            fetch: FetchWalk::new(version),
            bytes,
            came_bytes: 0,
            was_held: false,
            topic: None,
            lane: None,
            is_cut: false,
            batches: 0,
            messages: Vec::new(),
            gathered: None,
            payload: Walking::Heads,
        }
    }
}

impl Source {
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
            Walking::Heads
            | Walking::Collect { .. }
            | Walking::Open { .. }
            | Walking::Message { .. }
            | Walking::Drop { .. } => {
                let to_come = walk.fetch.frame_remaining().saturating_sub(self.unread_bytes);
                let at_least = to_come.clamp(1, WAIT_BYTES_MAX);
                Want::Bytes { at_least, at_most: usize::MAX }
            }
        }
    }
}
