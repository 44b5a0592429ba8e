//! From accepted batches to Produce requests, and from their answers back to the lanes.

use super::api::{ConnId, Event, Out, Settings, Side, Want};
use super::lane::{Batch, Path, Sent};
use super::sink::{Request, Sink, Tag};
use super::source::{Slot, Source, Walking};
use super::timing::Timing;
use super::{Key, Member, Shard};
use crate::conn::Read;
use crate::limits::{BATCHES_PER_REQUEST_MAX, SEEDS_PER_BATCH};
use crate::stats::Way;
use crate::time::Now;
use crate::wire::TopicKey;
use crate::wire::batch::{Stamp, restamp};
use crate::wire::produce::{
    ACKS_ALL, Entry, Head, Payload, Piece, TopicRef, VERSIONS, answer_bytes_min, frame, read_answer,
};
use bytes::{Bytes, BytesMut};

const PRODUCE_KEY: i16 = 0;
/// The last version that names topics; later ones have ids (KIP-516).
const PRODUCE_NAMES_MAX: i16 = 12;
/// Later versions add the partition to the transaction by themselves, and have each transaction end with a new epoch (KIP-890).
const PRODUCE_TRANSACTIONS_MAX: i16 = 11;
/// Requests and bytes on their way to one broker: enough for a long round trip at a high rate. Nothing of it is kept here.
const REQUESTS_IN_FLIGHT_MAX: usize = 64;
const BYTES_IN_FLIGHT_MAX: usize = 64 << 20;
/// A request is not begun while the writer has this much to send.
const OUTGOING_BYTES_MAX: usize = 4 << 20;
/// A request is closed when it holds this much.
const REQUEST_BYTES_MAX: usize = 8 << 20;
/// While the target is busy and more batches are coming in, a request waits until it holds this much: requests cost the target.
const REQUEST_BYTES_MIN: usize = 1 << 20;
const BUSY_REQUESTS: usize = 2;
/// Acknowledgements are looked at in groups when so many requests are in flight.
const GROUPED_ANSWERS_MIN: usize = 4;
const SCRATCH_BYTES: usize = 64 << 10;

/// Room used again for every request.
#[derive(Default)]
pub(super) struct Scratch {
    framing: BytesMut,
    entries: Vec<Entry>,
    waiting: Vec<Slot>,
    keys: Vec<Key>,
}

impl Shard {
    /// Sends what may be sent.
    pub(super) fn produce(&mut self, now: Now) {
        self.splice(now);
        let more_to_come = self.sources.values().any(super::source::Source::is_mid_answer);
        let mut keys = std::mem::take(&mut self.scratch.keys);
        keys.extend(self.sinks.iter().filter(|(_, sink)| !sink.ready.is_empty()).map(|(key, _)| *key));
        for key in keys.drain(..) {
            while self.produce_one(now, key, more_to_come, false) {}
            while self.transactions.is_open() && self.produce_one(now, key, more_to_come, true) {}
        }
        self.scratch.keys = keys;
    }

