//! Reads back what is sent, while it is sent: a thread for each broker, each batch checked, its way timed.

use super::connection::Flight;
use crate::config::{Address, Cluster};
use crate::edge::client::{Client, ClientError};
use crate::edge::clock;
use crate::edge::security::Access;
use crate::error;
use crate::limits::FETCH_ANSWER_BYTES_MAX;
use crate::load::{Batches, Checker, Found, Measures, Tally};
use crate::stats::Latency;
use crate::wire::TopicKey;
use crate::wire::fetch::{FetchPartition, FetchRequest, FetchWalk, Walked};
use crate::wire::frame::frame_bytes;
use bytes::{Bytes, BytesMut};
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

const FETCH_KEY: i16 = 1;
const FETCH_VERSIONS: (i16, i16) = (4, 11);
const WAIT_MS: i32 = 250;
const PARTITION_BYTES: i32 = 8 << 20;
const ANSWER_BYTES: i32 = 32 << 20;
/// How often in a row a partition may be refused for a passing reason, and the pause before it is asked for again.
const REFUSALS_MAX: u32 = 100;
const REFUSED_PAUSE: Duration = Duration::from_millis(100);
const READ_BYTES: usize = 256 << 10;

/// What sender and readers know of each other.
pub struct Track {
    /// By lane: when each batch was sent (index, intended, sent; µs), until it has arrived. Empty when nobody reads.
    sent: Vec<Mutex<VecDeque<(u64, u64)>>>,
    consumed: Mutex<Consumed>,
    batches: AtomicU64,
    pub over: AtomicBool,
}

#[derive(Default)]
struct Consumed {
    records: u64,
    bytes: u64,
    end_to_end: Latency,
}

impl Track {
    pub fn new(lanes: usize) -> Self {
        Self {
            sent: (0..lanes).map(|_| Mutex::default()).collect(),
            consumed: Mutex::default(),
            batches: AtomicU64::new(0),
            over: AtomicBool::new(false),
        }
    }

    /// A batch is about to be sent. Its time counts from when it was meant to be.
    pub fn sent(&self, flight: &Flight) {
        if let Some(sent) = self.sent.get(flight.lane as usize) {
            lock(sent).push_back((flight.index, flight.intended_us.unwrap_or(flight.sent_us)));
        }
    }

    /// Moves what was read since the last time.
    pub fn collect(&self, measures: &mut Measures) {
        if self.sent.is_empty() {
            return;
        }
        let mut consumed = lock(&self.consumed);
        measures.consumed_records += consumed.records;
        measures.consumed_bytes += consumed.bytes;
        measures.end_to_end.merge(&consumed.end_to_end);
        (consumed.records, consumed.bytes) = (0, 0);
        consumed.end_to_end.clear();
    }

    /// Nobody reads.
    pub fn is_idle(&self) -> bool {
        self.sent.is_empty()
    }

    /// Batches that arrived, good or bad.
    pub fn batches(&self) -> u64 {
        self.batches.load(Ordering::Relaxed)
    }

    fn arrived(
        &self,
        lane: usize,
        found: Found,
        records: u64,
        bytes: u64,
        now_us: u64,
        measured_from_us: u64,
    ) {
        let sent_us = match found {
            Found::Batch { index } => take(&mut lock(&self.sent[lane]), index),
            Found::Duplicate { .. } | Found::Corrupt => None,
        };
        let mut consumed = lock(&self.consumed);
        consumed.records += records;
        consumed.bytes += bytes;
        if let Some(sent_us) = sent_us.filter(|us| *us >= measured_from_us) {
            consumed.end_to_end.record_many_us(now_us.saturating_sub(sent_us), records);
        }
        self.batches.fetch_add(1, Ordering::Relaxed);
    }
}

/// When the batch was sent. Forgets it, and all before it.
fn take(sent: &mut VecDeque<(u64, u64)>, index: u64) -> Option<u64> {
    while let Some((first, at_us)) = sent.front().copied().filter(|(first, _)| *first <= index) {
        sent.pop_front();
        if first == index {
            return Some(at_us);
        }
    }
    None
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A lane to be read: number, topic, partition, and the offset at which the load begins.
pub struct Lane {
    pub number: u32,
    pub topic: String,
    pub partition: i32,
    pub first_offset: i64,
}

pub struct Readers<'a> {
    pub cluster: &'a Cluster,
    pub client_id: &'a str,
    pub timeout: Duration,
    pub batches: &'a Batches,
    pub track: &'a Track,
    /// The load has transactions, whose ends stand between its batches.
    pub has_markers: bool,
    /// Latencies of what was sent before do not count.
    pub measured_from_us: u64,
}

