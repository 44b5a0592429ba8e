//! Fetch (1), versions 4 to 13 (sessions from 7 on, leader epochs from 9 on, divergence from 12 on, topic ids from 13 on).
//!
//! Batches are answered as they were stored, from the one that holds the offset on, below the high watermark, or below the last
//! stable offset for readers of committed records, who are told of the aborted transactions in their range. The first batch
//! of an answer comes whole however large it is (KIP-74); later ranges end where their bytes are used up, inside a batch too.
//! Fetches wait for `min_bytes` at most `max_wait_ms`; an error, a divergence or a leader change answers at once.
//! From 11 on any replica answers, with what it has, and a leader sends consumers to the replica in their rack, if there is one.
//! The answer is written by hand, so that payloads go out as the slices they are kept in.

use super::Request;
use crate::broker::delayed::{Checked, Ticket, Waiting};
use crate::broker::fetch_session::{TopicKey, Wanted};
use crate::broker::log::Log;
use crate::broker::response::FrameWriter;
use crate::broker::topic::{Partition, PartitionKey, Replica, Topics};
use crate::broker::{Cluster, Reply, Response};
use crate::limits::{BATCH_HEADER_BYTES, FETCH_ANSWER_BYTES_MAX};
use bytes::{BufMut, BytesMut};
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::FetchRequest;
use std::sync::Arc;

/// A fetch that waits for more data.
#[derive(Debug)]
pub struct PendingFetch {
    fetch: Fetch,
    /// The partitions in whose waiting lists it stands.
    pub keys: Vec<PartitionKey>,
}

#[derive(Debug)]
struct Fetch {
    request: Request,
    min_bytes: usize,
    max_bytes: usize,
    read_committed: bool,
    rack: String,
    session: Session,
}

#[derive(Debug)]
enum Session {
    None(Vec<Wanted>),
    /// The first answer of a session names all its partitions.
    Full(i32),
    Incremental(i32),
}

/// What one partition answers.
#[derive(Debug)]
struct Answer {
    error: Option<ResponseError>,
    high_watermark: i64,
    last_stable_offset: i64,
    log_start_offset: i64,
    diverging: Option<(i32, i64)>,
    /// Leader and epoch, to be told with an error that they explain.
    leader: Option<(i32, i32)>,
    preferred_read_replica: i32,
    records: Range,
}

/// Who asks, where.
#[derive(Clone, Copy)]
struct Reader<'a> {
    node: i32,
    read_committed: bool,
    /// Reads at any replica.
    roams: bool,
    /// Brokers in its rack.
    near: &'a [i32],
}

/// Which bytes of a log: `whole` batches from an offset on, all below `below`, then `cut_bytes` of the next.
#[derive(Clone, Copy, Debug, Default)]
struct Range {
    offset: i64,
    below: i64,
    whole: usize,
    cut_bytes: usize,
    bytes: usize,
}