    /// One request with a batch of every lane that may send, in the transaction or outside. False: nothing (more) goes now.
    fn produce_one(&mut self, now: Now, key: Key, more_to_come: bool, in_transaction: bool) -> bool {
        let Some(sink) = self.sinks.get_mut(&key) else { return false };
        if !sink.has_room() || sink.ready.is_empty() {
            return false;
        }
        if more_to_come && sink.requests_in_flight >= BUSY_REQUESTS {
            let bytes: usize = sink.ready.iter().map(|&slot| self.lanes[slot].pending_bytes).sum();
            if bytes < REQUEST_BYTES_MIN {
                return false;
            }
        }
        let max = if in_transaction { PRODUCE_TRANSACTIONS_MAX } else { *VERSIONS.end() };
        let Some(version) = sink.version(max) else { return false };
        // A topic may stand in a request only once, so its lanes have to stand together.
        let lanes = &mut self.lanes;
        sink.ready.sort_unstable_by(|&a, &b| {
            let (a, b) = (&lanes[a].lane, &lanes[b].lane);
            (&a.topic, a.partition).cmp(&(&b.topic, b.partition))
        });
        let mut request = sink.begin_request(version);
        self.scratch.waiting.clear();
        for slot in sink.ready.drain(..) {
            let member = &mut lanes[slot];
            let is_full =
                request.slots.len() >= BATCHES_PER_REQUEST_MAX || request.bytes >= REQUEST_BYTES_MAX;
            let next = if is_full || member.lane.is_transacting() != in_transaction {
                None
            } else if let Some(records) = member.lane.wants_seeds(SEEDS_PER_BATCH) {
                let seeds = self.seeds.of(records, now.wall_ms);
                seeds.and_then(|seeds| member.lane.next_seeds(now, self.lease, seeds, &self.settings))
            } else {
                member.lane.next_batch(now, self.lease, &self.settings)
            };
            if let Some((batch, stamp)) = next {
                request.bytes += batch.header.batch_bytes;
                request.slots.push(slot);
                self.pending_bytes = self.pending_bytes + member.lane.pending_bytes() - member.pending_bytes;
                member.pending_bytes = member.lane.pending_bytes();
                self.scratch.entries.push(entry(version, member, batch, stamp));
                if let Some(source) = member.source_key.and_then(|key| self.sources.get_mut(&key)) {
                    source.touch(slot);
                }
            }
            member.is_ready = member.lane.may_send(now, self.lease, &self.settings);
            if member.is_ready {
                self.scratch.waiting.push(slot);
            }
        }
        // What did not go is first in line next time.
        std::mem::swap(&mut sink.ready, &mut self.scratch.waiting);
        if request.slots.is_empty() {
            return false;
        }
        let transactional_id = in_transaction.then_some(&*self.settings.transactional_id);
        send(now, sink, request, &self.settings, transactional_id, &mut self.scratch, None);
        self.counters.produce_requests += 1;
        true
    }

    /// Batches whose headers are read and whose payloads are still in the source's socket.
    fn splice(&mut self, now: Now) {
        let mut keys = std::mem::take(&mut self.scratch.keys);
        let is_waiting = |source: &Source| {
            matches!(source.walk.as_ref().map(|walk| &walk.payload), Some(Walking::Wait { .. }))
        };
        keys.extend(self.sources.iter().filter(|(_, source)| is_waiting(source)).map(|(key, _)| *key));
        for key in keys.drain(..) {
            self.splice_one(now, key);
        }
        self.scratch.keys = keys;
    }

    fn splice_one(&mut self, now: Now, key: Key) {
        let Some(source) = self.sources.get_mut(&key) else { return };
        let from = source.conn_id;
        let Some(walk) = &mut source.walk else { return };
        let Walking::Wait { slot, batch } = &walk.payload else { return };
        let (slot, missing) = (*slot, batch.header.payload_bytes());
        let member = &mut self.lanes[slot];
        let sink =
            member.sink_key.and_then(|key| self.sinks.get_mut(&key)).filter(|sink| sink.path == Path::Splice);
        // A batch that was copied goes first, and a batch to be spliced cannot wait behind it.
        let is_first = member.lane.pending_bytes() == 0;
        if sink.is_none() || !is_first || !member.lane.reads(batch.reading) || !member.lane.is_streaming() {
            // The lane reads it again, over the other path.
            if member.lane.reads(batch.reading) {
                member.lane.rewind();
            }
            walk.payload = Walking::Drop { missing };
            self.refresh(now, slot);
            return;
        }
        let Some(sink) = sink.filter(|sink| sink.has_room()) else { return };
        let Some(version) = sink.version(*VERSIONS.end()) else { return };
        let Walking::Wait { batch, .. } =
            std::mem::replace(&mut walk.payload, Walking::Splice { into: sink.conn_id, missing })
        else {
            return;
        };
        member.lane.push(batch);
        let Some((batch, stamp)) = member.lane.next_batch(now, self.lease, &self.settings) else {
            // Its run is not durable yet, or the broker may have forgotten us: the copy path can wait for that.
            member.lane.drop_pending();
            walk.payload = Walking::Drop { missing };
            self.refresh(now, slot);
            return;
        };
        let mut request = sink.begin_request(version);
        request.bytes = batch.header.batch_bytes;
        request.slots.push(slot);
        self.scratch.entries.push(entry(version, member, batch, stamp));
        send(now, sink, request, &self.settings, None, &mut self.scratch, Some(from));
        self.counters.produce_requests += 1;
        self.counters.batches_spliced += 1;
        self.refresh(now, slot);
    }

