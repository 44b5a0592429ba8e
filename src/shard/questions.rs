//! Finding positions: where a lane stands on the target after a doubt, and where it begins on the source.
//!
//! The target's leader is asked three things over one connection, in this order: the high watermark, what it remembers of our
//! producer id, and the log end. The first and the last are refused by a broker that does not lead in the epoch that we know
//! (DescribeProducers itself is not checked), so the one between is the leader's word (exactness.md, rule L). All lanes of a
//! connection that have a question are asked for together.

use super::api::{Event, Side};
use super::lane::TargetEnd;
use super::sink::Tag;
use super::source::{Slot, Tag as SourceTag, list_offsets_timestamp};
use super::{FETCH_PAUSE_MS, Key, Shard};
use crate::config::StartFrom;
use crate::error::{self, Verdict as ErrorVerdict};
use crate::limits::BATCH_HEADER_BYTES;
use crate::time::Now;
use crate::wire::batch::BatchHeader;
use crate::wire::control;
use crate::wire::legacy::requests::{self, BEFORE_ALL};
use bytes::Bytes;
use kafka_protocol::messages::describe_producers_request::TopicRequest;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use kafka_protocol::messages::write_txn_markers_request::{WritableTxnMarker, WritableTxnMarkerTopic};
use kafka_protocol::messages::{
    BrokerId, DescribeProducersRequest, DescribeProducersResponse, FetchRequest, FetchResponse,
    ListOffsetsRequest, ListOffsetsResponse, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse,
    ProducerId, TopicName, WriteTxnMarkersRequest, WriteTxnMarkersResponse,
};
use kafka_protocol::protocol::{HeaderVersion, Request, StrBytes};
use std::collections::BTreeMap;

const FETCH_KEY: i16 = 1;
const LIST_OFFSETS_KEY: i16 = 2;
const OFFSET_FOR_LEADER_EPOCH_KEY: i16 = 23;
const DESCRIBE_PRODUCERS_KEY: i16 = 61;
const WRITE_TXN_MARKERS_KEY: i16 = 27;
/// From 4 on with the leader epoch; from 5 on a new leader says OFFSET_NOT_AVAILABLE rather than an old high watermark.
pub const LIST_OFFSETS: (i16, i16) = (5, 9);
/// The source's log range needs no epoch, and comes from brokers of any age.
const LIST_OFFSETS_SOURCE: (i16, i16) = (0, 9);
pub const OFFSET_FOR_LEADER_EPOCH: (i16, i16) = (2, 4);
pub const DESCRIBE_PRODUCERS: (i16, i16) = (0, 0);
/// Version 2 adds the version of the transaction protocol, which means nothing for a marker without a transaction.
pub const WRITE_TXN_MARKERS: (i16, i16) = (1, 1);
/// The last batch of a log is fetched by topic name, without a session.
const FETCH_TAIL: (i16, i16) = (4, 12);
const CONSUMER: BrokerId = BrokerId(-1);
const UNSUPPORTED_VERSION: i16 = 35;
/// Lanes in one request.
const LANES_MAX: usize = 1_000;

type Lanes = Vec<(Slot, u32)>;