impl Cluster {
    pub(super) fn fetch(&mut self, request: Request, body: &FetchRequest) -> Option<Reply> {
        let by_id = request.version >= 13;
        let mut wanted = Vec::new();
        for topic in &body.topics {
            let key = topic_key(by_id, &topic.topic, topic.topic_id);
            wanted.extend(topic.partitions.iter().map(|partition| Wanted {
                topic: key.clone(),
                partition: partition.partition,
                resolved: None,
                fetch_offset: partition.fetch_offset,
                max_bytes: usize::try_from(partition.partition_max_bytes).unwrap_or(0),
                current_leader_epoch: partition.current_leader_epoch,
                last_fetched_epoch: partition.last_fetched_epoch,
                sent_high_watermark: -1,
                sent_log_start_offset: -1,
            }));
        }
        let sessions = self.sessions.entry(request.node).or_default();
        let (id, epoch) = (body.session_id, body.session_epoch);
        let session = if request.version < 7 {
            Ok(Session::None(wanted))
        } else if epoch <= 0 {
            if id != 0 {
                sessions.close(id);
            }
            Ok(if epoch == -1 { Session::None(wanted) } else { Session::Full(sessions.open(by_id, wanted)) })
        } else {
            let forgotten = body.forgotten_topics_data.iter().flat_map(|topic| {
                let key = topic_key(by_id, &topic.topic, topic.topic_id);
                topic.partitions.iter().map(move |&partition| (key.clone(), partition))
            });
            let forgotten = forgotten.collect();
            sessions.update(id, epoch, by_id, wanted, forgotten).map(|()| Session::Incremental(id))
        };
        let session = match session {
            Ok(session) => session,
            Err(error) => return Some(Reply::Now(self.refuse(&request, error))),
        };
        let max_bytes = usize::try_from(body.max_bytes).unwrap_or(0).min(FETCH_ANSWER_BYTES_MAX / 2);
        let max_wait_ms = u64::try_from(body.max_wait_ms).unwrap_or(0);
        let deadline_us = request.now.after_ms(max_wait_ms);
        let min_bytes = usize::try_from(body.min_bytes).unwrap_or(0).min(max_bytes);
        let read_committed = body.isolation_level == 1;
        let rack = body.rack_id.to_string();
        let mut fetch = Fetch { request, min_bytes, max_bytes, read_committed, rack, session };
        if max_wait_ms == 0 || min_bytes == 0 {
            return Some(Reply::Now(self.answer_fetch(&mut fetch)));
        }
        let Some(keys) = self.ready(&mut fetch) else {
            return Some(Reply::Now(self.answer_fetch(&mut fetch)));
        };
        let pending = Waiting::Fetch(PendingFetch { fetch, keys: keys.clone() });
        let ticket = self.delayed.add(pending, deadline_us);
        self.wait_for(ticket, keys);
        Some(Reply::Later(ticket))
    }

    /// Answers a waiting fetch if there is enough now, or if it is `due`.
    pub(in crate::broker) fn check_fetch(
        &mut self,
        ticket: Ticket,
        mut pending: PendingFetch,
        due: bool,
    ) -> Checked {
        let keys = if due { None } else { self.ready(&mut pending.fetch) };
        match keys {
            Some(keys) => {
                self.wait_for(ticket, keys.iter().copied());
                pending.keys = keys;
                Checked::StillWaiting(Waiting::Fetch(pending))
            }
            None => {
                let mut waiting = Waiting::Fetch(pending);
                self.forget_waiter(ticket, &waiting);
                match &mut waiting {
                    Waiting::Fetch(pending) => Checked::Answered(self.answer_fetch(&mut pending.fetch)),
                    Waiting::Produce(_) | Waiting::Markers(_) | Waiting::Group => {
                        Checked::StillWaiting(waiting)
                    }
                }
            }
        }
    }

    /// None when the fetch is to be answered now; else the partitions to wait for.
    fn ready(&mut self, fetch: &mut Fetch) -> Option<Vec<PartitionKey>> {
        let near = self.nodes_in(&fetch.rack);
        let reader = fetch.reader(&near);
        let mut bytes = 0;
        let mut keys = Vec::new();
        let mut look = |wanted: &mut Wanted, topics: &Topics| {
            let found = locate(topics, wanted).map(|key| (key, topics.partition(key)));
            let Ok((key, Some(partition))) = found else { return false };
            let Ok(replica) = reader.replica(partition, wanted) else { return false };
            if reader.preferred(partition, wanted).is_some()
                || check_offset(&replica, wanted).is_err()
                || diverging(&replica, wanted) != Ok(None)
            {
                return false;
            }
            keys.push(key);
            let mut available = 0;
            let end = replica.readable_end(reader.read_committed);
            for batch in replica.log.read(wanted.fetch_offset, end) {
                available += batch.size_bytes();
                if available >= wanted.max_bytes || bytes + available >= fetch.min_bytes {
                    break;
                }
            }
            bytes += available.min(wanted.max_bytes.max(1));
            bytes < fetch.min_bytes
        };
        let waits = match &mut fetch.session {
            Session::None(wanted) => wanted.iter_mut().all(|wanted| look(wanted, &self.topics)),
            Session::Full(id) | Session::Incremental(id) => {
                let session = self.sessions.get_mut(&reader.node)?.get_mut(*id)?;
                session.wanted_mut().all(|(_, wanted)| look(wanted, &self.topics))
            }
        };
        waits.then_some(keys)
    }