impl Readers<'_> {
    /// Starts a thread for each leader. Each ends with its lanes' checkers when [`Track::over`] is set.
    pub fn start<'scope, 'env>(
        &'env self,
        scope: &'scope thread::Scope<'scope, 'env>,
        lanes: BTreeMap<Address, Vec<Lane>>,
    ) -> io::Result<Vec<thread::ScopedJoinHandle<'scope, Result<Checkers, String>>>> {
        let access = Access::new(&self.cluster.security);
        let start = |(leader, lanes): (Address, Vec<Lane>)| {
            let access = Arc::clone(&access);
            thread::Builder::new().name("reader".into()).spawn_scoped(scope, move || {
                let client = Client::connect(&leader, &access, self.client_id, self.timeout);
                client.map_err(|error| error.to_string()).and_then(|client| self.read(client, &lanes))
            })
        };
        lanes.into_iter().map(start).collect()
    }

    fn read(&self, mut client: Client, lanes: &[Lane]) -> Result<Checkers, String> {
        let (min, max) = FETCH_VERSIONS;
        let version = client.pick(FETCH_KEY, min, max).map_err(|error| error.to_string())?;
        let mut positions: Vec<FetchPartition> = lanes.iter().map(position).collect();
        let mut checkers: Vec<Checker> =
            lanes.iter().map(|lane| Checker::new(lane.number, lane.first_offset)).collect();
        let mut refusals = 0;
        while !self.track.over.load(Ordering::Relaxed) {
            let mut frame =
                self.fetch(&mut client, version, &positions).map_err(|error| error.to_string())?;
            let now_us = clock::now().mono_us;
            let mut is_refused = false;
            let mut walk = FetchWalk::new(version);
            let mut topic = TopicKey::Name(Bytes::new());
            let mut at = 0;
            loop {
                match walk.step(&mut frame).map_err(|bad| bad.to_string())? {
                    Walked::Topic(found) => topic = found,
                    Walked::Partition(head) if error::is_retriable(head.error) && refusals < REFUSALS_MAX => {
                        is_refused = true;
                    }
                    Walked::Partition(head) if head.error != 0 => {
                        let lane = lanes.iter().find(|lane| lane.partition == head.partition);
                        return Err(format!(
                            "{}-{} cannot be read: {}: {}",
                            lane.map_or("the topic", |lane| &lane.topic),
                            head.partition,
                            error::name(head.error),
                            error::advice(head.error)
                        ));
                    }
                    Walked::Partition(head) => {
                        let is_it =
                            |each: &FetchPartition| each.partition == head.partition && each.topic == topic;
                        at = positions
                            .iter()
                            .position(is_it)
                            .ok_or("an answer has a partition that was not asked for")?;
                    }
                    Walked::Batch { header, raw } => {
                        let payload = frame.split_to(header.payload_bytes()).freeze();
                        walk.take_payload(payload.len());
                        // A fetch returns the whole batch that holds the offset; it may have been taken before.
                        if header.next_offset() <= positions[at].fetch_offset {
                            continue;
                        }
                        positions[at].fetch_offset = header.next_offset();
                        if header.is_control() && self.has_markers {
                            checkers[at].pass_marker(header.next_offset());
                            continue;
                        }
                        let found = checkers[at].check(self.batches, &raw, std::iter::once(&payload[..]));
                        let records = u64::try_from(header.record_count).unwrap_or(0);
                        let lane = lanes[at].number as usize;
                        let bytes = header.batch_bytes as u64;
                        self.track.arrived(lane, found, records, bytes, now_us, self.measured_from_us);
                    }
                    Walked::Cut { bytes } => {
                        let _ = frame.split_to(bytes);
                        walk.take_payload(bytes);
                    }
                    Walked::OldFormat { .. } | Walked::Damaged(_) => {
                        return Err("the topic holds something that is no batch".into());
                    }
                    Walked::End => break,
                    Walked::NeedMore => return Err("a Fetch answer ends too early".into()),
                    _ => {}
                }
            }
            refusals = if is_refused { refusals + 1 } else { 0 };
            if is_refused {
                thread::sleep(REFUSED_PAUSE);
            }
        }
        Ok(Checkers(lanes.iter().map(|lane| lane.number).zip(checkers).collect()))
    }

    fn fetch(
        &self,
        client: &mut Client,
        version: i16,
        positions: &[FetchPartition],
    ) -> Result<BytesMut, ClientError> {
        if client.is_login_due() {
            client.log_in()?;
        }
        let mut request = BytesMut::new();
        FetchRequest {
            version,
            correlation_id: client.next_correlation_id(),
            client_id: self.client_id,
            max_wait_ms: WAIT_MS,
            min_bytes: 1,
            max_bytes: ANSWER_BYTES,
            isolation: 0,
            session_id: 0,
            session_epoch: -1,
            partitions: positions,
            forgotten: &[],
            rack: "",
        }
        .encode(&mut request);
        client.send(FETCH_KEY, &request)?;
        answer(client).map_err(|cause| client.explain(FETCH_KEY, cause))
    }
}

/// The next answer with its size prefix.
fn answer(client: &mut Client) -> io::Result<BytesMut> {
    let mut frame = BytesMut::new();
    let mut wanted = 4;
    while frame.len() < wanted {
        let before = frame.len();
        frame.resize(before + (wanted - before).min(READ_BYTES), 0);
        let read = client.read_raw(&mut frame[before..])?;
        frame.truncate(before + read);
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if let (4, Some(prefix)) = (wanted, frame.first_chunk::<4>()) {
            wanted += frame_bytes(*prefix, FETCH_ANSWER_BYTES_MAX).map_err(io::Error::other)?;
        }
    }
    Ok(frame)
}

fn position(lane: &Lane) -> FetchPartition {
    FetchPartition {
        topic: TopicKey::Name(Bytes::copy_from_slice(lane.topic.as_bytes())),
        partition: lane.partition,
        current_leader_epoch: -1,
        fetch_offset: lane.first_offset,
        last_fetched_epoch: -1,
        log_start_offset: -1,
        partition_max_bytes: PARTITION_BYTES,
    }
}

/// What the readers found, lane by lane.
pub struct Checkers(Vec<(u32, Checker)>);

impl Checkers {
    /// The sum, given how many batches were sent to each lane.
    pub fn tally(&self, counts: &[u64]) -> Tally {
        let mut sum = Tally::default();
        for (lane, checker) in &self.0 {
            sum += checker.tally(counts.get(*lane as usize).copied().unwrap_or(0));
        }
        sum
    }
}