impl Shard {
    /// Asks what there is to ask.
    pub(super) fn ask(&mut self, now: Now) {
        if self.asking.is_empty() {
            return;
        }
        let mut targets: BTreeMap<Key, Lanes> = BTreeMap::new();
        let mut tails: Vec<(Key, Slot)> = Vec::new();
        let mut starts: BTreeMap<(Key, i64), Lanes> = BTreeMap::new();
        let mut ranges: BTreeMap<Key, Lanes> = BTreeMap::new();
        let mut log_starts: BTreeMap<Key, Lanes> = BTreeMap::new();
        let mut fills: BTreeMap<Key, Vec<(Slot, i64)>> = BTreeMap::new();
        for &slot in &self.asking {
            let member = &self.lanes[slot];
            let lane = &member.lane;
            let is_due = member.fetch_pause_until_us <= now.mono_us;
            if let Some(key) = member.sink_key {
                if lane.wants_tail().is_some() {
                    tails.push((key, slot));
                } else if lane.wants_ask(now) {
                    targets.entry(key).or_default().push((slot, lane.round));
                } else if let Some(count) = lane.wants_fill(now, self.lease, &self.settings) {
                    fills.entry(key).or_default().push((slot, count));
                }
            }
            if let Some(key) = member.source_key.filter(|_| is_due) {
                if let Some(from) = lane.wants_locate() {
                    starts.entry((key, list_offsets_timestamp(from))).or_default().push((slot, lane.round));
                } else if lane.wants_range() {
                    ranges.entry(key).or_default().push((slot, lane.round));
                } else if lane.wants_source_start() {
                    log_starts.entry(key).or_default().push((slot, lane.round));
                }
            }
        }
        for (key, lanes) in targets {
            lanes.chunks(LANES_MAX).for_each(|lanes| self.ask_target(now, key, lanes));
        }
        for (key, lanes) in fills {
            lanes.chunks(LANES_MAX).for_each(|lanes| self.fill(now, key, lanes));
        }
        for (key, slot) in tails {
            self.ask_tail(now, key, slot);
        }
        for ((key, timestamp), lanes) in starts {
            self.ask_source(now, key, timestamp, &lanes, SourceTag::Locate);
        }
        let earliest = list_offsets_timestamp(StartFrom::Earliest);
        for (key, lanes) in log_starts {
            self.ask_source(now, key, earliest, &lanes, SourceTag::LogStarts);
        }
        for (key, lanes) in ranges {
            self.ask_source(now, key, earliest, &lanes, SourceTag::LogStarts);
            self.ask_source(now, key, list_offsets_timestamp(StartFrom::Latest), &lanes, SourceTag::LogEnds);
        }
    }

    // The target.

    fn ask_target(&mut self, now: Now, key: Key, lanes: &[(Slot, u32)]) {
        let Some(sink) = self.sinks.get(&key).filter(|sink| sink.conn.is_ready()) else { return };
        let versions = sink.conn.versions();
        let list_offsets = versions.pick(LIST_OFFSETS_KEY, LIST_OFFSETS.0, LIST_OFFSETS.1);
        let log_ends =
            versions.pick(OFFSET_FOR_LEADER_EPOCH_KEY, OFFSET_FOR_LEADER_EPOCH.0, OFFSET_FOR_LEADER_EPOCH.1);
        let producers = versions.pick(DESCRIBE_PRODUCERS_KEY, DESCRIBE_PRODUCERS.0, DESCRIBE_PRODUCERS.1);
        let (Some(list_offsets), Some(log_ends)) = (list_offsets, log_ends) else {
            for &(slot, _) in lanes {
                let unknown =
                    self.lanes[slot].lane.handle_ask_failed(now, UNSUPPORTED_VERSION, &mut self.events);
                debug_assert!(!unknown);
            }
            return;
        };
        for &(slot, _) in lanes {
            self.lanes[slot].lane.is_asking = true;
        }
        self.counters.questions += lanes.len() as u64;
        let high_watermarks = self.list_offsets(lanes, -1, Side::Target);
        self.send_target(now, key, list_offsets, &high_watermarks, Tag::HighWatermarks(lanes.to_vec()));
        if let Some(version) = producers {
            let request = DescribeProducersRequest::default().with_topics(self.by_topic(
                lanes,
                Side::Target,
                |topic, partitions| {
                    TopicRequest::default().with_name(topic).with_partition_indexes(partitions)
                },
                |member| member.lane.partition,
            ));
            self.send_target(now, key, version, &request, Tag::Producers(lanes.to_vec()));
        }
        let request = OffsetForLeaderEpochRequest::default().with_topics(self.by_topic(
            lanes,
            Side::Target,
            |topic, partitions| OffsetForLeaderTopic::default().with_topic(topic).with_partitions(partitions),
            |member| {
                OffsetForLeaderPartition::default()
                    .with_partition(member.lane.partition)
                    .with_current_leader_epoch(member.lane.target.epoch)
                    .with_leader_epoch(member.lane.target.epoch)
            },
        ));
        self.send_target(now, key, log_ends, &request, Tag::LogEnds(lanes.to_vec()));
    }