    /// Takes the answers that are whole.
    pub(super) fn read_sink(&mut self, now: Now, key: Key, input: &mut BytesMut) -> Result<(), String> {
        loop {
            let Some(sink) = self.sinks.get_mut(&key) else { return Ok(()) };
            match sink.conn.read(now, input)? {
                Read::Incomplete => return Ok(()),
                Read::Ready => {
                    let (min, max) = (*VERSIONS.start(), *VERSIONS.end());
                    if sink.conn.versions().pick(PRODUCE_KEY, min, max).is_none() {
                        return Err(sink.conn.versions().why_not(PRODUCE_KEY, min, max));
                    }
                    self.reset_pause(Side::Target, key.0);
                }
                Read::Answer { tag: Tag::Produce(request), frame } => {
                    self.produced(now, key, request, &frame)?;
                }
                Read::Answer { tag, frame } => self.answered(now, key, tag, frame)?,
            }
        }
    }

    fn produced(&mut self, now: Now, key: Key, request: Request, frame: &Bytes) -> Result<(), String> {
        // Response header: correlation id, and an empty set of tagged fields since the versions are flexible.
        let header_bytes = if request.version >= 9 { 5 } else { 4 };
        let body = frame.get(header_bytes..).ok_or("an answer to Produce is cut short")?;
        let sent_us = self.sinks.get_mut(&key).and_then(|sink| sink.departures.answered());
        let mut at = 0;
        let mut answers = 0;
        let mut bad = None;
        let throttle_ms = read_answer(request.version, body, &mut |acked| {
            // Brokers answer in the order of the request, more or less.
            let slots = &request.slots;
            let found = (0..slots.len()).map(|i| (at + i) % slots.len()).find(|&i| {
                let member = &self.lanes[slots[i]];
                member.lane.partition == acked.partition && is_topic(member, acked.topic)
            });
            let Some(index) = found else {
                bad = Some("the broker acknowledged a partition that was not in the request");
                return;
            };
            at = index + 1;
            answers += 1;
            let member = &mut self.lanes[slots[index]];
            let sent = member.lane.oldest_in_flight();
            let is_unknown = member.lane.handle_acked(
                now,
                acked.error,
                acked.base_offset,
                &self.settings,
                &mut self.events,
            );
            if is_unknown {
                self.events.push_back(Event::LeaderUnknown { lane: member.lane.id, side: Side::Target });
            }
            if acked.error == 0 {
                self.counters.batches += 1;
                let Some(sent) = sent else { return };
                self.counters.records += sent.count.unsigned_abs();
                self.counters.bytes += sent.bytes as u64;
                member.note_passed(now, &sent);
                if let Some(sent_us) = sent_us.filter(|_| sent.fetched_us != 0) {
                    self.note_passage(now, acked.partition, &sent, sent_us);
                }
            }
        })
        .map_err(|bad| bad.to_string())?;
        if let Some(bad) = bad {
            return Err(bad.into());
        }
        if answers != request.slots.len() {
            return Err("the broker did not acknowledge every batch of a request".into());
        }
        self.counters.throttled_ms += u64::try_from(throttle_ms).unwrap_or(0);
        for &slot in &request.slots {
            self.tell_caught_up(slot);
            self.refresh(now, slot);
        }
        if let Some(sink) = self.sinks.get_mut(&key) {
            sink.handle_answered(request);
        }
        Ok(())
    }

    /// The batch is acknowledged, and it is known when it came and went.
    fn note_passage(&mut self, now: Now, partition: i32, sent: &Sent, sent_us: u64) {
        if self.settings.times_batches {
            self.timings.note(Timing {
                partition,
                base_timestamp_ms: sent.base_timestamp_ms,
                fetched_us: sent.fetched_us,
                sent_us,
                acked_us: now.mono_us,
            });
        }
        if self.settings.counts_stages {
            self.stages.record(&Way {
                newest_ms: sent.max_timestamp_ms,
                fetched_us: sent.fetched_us,
                sent_us,
                acked_us: now.mono_us,
                acked_wall_ms: now.wall_ms,
            });
        }
    }
}