    fn answer_fetch(&mut self, fetch: &mut Fetch) -> Response {
        let near = self.nodes_in(&fetch.rack);
        let reader = fetch.reader(&near);
        let request = &fetch.request;
        let mut writer = AnswerWriter::new(request, fetch.read_committed, self.faults.throttle_time_ms);
        let mut budget = Budget { bytes: fetch.max_bytes, first: true, cut: self.settings.cut_batches };
        let (topics, faults) = (&self.topics, &mut self.faults);
        let mut inject = |wanted: &Wanted| {
            let topic = wanted.resolved.and_then(|index| topics.get(index));
            let name = topic.map_or("", |topic| topic.name.as_str());
            faults.take(request.api, request.node, name, wanted.partition).map(|(error, _)| error)
        };
        match &mut fetch.session {
            Session::None(wanted) => {
                for wanted in wanted {
                    let (answer, log) = answer(topics, reader, wanted, &mut budget, &mut inject);
                    writer.put(wanted, answer, log);
                }
            }
            Session::Full(id) | Session::Incremental(id) => {
                let id = *id;
                let all = matches!(fetch.session, Session::Full(_));
                let session = self.sessions.get_mut(&request.node).and_then(|it| it.get_mut(id));
                // Closed by another request while this one waited.
                let Some(session) = session else {
                    return self.refuse(request, ResponseError::FetchSessionIdNotFound);
                };
                writer.session_id = id;
                let mut last_served = None;
                for (place, wanted) in session.wanted_mut() {
                    let (answer, log) = answer(topics, reader, wanted, &mut budget, &mut inject);
                    let news = answer.records.bytes > 0
                        || answer.error.is_some()
                        || answer.preferred_read_replica >= 0
                        || answer.diverging.is_some()
                        || answer.high_watermark != wanted.sent_high_watermark
                        || answer.log_start_offset != wanted.sent_log_start_offset;
                    if answer.records.bytes > 0 {
                        last_served = Some(place);
                    }
                    // An error's -1 makes the next good answer news, whatever it says.
                    wanted.sent_high_watermark = answer.high_watermark;
                    wanted.sent_log_start_offset = answer.log_start_offset;
                    if all || news {
                        writer.put(wanted, answer, log);
                    }
                }
                if let Some(place) = last_served {
                    session.served(place);
                }
            }
        }
        writer.finish()
    }

    fn refuse(&self, request: &Request, error: ResponseError) -> Response {
        let mut writer = AnswerWriter::new(request, false, self.faults.throttle_time_ms);
        writer.error = Some(error);
        writer.finish()
    }
}

fn topic_key(by_id: bool, name: &str, id: uuid::Uuid) -> TopicKey {
    if by_id { TopicKey::Id(id) } else { TopicKey::Name(Arc::from(name)) }
}

/// Finds the partition, and remembers the topic.
fn locate(topics: &Topics, wanted: &mut Wanted) -> Result<PartitionKey, ResponseError> {
    if wanted.resolved.and_then(|index| topics.get(index)).is_none() {
        wanted.resolved = match &wanted.topic {
            TopicKey::Name(name) => topics.index_of(name),
            TopicKey::Id(id) => topics.index_of_id(id),
        };
    }
    let topic = wanted.resolved.ok_or(match &wanted.topic {
        TopicKey::Name(_) => ResponseError::UnknownTopicOrPartition,
        TopicKey::Id(_) => ResponseError::UnknownTopicId,
    })?;
    Ok(PartitionKey { topic, partition: wanted.partition })
}