    /// Control records for gaps of the source, all lanes of a connection together: each is one marker of an aborted
    /// transaction that never was. A lane that wants n of them stands in the first n entries.
    fn fill(&mut self, now: Now, key: Key, lanes: &[(Slot, i64)]) {
        let Some(sink) = self.sinks.get(&key).filter(|sink| sink.conn.is_ready()) else { return };
        let (min, max) = WRITE_TXN_MARKERS;
        let Some(version) = sink.conn.versions().pick(WRITE_TXN_MARKERS_KEY, min, max) else {
            for &(slot, count) in lanes {
                let lane = &mut self.lanes[slot].lane;
                lane.begin_fill(count);
                lane.handle_filled(now, UNSUPPORTED_VERSION, &mut self.events);
            }
            return;
        };
        let most = lanes.iter().map(|&(_, count)| count).max().unwrap_or(0);
        let markers = (0..most).map(|at| {
            let members: Lanes =
                lanes.iter().filter(|&&(_, count)| count > at).map(|&(slot, _)| (slot, 0)).collect();
            let topics = self.by_topic(
                &members,
                Side::Target,
                |topic, partitions| {
                    WritableTxnMarkerTopic::default().with_name(topic).with_partition_indexes(partitions)
                },
                |member| member.lane.partition,
            );
            WritableTxnMarker::default()
                .with_producer_id(ProducerId(self.settings.marker_producer_id))
                .with_producer_epoch(0)
                .with_transaction_result(false)
                .with_topics(topics)
                .with_coordinator_epoch(0)
        });
        let request = WriteTxnMarkersRequest::default().with_markers(markers.collect());
        for &(slot, count) in lanes {
            self.lanes[slot].lane.begin_fill(count);
            self.counters.offsets_filled += count.unsigned_abs();
        }
        let slots = lanes.iter().map(|&(slot, _)| (slot, self.lanes[slot].lane.round)).collect();
        self.send_target(now, key, version, &request, Tag::Fill(slots));
    }

    /// Brokers merge the answers for one producer id, so there is one word for each partition.
    fn filled(&mut self, now: Now, lanes: &Lanes, answer: &WriteTxnMarkersResponse) {
        let mut codes: BTreeMap<(&str, i32), i16> = BTreeMap::new();
        for topic in answer.markers.iter().flat_map(|marker| &marker.topics) {
            for partition in &topic.partitions {
                let code = codes.entry((topic.name.as_str(), partition.partition_index)).or_default();
                if partition.error_code != 0 {
                    *code = partition.error_code;
                }
            }
        }
        for &(slot, _) in lanes {
            let member = &mut self.lanes[slot];
            let place = (member.names[Side::Target as usize].as_str(), member.lane.partition);
            let lane = &mut member.lane;
            let code = codes.get(&place).copied().unwrap_or(-1);
            if lane.handle_filled(now, code, &mut self.events) {
                self.events.push_back(Event::LeaderUnknown { lane: lane.id, side: Side::Target });
            }
            self.tell_caught_up(slot);
            self.refresh(now, slot);
        }
    }

    /// The last batch in the partition. One at a time for each connection, since the answer brings a whole batch.
    fn ask_tail(&mut self, now: Now, key: Key, slot: Slot) {
        let Some(sink) = self.sinks.get_mut(&key).filter(|sink| sink.conn.is_ready() && !sink.tail_asked)
        else {
            return;
        };
        let Some(version) = sink.conn.versions().pick(FETCH_KEY, FETCH_TAIL.0, FETCH_TAIL.1) else { return };
        let member = &mut self.lanes[slot];
        let Some((offset, bytes_max)) = member.lane.wants_tail() else { return };
        sink.tail_asked = true;
        member.lane.is_asking = true;
        let topic = TopicName(member.name(Side::Target).clone());
        let partition = FetchPartition::default()
            .with_partition(member.lane.partition)
            .with_current_leader_epoch(member.lane.target.epoch)
            .with_fetch_offset(offset)
            .with_log_start_offset(-1)
            .with_partition_max_bytes(bytes_max);
        let request = FetchRequest::default()
            .with_max_wait_ms(0)
            .with_min_bytes(0)
            .with_max_bytes(bytes_max)
            .with_session_epoch(-1)
            .with_topics(vec![FetchTopic::default().with_topic(topic).with_partitions(vec![partition])]);
        let tag = Tag::Tail(slot, member.lane.round);
        self.send_target(now, key, version, &request, tag);
    }

