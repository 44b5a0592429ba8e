//! Reads the headers of the batches of one broker's partitions.

use super::Shared;
use crate::config::Address;
use crate::edge::client::{Client, ClientError};
use crate::edge::clock;
use crate::edge::verify::Tap;
use crate::error;
use crate::load::Codec;
use crate::load::shape::{LeftOut, Seen};
use crate::wire::TopicKey;
use crate::wire::batch::BatchHeader;
use crate::wire::fetch::{FetchPartition, Walked};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

const READ_UNCOMMITTED: u8 = 0;
const PARTITION_BYTES: i32 = 4 << 20;
const ANSWER_BYTES: i32 = 32 << 20;

/// A partition that is watched.
#[derive(Clone, Debug)]
pub struct Lane {
    pub number: u32,
    pub topic: String,
    pub partition: i32,
    /// What is read next.
    pub position: i64,
    /// Of a backlog: where it is read up to.
    pub end: Option<i64>,
}

impl Lane {
    fn is_read(&self) -> bool {
        self.end.is_some_and(|end| self.position >= end)
    }

    /// The topic, as requests carry it.
    fn name(&self) -> Bytes {
        Bytes::copy_from_slice(self.topic.as_bytes())
    }

    fn fetch(&self) -> FetchPartition {
        FetchPartition {
            topic: TopicKey::Name(self.name()),
            partition: self.partition,
            current_leader_epoch: -1,
            fetch_offset: self.position,
            last_fetched_epoch: -1,
            log_start_offset: -1,
            partition_max_bytes: PARTITION_BYTES,
        }
    }
}

#[derive(Debug, Default)]
pub struct Found {
    pub batches: Vec<Seen>,
    pub left_out: LeftOut,
}

impl Found {
    pub fn merge(&mut self, other: Self) {
        self.batches.extend(other.batches);
        self.left_out.control += other.left_out.control;
        self.left_out.empty += other.left_out.empty;
        self.left_out.dated_otherwise += other.left_out.dated_otherwise;
    }

    /// Takes away the silence around a backlog, so that a replay does not wait for it. Returns when it begins, and its length in
    /// µs.
    pub fn trim(&mut self, since_ms: i64) -> (i64, u64) {
        let times = || self.batches.iter().map(|seen| seen.at_us);
        let (Some(first_us), Some(last_us)) = (times().min(), times().max()) else { return (since_ms, 1) };
        self.batches.iter_mut().for_each(|seen| seen.at_us -= first_us);
        // As long after the last one as batches are apart.
        let active_us = last_us - first_us;
        let gap_us = active_us / (self.batches.len() as u64 - 1).max(1);
        (since_ms + (first_us / 1000) as i64, active_us + gap_us.max(1))
    }
}

/// How it ended.
pub struct End {
    pub found: Found,
    /// What is not read to its end.
    pub lanes: Vec<Lane>,
    /// What went wrong, and whether it may pass.
    pub trouble: Option<(String, bool)>,
}

pub struct Watcher<'a> {
    shared: &'a Shared<'a>,
    /// Somebody has to look up leaders.
    again: &'a AtomicBool,
    found: Found,
}

/// Why reading cannot go on, and whether that may pass.
struct Trouble(String, bool);

impl From<ClientError> for Trouble {
    fn from(error: ClientError) -> Self {
        let passes = !matches!(
            error,
            ClientError::Unsupported { .. } | ClientError::NotKafka { .. } | ClientError::Denied { .. }
        );
        Self(error.to_string(), passes)
    }
}

impl<'a> Watcher<'a> {
    pub fn new(shared: &'a Shared<'a>, again: &'a AtomicBool) -> Self {
        Self { shared, again, found: Found::default() }
    }

    /// Reads until everything is read or over, or something has to be looked up.
    pub fn run(mut self, leader: &Address, mut lanes: Vec<Lane>) -> End {
        let trouble = self.read(leader, &mut lanes).err().map(|Trouble(what, passes)| (what, passes));
        if trouble.is_some() {
            self.again.store(true, Ordering::Relaxed);
        }
        lanes.retain(|lane| !lane.is_read());
        End { found: self.found, lanes, trouble }
    }