fn check_offset(replica: &Replica<'_>, wanted: &Wanted) -> Result<(), ResponseError> {
    if replica.holds(wanted.fetch_offset) { Ok(()) } else { Err(ResponseError::OffsetOutOfRange) }
}

impl Fetch {
    fn reader<'a>(&self, near: &'a [i32]) -> Reader<'a> {
        let (node, roams) = (self.request.node, self.request.version >= 11);
        Reader { node, read_committed: self.read_committed, roams, near }
    }
}

impl Reader<'_> {
    fn replica<'p>(self, partition: &'p Partition, wanted: &Wanted) -> Result<Replica<'p>, ResponseError> {
        match self.roams {
            true => partition.check_replica(self.node, wanted.current_leader_epoch)?,
            false => partition.check_leader(self.node, wanted.current_leader_epoch)?,
        }
        Ok(partition.replica(self.node))
    }

    /// Where the leader sends this reader: to the replica near it that has most, of those that have the offset.
    fn preferred(self, partition: &Partition, wanted: &Wanted) -> Option<i32> {
        let leader = partition.leader;
        if !self.roams || self.node != leader || self.near.contains(&leader) {
            return None;
        }
        let near = self.near.iter().copied().filter(|node| partition.replicas.contains(node));
        let able = near.filter(|&node| partition.replica(node).holds(wanted.fetch_offset));
        able.max_by_key(|&node| partition.replica(node).ends.log_end_offset)
    }
}

/// The end of the last epoch that consumer and log have in common, when the consumer has read beyond it (KIP-595).
fn diverging(replica: &Replica<'_>, wanted: &Wanted) -> Result<Option<(i32, i64)>, ResponseError> {
    if wanted.last_fetched_epoch < 0 {
        return Ok(None);
    }
    let (epoch, end) = replica.log.end_of_epoch(wanted.last_fetched_epoch);
    if epoch < 0 {
        return Err(ResponseError::OffsetOutOfRange);
    }
    // A follower that has less says so, though nothing has parted.
    let end = end.min(replica.ends.log_end_offset);
    let diverges = epoch < wanted.last_fetched_epoch || end < wanted.fetch_offset;
    Ok(diverges.then_some((epoch, end)))
}

/// What an answer may still take.
struct Budget {
    bytes: usize,
    /// No data yet: the next batch comes whole, however large.
    first: bool,
    cut: bool,
}

impl Budget {
    fn take(&mut self, log: &Log, offset: i64, below: i64, partition_max_bytes: usize) -> Range {
        let mut left = partition_max_bytes.min(self.bytes);
        let mut range = Range { offset, below, ..Range::default() };
        if left == 0 && !self.first {
            return range;
        }
        for batch in log.read(offset, below) {
            let size = batch.size_bytes();
            if size <= left || (self.first && range.whole == 0) {
                range.whole += 1;
                range.bytes += size;
                left = left.saturating_sub(size);
            } else {
                // An answer never begins with a part of a batch: nobody could go on from there.
                if self.cut && range.whole > 0 {
                    range.cut_bytes = left;
                    range.bytes += left;
                }
                break;
            }
        }
        if range.bytes > 0 {
            self.first = false;
            self.bytes = self.bytes.saturating_sub(range.bytes);
        }
        range
    }
}