    pub(super) fn answered(&mut self, now: Now, key: Key, tag: Tag, frame: Bytes) -> Result<(), String> {
        let Some(sink) = self.sinks.get_mut(&key) else { return Ok(()) };
        let versions = sink.conn.versions();
        let version = |api: i16, (min, max): (i16, i16)| {
            versions.pick(api, min, max).ok_or("an answer of an unknown API")
        };
        match tag {
            Tag::HighWatermarks(lanes) => {
                let answer: ListOffsetsResponse = decode(version(LIST_OFFSETS_KEY, LIST_OFFSETS)?, frame)?;
                let answers = list_offsets_answers(&answer);
                self.take_answers(now, &lanes, &answers, |lane, offset| {
                    lane.asked.high_watermark = Some(offset);
                });
            }
            Tag::Producers(lanes) => {
                let answer: DescribeProducersResponse =
                    decode(version(DESCRIBE_PRODUCERS_KEY, DESCRIBE_PRODUCERS)?, frame)?;
                let (id, epoch) = (self.settings.producer_id, i32::from(self.settings.producer_epoch));
                let mut answers = BTreeMap::new();
                for topic in &answer.topics {
                    for partition in &topic.partitions {
                        let ours = partition.active_producers.iter().find(|producer| {
                            producer.producer_id.0 == id
                                && producer.producer_epoch == epoch
                                && producer.last_sequence >= 0
                        });
                        let last = ours.map(|producer| (producer.last_sequence, producer.last_timestamp));
                        answers.insert(
                            (topic.name.as_str(), partition.partition_index),
                            (partition.error_code, last),
                        );
                    }
                }
                self.take_answers(now, &lanes, &answers, |lane, last| {
                    lane.asked.tells_producers = true;
                    lane.asked.last_sequence = last.map(|(sequence, _)| sequence);
                    lane.asked.last_timestamp_ms = last.map_or(i64::MIN, |(_, timestamp_ms)| timestamp_ms);
                });
            }
            Tag::LogEnds(lanes) => {
                let answer: OffsetForLeaderEpochResponse =
                    decode(version(OFFSET_FOR_LEADER_EPOCH_KEY, OFFSET_FOR_LEADER_EPOCH)?, frame)?;
                let mut answers = BTreeMap::new();
                for topic in &answer.topics {
                    for end in &topic.partitions {
                        answers
                            .insert((topic.topic.as_str(), end.partition), (end.error_code, end.end_offset));
                    }
                }
                self.take_answers(now, &lanes, &answers, |lane, offset| {
                    lane.asked.log_end = Some(offset).filter(|&end| end >= 0);
                });
                for (slot, round) in lanes {
                    let lane = &mut self.lanes[slot].lane;
                    if lane.round == round {
                        lane.handle_asked(now, &self.settings, &mut self.events);
                        // What was to be found out may be that the last gap is filled.
                        self.tell_caught_up(slot);
                        self.refresh(now, slot);
                    }
                }
            }
            Tag::Fill(lanes) => {
                let answer: WriteTxnMarkersResponse =
                    decode(version(WRITE_TXN_MARKERS_KEY, WRITE_TXN_MARKERS)?, frame)?;
                self.filled(now, &lanes, &answer);
            }
            Tag::Tail(slot, round) => {
                sink.tail_asked = false;
                let version = version(FETCH_KEY, FETCH_TAIL)?;
                let answer: FetchResponse = decode(version, frame)?;
                let lane = &mut self.lanes[slot].lane;
                if lane.round == round {
                    match read_tail(&answer)? {
                        Ok(end) => lane.handle_tail(now, &end, &self.settings, &mut self.events),
                        Err(code) => self.ask_failed(now, slot, code),
                    }
                    self.refresh(now, slot);
                }
            }
            Tag::Produce(_) => return Err("an answer to Produce came where none was expected".into()),
        }
        Ok(())
    }

    /// Hands each lane its answer, or the error instead of it.
    fn take_answers<T: Copy>(
        &mut self,
        now: Now,
        lanes: &Lanes,
        answers: &BTreeMap<(&str, i32), (i16, T)>,
        take: impl Fn(&mut super::lane::Lane, T),
    ) {
        for &(slot, round) in lanes {
            let member = &mut self.lanes[slot];
            let place = (member.names[Side::Target as usize].as_str(), member.lane.partition);
            let lane = &mut member.lane;
            if lane.round != round {
                continue;
            }
            match answers.get(&place) {
                Some(&(0, answer)) => take(lane, answer),
                Some(&(code, _)) => self.ask_failed(now, slot, code),
                // Left out of the answer: as if it had not been answered.
                None => self.ask_failed(now, slot, -1),
            }
            self.refresh(now, slot);
        }
    }