    fn read(&mut self, leader: &Address, lanes: &mut [Lane]) -> Result<(), Trouble> {
        let Shared { access, client_id, timeout, .. } = self.shared;
        let client = Client::connect(leader, access, client_id, *timeout)?;
        let mut tap = Tap::new(client)?;
        let numbers: BTreeMap<(Bytes, i32), usize> =
            lanes.iter().enumerate().map(|(at, lane)| ((lane.name(), lane.partition), at)).collect();
        let mut turn = 0;
        while !self.shared.is_over() && !self.again.load(Ordering::Relaxed) {
            let mut asked: Vec<FetchPartition> =
                lanes.iter().filter(|lane| !lane.is_read()).map(Lane::fetch).collect();
            if asked.is_empty() {
                return Ok(());
            }
            // An answer has room for the first ones only where all have much; so everybody is first in turn. Those of one topic
            // have to stand together, so that whole topics change places.
            turn = (turn + 1) % asked.len();
            rotate(&mut asked, turn);
            tap.ask_all(&asked, ANSWER_BYTES, READ_UNCOMMITTED)?;
            self.walk(&mut tap, lanes, &numbers)?;
        }
        Ok(())
    }

    fn walk(
        &mut self,
        tap: &mut Tap,
        lanes: &mut [Lane],
        numbers: &BTreeMap<(Bytes, i32), usize>,
    ) -> Result<(), Trouble> {
        let refused = |what: &str, code: i16| {
            let message = format!("{what}: {}: {}", error::name(code), error::advice(code));
            Trouble(message, error::is_retriable(code))
        };
        let mut topic = Bytes::new();
        let mut lane = None;
        loop {
            match tap.step()? {
                Walked::Response { error, .. } if error != 0 => return Err(refused("reading", error)),
                Walked::Topic(TopicKey::Name(found)) => topic = found,
                Walked::Partition(head) => {
                    lane = numbers.get(&(topic.clone(), head.partition)).copied();
                    if head.error != 0 {
                        let name = String::from_utf8_lossy(&topic);
                        return Err(refused(&format!("reading {name}-{}", head.partition), head.error));
                    }
                }
                Walked::Batch { header, .. } => {
                    tap.skip(header.payload_bytes())?;
                    if let Some(lane) = lane.and_then(|at| lanes.get_mut(at)) {
                        self.saw(lane, &header);
                    }
                }
                Walked::Cut { bytes } => tap.skip(bytes)?,
                Walked::OldFormat { .. } => {
                    let name = String::from_utf8_lossy(&topic);
                    return Err(Trouble(
                        format!(
                            "{name} has batches of an old message format (before Kafka 0.11), which have no such headers; leave it \
                             out with --exclude"
                        ),
                        false,
                    ));
                }
                Walked::Damaged(bad) => return Err(Trouble(bad.to_string(), false)),
                Walked::End => return Ok(()),
                _ => {}
            }
        }
    }

    fn saw(&mut self, lane: &mut Lane, header: &BatchHeader) {
        let now_us = clock::now().mono_us;
        // An answer may begin with a batch that was seen.
        if header.next_offset() <= lane.position || lane.is_read() || self.shared.is_over() {
            return;
        }
        lane.position = header.next_offset();
        let left_out = &mut self.found.left_out;
        let at_us = match self.shared.since_ms {
            None => now_us.saturating_sub(self.shared.begin_us),
            Some(since_ms) => {
                u64::try_from(header.max_timestamp_ms - since_ms).map_or(u64::MAX, |ms| ms * 1000)
            }
        };
        let until_us = match self.shared.since_ms {
            None => self.shared.until_us - self.shared.begin_us,
            Some(since_ms) => u64::try_from(clock::now().wall_ms - since_ms).map_or(0, |ms| ms * 1000),
        };
        let records = u32::try_from(header.record_count).unwrap_or(0);
        let codec = Codec::of_id(header.codec());
        match codec {
            _ if header.is_control() => left_out.control += 1,
            Some(codec) if records > 0 && at_us <= until_us => {
                if !self.shared.count(header.batch_bytes as u64) {
                    self.shared.over.store(true, Ordering::Relaxed);
                    return;
                }
                let bytes = u32::try_from(header.batch_bytes).unwrap_or(u32::MAX);
                self.found.batches.push(Seen { at_us, lane: lane.number, bytes, records, codec });
            }
            Some(_) if records > 0 => left_out.dated_otherwise += 1,
            _ => left_out.empty += 1,
        }
    }
}

/// Moves whole topics from the front to the back, about so many partitions.
fn rotate(asked: &mut [FetchPartition], turn: usize) {
    let begins_topic = |at: &usize| *at == 0 || asked[*at].topic != asked[*at - 1].topic;
    let at = (0..=turn).rev().find(begins_topic).unwrap_or(0);
    // Within one topic any order will do.
    let at = if asked.first().map(|first| &first.topic) == asked.last().map(|last| &last.topic) {
        turn
    } else {
        at
    };
    asked.rotate_left(at);
}