impl Member {
    /// The batch is acknowledged. What was on no source, such as seeds, is no part of what is mirrored.
    fn note_passed(&mut self, now: Now, sent: &Sent) {
        let Some(passed) = self.passed.as_mut().filter(|_| sent.fetched_us != 0) else { return };
        let (newest_ms, fetched_us) = (sent.max_timestamp_ms, sent.fetched_us);
        let way = Way {
            newest_ms,
            fetched_us,
            acked_us: now.mono_us,
            acked_wall_ms: now.wall_ms,
            ..Way::default()
        };
        let ages_ms = way.age_us().zip(way.total_us()).map(|(age, total)| [age / 1000, total / 1000]);
        passed.record(now.mono_us, sent.count.unsigned_abs(), sent.bytes as u64, ages_ms);
    }
}

impl Sink {
    /// The version to produce with, by what the broker speaks and whether every lane's topic has an id.
    fn version(&self, max: i16) -> Option<i16> {
        let max = if self.names_only { PRODUCE_NAMES_MAX.min(max) } else { max };
        self.conn.versions().pick(PRODUCE_KEY, *VERSIONS.start(), max)
    }

    fn has_room(&self) -> bool {
        self.conn.is_ready()
            && self.requests_in_flight < REQUESTS_IN_FLIGHT_MAX
            && self.bytes_in_flight < BYTES_IN_FLIGHT_MAX
            && self.conn.outgoing_bytes() < OUTGOING_BYTES_MAX
    }

    /// With many requests in flight, half of their answers are worth one look.
    pub(super) fn want(&self) -> Want {
        let half = self.conn.awaited() / 2;
        let at_least = if self.conn.awaited() < GROUPED_ANSWERS_MIN {
            1
        } else {
            let answers = self.conn.tags().take(half).map(|tag| match tag {
                Tag::Produce(request) => request.answer_bytes,
                _ => 4,
            });
            answers.sum::<usize>().max(1)
        };
        Want::Bytes { at_least, at_most: usize::MAX }
    }
}

fn entry(version: i16, member: &Member, batch: Batch, stamp: Stamp) -> Entry {
    let mut raw = batch.raw;
    restamp(&mut raw, stamp);
    let topic = match version > PRODUCE_NAMES_MAX {
        true => TopicKey::Id(member.lane.target_topic_id),
        false => member.topic_key(Side::Target),
    };
    Entry { topic, partition: member.lane.partition, raw, payload: batch.payload }
}

/// Frames the scratch's entries and queues them.
fn send(
    now: Now,
    sink: &mut Sink,
    mut request: Request,
    settings: &Settings,
    transactional_id: Option<&str>,
    scratch: &mut Scratch,
    splice_from: Option<ConnId>,
) {
    // The broker gives up waiting for replicas before we give up waiting for the broker.
    let timeout_ms = settings.request_timeout_ms / 2;
    let version = request.version;
    request.answer_bytes = answer_bytes_min(version, 1, 0, request.slots.len());
    scratch.framing.reserve(SCRATCH_BYTES);
    sink.handle_sent(&request);
    let correlation_id = sink.conn.next_correlation_id();
    sink.conn.await_answer(now, Tag::Produce(request), timeout_ms);
    let Scratch { framing, entries, .. } = scratch;
    let timeout_ms = i32::try_from(timeout_ms).unwrap_or(i32::MAX);
    let client_id = &settings.client_id;
    let head = Head { version, correlation_id, client_id, transactional_id, acks: ACKS_ALL, timeout_ms };
    let mut out = |piece| match (piece, splice_from) {
        (Piece::Framing(bytes), _) => sink.conn.queue(Out::Bytes(bytes)),
        (Piece::Payload(Payload::Ranges(ranges)), _) => {
            ranges.into_iter().for_each(|range| sink.conn.queue(Out::Bytes(range)));
        }
        (Piece::Payload(Payload::Stream(bytes)), Some(from)) => {
            sink.conn.queue(Out::Splice { from, bytes });
        }
        (Piece::Payload(Payload::Stream(_)), None) => {
            unreachable!("only spliced batches have no buffers")
        }
    };
    frame(head, entries, framing, &mut out);
    if settings.times_batches || settings.counts_stages {
        sink.departures.queued(sink.conn.queued_bytes());
    }
}

fn is_topic(member: &Member, topic: TopicRef<'_>) -> bool {
    match topic {
        TopicRef::Name(name) => member.name(Side::Target).as_bytes() == name,
        TopicRef::Id(id) => member.lane.target_topic_id == id,
    }
}