    fn ask_failed(&mut self, now: Now, slot: Slot, code: i16) {
        let lane = &mut self.lanes[slot].lane;
        if lane.handle_ask_failed(now, code, &mut self.events) {
            self.events.push_back(Event::LeaderUnknown { lane: lane.id, side: Side::Target });
        }
    }

    // The source.

    fn ask_source(
        &mut self,
        now: Now,
        key: Key,
        timestamp: i64,
        lanes: &Lanes,
        tag: impl FnOnce(Lanes) -> SourceTag,
    ) {
        let Some(source) = self.sources.get(&key).filter(|source| source.conn.is_ready()) else { return };
        let (min, max) = LIST_OFFSETS_SOURCE;
        let Some(version) = source.conn.versions().pick(LIST_OFFSETS_KEY, min, max) else { return };
        for &(slot, _) in lanes {
            self.lanes[slot].lane.is_asking = true;
        }
        let request = self.list_offsets(lanes, timestamp, Side::Source);
        let Some(source) = self.sources.get_mut(&key) else { return };
        let correlation_id = source.conn.next_correlation_id();
        let request = requests::list_offsets(&request, version, correlation_id, &self.client_id);
        // It waits behind a fetch that the broker may hold.
        let patience_ms = u64::try_from(self.settings.fetch_wait_ms).unwrap_or(0);
        source.conn.send(now, tag(lanes.clone()), patience_ms, request);
    }

    pub(super) fn handle_located(
        &mut self,
        now: Now,
        key: Key,
        lanes: &Lanes,
        frame: Bytes,
    ) -> Result<(), String> {
        self.take_source_answers(now, key, lanes, frame, |shard, slot, offset| {
            let lane = &mut shard.lanes[slot].lane;
            match offset {
                BEFORE_ALL => lane.locate_at_start(),
                // No record is that young.
                ..0 => lane.locate_at_end(),
                _ => lane.handle_located(offset),
            }
        })
    }

    pub(super) fn handle_log_starts(
        &mut self,
        now: Now,
        key: Key,
        lanes: &Lanes,
        frame: Bytes,
    ) -> Result<(), String> {
        self.take_source_answers(now, key, lanes, frame, |shard, slot, offset| {
            shard.lanes[slot].lane.handle_log_start(offset);
        })
    }

    pub(super) fn handle_log_ends(
        &mut self,
        now: Now,
        key: Key,
        lanes: &Lanes,
        frame: Bytes,
    ) -> Result<(), String> {
        self.take_source_answers(now, key, lanes, frame, |shard, slot, offset| {
            shard.lanes[slot].lane.handle_log_end(now, offset, &shard.settings, &mut shard.events);
        })
    }

    fn take_source_answers(
        &mut self,
        now: Now,
        key: Key,
        lanes: &Lanes,
        frame: Bytes,
        take: impl Fn(&mut Self, Slot, i64),
    ) -> Result<(), String> {
        let Some(source) = self.sources.get(&key) else { return Ok(()) };
        let (min, max) = LIST_OFFSETS_SOURCE;
        let version =
            source.conn.versions().pick(LIST_OFFSETS_KEY, min, max).ok_or("an answer of an unknown API")?;
        let answer = requests::list_offsets_answer(version, frame).map_err(|bad| bad.to_string())?;
        let answers = list_offsets_answers(&answer);
        for &(slot, round) in lanes {
            let member = &mut self.lanes[slot];
            if member.lane.round != round {
                continue;
            }
            match answers.get(&(member.name(Side::Source).as_str(), member.lane.partition)) {
                Some(&(0, offset)) => take(self, slot, offset),
                Some(&(error::UNSUPPORTED_FOR_MESSAGE_FORMAT, _)) => take(self, slot, BEFORE_ALL),
                answer => {
                    let code = answer.map_or(-1, |&(code, _)| code);
                    match error::of_fetch(code) {
                        ErrorVerdict::Stop(kind) => {
                            let detail = format!(
                                "asking the source for offsets: {}: {}",
                                error::name(code),
                                error::advice(code)
                            );
                            member.lane.stop(kind, detail, &mut self.events);
                        }
                        verdict => {
                            if verdict == ErrorVerdict::LeaderUnknown {
                                self.events.push_back(Event::LeaderUnknown {
                                    lane: member.lane.id,
                                    side: Side::Source,
                                });
                            }
                            member.lane.forget_source_questions();
                            member.fetch_pause_until_us = now.after_ms(FETCH_PAUSE_MS);
                            self.resting.insert(slot);
                        }
                    }
                }
            }
            self.refresh(now, slot);
        }
        Ok(())
    }