fn answer<'a>(
    topics: &'a Topics,
    reader: Reader<'_>,
    wanted: &mut Wanted,
    budget: &mut Budget,
    inject: &mut impl FnMut(&Wanted) -> Option<ResponseError>,
) -> (Answer, Option<&'a Log>) {
    let located = locate(topics, wanted);
    let partition = located.ok().and_then(|key| topics.partition(key));
    let served = match (inject(wanted), located, partition) {
        (Some(error), ..) | (None, Err(error), _) => Err(error),
        (None, Ok(_), None) => Err(ResponseError::UnknownTopicOrPartition),
        (None, Ok(_), Some(partition)) => serve(partition, reader, wanted, budget),
    };
    match served {
        Ok(answer) => (answer, partition.map(|partition| &partition.log)),
        Err(error) => {
            let explained =
                matches!(error, ResponseError::NotLeaderOrFollower | ResponseError::FencedLeaderEpoch);
            let leader = partition.filter(|_| explained).map(|it| (it.leader, it.leader_epoch));
            let answer = Answer {
                error: Some(error),
                high_watermark: -1,
                last_stable_offset: -1,
                log_start_offset: -1,
                diverging: None,
                leader,
                preferred_read_replica: -1,
                records: Range::default(),
            };
            (answer, None)
        }
    }
}

fn serve(
    partition: &Partition,
    reader: Reader<'_>,
    wanted: &Wanted,
    budget: &mut Budget,
) -> Result<Answer, ResponseError> {
    let replica = reader.replica(partition, wanted)?;
    let log = replica.log;
    let diverging = diverging(&replica, wanted)?;
    let preferred = reader.preferred(partition, wanted).filter(|_| diverging.is_none());
    let records = if diverging.is_some() || preferred.is_some() {
        Range::default()
    } else {
        check_offset(&replica, wanted)?;
        let end = replica.readable_end(reader.read_committed);
        budget.take(log, wanted.fetch_offset, end, wanted.max_bytes)
    };
    Ok(Answer {
        error: None,
        high_watermark: replica.ends.high_watermark,
        last_stable_offset: replica.ends.last_stable_offset,
        log_start_offset: log.log_start_offset(),
        diverging,
        leader: None,
        preferred_read_replica: preferred.unwrap_or(-1),
        records,
    })
}

/// A partition's index, its answer, and the log that its records come from.
type Answered<'a> = (i32, Answer, Option<&'a Log>);

/// Collects what the partitions answer, and writes it out with the counts before it.
struct AnswerWriter<'a> {
    request: &'a Request,
    read_committed: bool,
    throttle_time_ms: i32,
    error: Option<ResponseError>,
    session_id: i32,
    topics: Vec<(TopicKey, Vec<Answered<'a>>)>,
}

impl<'a> AnswerWriter<'a> {
    fn new(request: &'a Request, read_committed: bool, throttle_time_ms: i32) -> Self {
        let (error, session_id, topics) = (None, 0, Vec::new());
        Self { request, read_committed, throttle_time_ms, error, session_id, topics }
    }

    fn put(&mut self, wanted: &Wanted, answer: Answer, log: Option<&'a Log>) {
        let partition = (wanted.partition, answer, log);
        match self.topics.last_mut() {
            Some((topic, partitions)) if *topic == wanted.topic => partitions.push(partition),
            _ => self.topics.push((wanted.topic.clone(), vec![partition])),
        }
    }

    fn finish(self) -> Response {
        let version = self.request.version;
        let flexible = version >= 12;
        let mut writer = FrameWriter::new(self.request.correlation_id, flexible);
        writer.framing.put_i32(self.throttle_time_ms);
        if version >= 7 {
            writer.framing.put_i16(self.error.map_or(0, |error| error.code()));
            writer.framing.put_i32(self.session_id);
        }
        put_count(&mut writer.framing, self.topics.len(), flexible);
        for (topic, partitions) in self.topics {
            match topic {
                TopicKey::Id(id) => writer.framing.put_slice(id.as_bytes()),
                TopicKey::Name(name) => {
                    if flexible {
                        put_count(&mut writer.framing, name.len(), flexible);
                    } else {
                        writer.framing.put_i16(i16::try_from(name.len()).unwrap_or(i16::MAX));
                    }
                    writer.framing.put_slice(name.as_bytes());
                }
            }
            put_count(&mut writer.framing, partitions.len(), flexible);
            for (index, answer, log) in partitions {
                put_partition(&mut writer, version, self.read_committed, index, &answer, log);
            }
            if flexible {
                writer.framing.put_u8(0);
            }
        }
        if flexible {
            writer.framing.put_u8(0);
        }
        writer.finish()
    }
}