    // Requests.

    fn send_target<R: Request + HeaderVersion>(
        &mut self,
        now: Now,
        key: Key,
        version: i16,
        request: &R,
        tag: Tag,
    ) {
        let Some(sink) = self.sinks.get_mut(&key) else { return };
        let request = control::encode(request, version, sink.conn.next_correlation_id(), &self.client_id);
        sink.conn.send(now, tag, 0, request);
    }

    fn list_offsets(&self, lanes: &[(Slot, u32)], timestamp: i64, side: Side) -> ListOffsetsRequest {
        let epoch = |member: &super::Member| match side {
            Side::Source => member.lane.source.epoch,
            Side::Target => member.lane.target.epoch,
        };
        ListOffsetsRequest::default().with_replica_id(CONSUMER).with_topics(self.by_topic(
            lanes,
            side,
            |topic, partitions| ListOffsetsTopic::default().with_name(topic).with_partitions(partitions),
            |member| {
                ListOffsetsPartition::default()
                    .with_partition_index(member.lane.partition)
                    .with_current_leader_epoch(epoch(member))
                    .with_timestamp(timestamp)
            },
        ))
    }

    /// The lanes as requests want them: partitions grouped by topic.
    fn by_topic<P, T>(
        &self,
        lanes: &[(Slot, u32)],
        side: Side,
        topic: impl Fn(TopicName, Vec<P>) -> T,
        partition: impl Fn(&super::Member) -> P,
    ) -> Vec<T> {
        let mut topics: BTreeMap<&StrBytes, Vec<P>> = BTreeMap::new();
        for &(slot, _) in lanes {
            let member = &self.lanes[slot];
            topics.entry(member.name(side)).or_default().push(partition(member));
        }
        topics.into_iter().map(|(name, partitions)| topic(TopicName(name.clone()), partitions)).collect()
    }
}

fn decode<T: kafka_protocol::protocol::Decodable + HeaderVersion>(
    version: i16,
    frame: Bytes,
) -> Result<T, String> {
    control::decode(version, frame).map_err(|bad| bad.to_string())
}

fn list_offsets_answers(answer: &ListOffsetsResponse) -> BTreeMap<(&str, i32), (i16, i64)> {
    let mut answers = BTreeMap::new();
    for topic in &answer.topics {
        for partition in &topic.partitions {
            answers.insert(
                (topic.name.as_str(), partition.partition_index),
                (partition.error_code, partition.offset),
            );
        }
    }
    answers
}

/// The batches of the answer's only partition, or the error code instead.
fn read_tail(answer: &FetchResponse) -> Result<Result<TargetEnd, i16>, String> {
    let Some(partition) = answer.responses.first().and_then(|topic| topic.partitions.first()) else {
        return Ok(Err(-1));
    };
    match partition.error_code {
        0 => {}
        // OFFSET_OUT_OF_RANGE: the last record is deleted already.
        1 => return Ok(Ok(TargetEnd::default())),
        code => return Ok(Err(code)),
    }
    let mut batches = Vec::new();
    let mut records: &[u8] = partition.records.as_deref().unwrap_or_default();
    while let Some(raw) = records.first_chunk::<BATCH_HEADER_BYTES>() {
        let header = BatchHeader::parse(raw).map_err(|bad| bad.to_string())?;
        batches.push(header);
        records = records.get(header.batch_bytes..).unwrap_or_default();
    }
    // There is a record below the log end, so an answer without any is not to be believed.
    Ok(if batches.is_empty() {
        Err(-1)
    } else {
        Ok(TargetEnd { log_start: partition.log_start_offset, batches })
    })
}