fn put_partition(
    writer: &mut FrameWriter,
    version: i16,
    read_committed: bool,
    index: i32,
    answer: &Answer,
    log: Option<&Log>,
) {
    let flexible = version >= 12;
    let framing = &mut writer.framing;
    framing.put_i32(index);
    framing.put_i16(answer.error.map_or(0, |error| error.code()));
    framing.put_i64(answer.high_watermark);
    framing.put_i64(answer.last_stable_offset);
    if version >= 5 {
        framing.put_i64(answer.log_start_offset);
    }
    if read_committed {
        put_aborted(framing, answer.records, log, flexible);
    } else if flexible {
        framing.put_u8(0);
    } else {
        framing.put_i32(-1);
    }
    if version >= 11 {
        framing.put_i32(answer.preferred_read_replica);
    }
    put_count(framing, answer.records.bytes, flexible);
    if let Some(log) = log {
        put_records(writer, answer.records, log);
    }
    if flexible {
        let framing = &mut writer.framing;
        framing.put_u8(u8::from(answer.diverging.is_some()) + u8::from(answer.leader.is_some()));
        if let Some((epoch, end_offset)) = answer.diverging {
            framing.put_slice(&[0, 13]);
            framing.put_i32(epoch);
            framing.put_i64(end_offset);
            framing.put_u8(0);
        }
        if let Some((leader, epoch)) = answer.leader {
            framing.put_slice(&[1, 9]);
            framing.put_i32(leader);
            framing.put_i32(epoch);
            framing.put_u8(0);
        }
    }
}

/// The aborted transactions that reach into the range. Their markers lie within it, too, where it reaches so far.
fn put_aborted(framing: &mut BytesMut, range: Range, log: Option<&Log>, flexible: bool) {
    let Some(log) = log.filter(|_| range.bytes > 0) else { return put_count(framing, 0, flexible) };
    let mut batches = log.read(range.offset, range.below);
    let last = batches.nth(range.whole.saturating_sub(1));
    let last = if range.cut_bytes > 0 { batches.next().or(last) } else { last };
    let below = last.map_or(range.offset, |batch| batch.last_offset() + 1);
    let aborted: Vec<_> = log.aborted(range.offset, below).collect();
    put_count(framing, aborted.len(), flexible);
    for transaction in aborted {
        framing.put_i64(transaction.producer_id);
        framing.put_i64(transaction.first_offset);
        if flexible {
            framing.put_u8(0);
        }
    }
}

fn put_records(writer: &mut FrameWriter, range: Range, log: &Log) {
    let mut batches = log.read(range.offset, range.below);
    for batch in batches.by_ref().take(range.whole) {
        writer.framing.put_slice(batch.header());
        writer.put_payload(&batch.payload);
    }
    if range.cut_bytes > 0
        && let Some(batch) = batches.next()
    {
        let header_bytes = range.cut_bytes.min(BATCH_HEADER_BYTES);
        writer.framing.put_slice(&batch.header()[..header_bytes]);
        writer.put_payload(&batch.payload.slice(..range.cut_bytes - header_bytes));
    }
}

/// An array's or a string's length: the compact form is an unsigned varint of the length plus one.
fn put_count(framing: &mut BytesMut, count: usize, flexible: bool) {
    if !flexible {
        framing.put_i32(i32::try_from(count).unwrap_or(i32::MAX));
        return;
    }
    let mut rest = count + 1;
    while rest >= 0x80 {
        framing.put_u8((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    framing.put_u8(rest as u8);
}
