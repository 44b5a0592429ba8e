//! The link's memory: a log on the target (`__twinlog.<link>`, one partition, compacted) that only one instance can write.
//!
//! # How two instances are kept apart
//!
//! The target's transaction coordinator gives each incarnation that asks with the link's transactional id a higher epoch of
//! one producer id: the **lock**. With it the ledger appends plain idempotent batches, sequences from 0 on, one at a time, each
//! retried byte for byte until its fate is known. The broker refuses a batch with an older epoch than it has seen in the
//! partition, and a sequence that does not follow. So:
//!
//! 1. **Claim**: take a new epoch. This locks nobody out yet: brokers compare epochs per partition.
//! 2. **Own**: append an owner record (acks = all). From here on every older epoch is refused.
//! 3. **Read** the log up to that record. Nothing older can come after it: the state read is complete.
//! 4. If the coordinator forgot the transactional id meanwhile (it does after a week, by `transactional.id.expiration.ms`, even
//!    while the owner writes) it handed out *another* producer id, whose epochs fence nobody. The log names the earlier ids;
//!    each is locked out by one record under *its* id with the next epoch; then again from 2.
//! 5. **Open**: publish the data producer id if there is none yet, and how many shards the link ever had; then lanes may run.
//!
//! A crash anywhere leaves either an owner record or none; both are harmless. Two instances that claim at once are ordered by
//! their epochs, and the one with the lower epoch loses at its next append at the latest.
//!
//! # What ownership is worth
//!
//! A run is used only once its record is acknowledged, so two instances never number the source's records differently. What
//! an owner that was locked out may still *send* is bounded by its **lease**: from the first sending of its last acknowledged
//! append it lasts `lease_ms`. Its successor begins `lease_ms + zombie_bound_ms` after locking it out to rely on its silence
//! (`zombies_until_us`), unless the predecessor released the lock.
//!
//! The lock's state in the broker lives as long as its records are younger than `producer.id.expiration.ms`. An owner that could
//! not append for a good part of that time must claim anew ([`End::Lapsed`]).

mod format;
mod known;
mod lane;
mod log;
mod peers;
mod standing;

pub use format::{DataPid, Failover, Loss, Owner, StateRecord, decode_batches, encode_batch, parts_told};
pub use peers::{Peer, Peers};
pub use standing::Standing;

use crate::config::TopicNames;
use crate::error::{self, Verdict};
use crate::shard::{BEHIND_OTHERS, Checkpoint, LaneId, Lease, LossCause, OffsetMode, Run, StopKind};
use crate::time::Now;
use bytes::Bytes;
use format::{Key, LaneValue, cause_name};
use lane::Lane;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use uuid::Uuid;

/// Checkpoints wait this long to be written together.
const FLUSH_MS: u64 = 1_000;
/// A batch of the state topic holds records of about this size at most; brokers take 1 MB by default.
const APPEND_BYTES_MAX: usize = 512 << 10;
/// A key and its value; None deletes the key.
type Record = (Bytes, Option<Bytes>);
/// Notes in one append.
const NOTES_MAX: usize = 1_000;
/// Older runs in one record.
const CHUNK_RUNS: usize = 512;
/// An owner that could not append for this long claims anew, however long the broker keeps its state.
const LAPSE_MS_MAX: u64 = 3_600_000;
/// No owner is waited for longer than this, whatever its record says.
const SILENCE_MS_MAX: u64 = 86_400_000;

/// Begins the names of all links' state topics.
pub use crate::limits::STATE_TOPIC_PREFIX;

/// The name of a link's state topic.
pub fn state_topic(link: &str) -> String {
    format!("{STATE_TOPIC_PREFIX}{link}")
}

/// The transactional id that is a link's lock. The group that keeps the positions of lanes in transactions is called the same.
pub fn transactional_id(link: &str) -> String {
    format!("twinlog.{link}")
}

/// The transactional id of a shard.
pub fn shard_transactional_id(link: &str, shard: u32) -> String {
    format!("twinlog.{link}.{shard}")
}

/// The transactional id for the transactions that fill gaps. No link's name has a colon.
pub fn gaps_transactional_id(link: &str) -> String {
    format!("twinlog.{link}:gaps")
}

/// What the ledger is told once and for all.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Cluster ids; empty where the cluster has none (before Kafka 0.10.1).
    pub source_cluster: String,
    pub target_cluster: String,
    /// What the target calls the link's topics.
    pub names: TopicNames,
    /// In how many parts the link is divided of which this is one; None: it is not.
    pub parts: Option<u32>,
    /// A name that no other instance ever had.
    pub instance: String,
    pub zombie_bound_ms: u64,
    /// The target's `producer.id.expiration.ms`, if known.
    pub producer_id_expiration_ms: Option<i64>,
    /// Shards of this instance, each with a transactional id of its own.
    pub shards: u32,
}

impl Settings {
    /// How long an acknowledged append entitles to send.
    pub fn lease_ms(&self) -> u64 {
        (self.zombie_bound_ms / 3).clamp(1, 10_000)
    }

    /// How long after an owner was locked out its last request may still be under way.
    fn silence_us_after(&self, owner: &Owner) -> u64 {
        let unreleased_ms = || {
            let lease_ms = owner.lease_ms.max(self.lease_ms());
            lease_ms.saturating_add(owner.zombie_bound_ms.max(self.zombie_bound_ms))
        };
        owner.released_ms.unwrap_or_else(unreleased_ms).min(SILENCE_MS_MAX) * 1000
    }

    fn lapse_ms(&self) -> u64 {
        let expiration_ms = self.producer_id_expiration_ms.and_then(|ms| u64::try_from(ms).ok());
        expiration_ms.map_or(LAPSE_MS_MAX, |ms| (ms / 2).min(LAPSE_MS_MAX)).max(self.lease_ms())
    }
}

/// What the ledger wants done next. One thing at a time: the answer (`on_*`) comes before anything else is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Todo {
    /// Read the state topic from this offset to its high watermark and at least up to `until` (exclusive); `on_read`.
    Read { from: i64, until: i64 },
    /// InitProducerId with [`transactional_id`]; `on_claimed`.
    Claim,
    /// InitProducerId without a transactional id; `on_allocated`.
    Allocate,
    /// Produce into the state topic with acks = -1 and no transactional id; `on_appended` or `on_refused`.
    Append(Append),
}

/// A batch for the state topic, ready to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Append {
    /// Whole, header included.
    pub batch: Bytes,
}

/// What follows from an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The state is complete and this instance owns the link. Lanes may be bound.
    Open {
        producer_id: i64,
        producer_epoch: i16,
        marker_producer_id: i64,
        /// Requests of earlier owners may be under way until this moment (steady clock, µs).
        zombies_until_us: u64,
    },
    /// Hand it to the lane's shard as `Command::RunDurable`. In the order in which they were wanted; a run that was replaced
    /// before it was written is left out.
    RunDurable {
        lane: LaneId,
        run: Run,
    },
    Lease(Lease),
    /// The owner record says that the lock is free.
    Released,
    /// Nothing follows after one of these.
    Ended(End),
}

/// Why a ledger came to its end before it was released.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// Another instance took over.
    Fenced,
    /// The lock was not renewed for too long, or the broker lost its state: stop the lanes, and begin anew with a new ledger.
    Lapsed,
    /// The link's state topic belongs to another pair of clusters.
    OtherClusters(Box<DataPid>),
    /// The link has written under other names than those it is told now.
    OtherNames { before: TopicNames, now: TopicNames },
    /// The link was divided in another number of parts, which may not change.
    OtherParts { before: Option<u32>, now: Option<u32> },
    /// The state topic cannot be understood.
    Unreadable(String),
    /// The target refuses the ledger's records with this error code, and will again.
    Refused(i16),
}

/// What is durable of a lane when it begins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bound {
    pub runs: Vec<Run>,
    pub checkpoint: Option<Checkpoint>,
    pub mode: OffsetMode,
}

/// See the module.
#[derive(Debug)]
pub struct Ledger {
    settings: Settings,
    phase: Phase,
    /// A `Todo` is out.
    asked: bool,
    in_flight: Option<InFlight>,
    /// The lock: producer id and epoch.
    lock: (i64, i16),
    next_sequence: i32,
    /// The log is read up to here.
    read_to: i64,
    /// Offset of this incarnation's last owner record of the opening.
    owner_offset: Option<i64>,
    owner_is_seen: bool,
    /// By lock producer id: the last owner record before our own.
    owners: BTreeMap<i64, Owner>,
    /// The lock producer id of the last of them.
    last_owner: Option<i64>,
    data_pid: Option<DataPid>,
    lanes: BTreeMap<(Arc<str>, i32), Lane>,
    ids: BTreeMap<LaneId, (Arc<str>, i32)>,
    /// The gap ledger: by topic, partition and first offset.
    losses: BTreeMap<(String, i32, i64), Loss>,
    failovers: BTreeMap<(String, i32), Failover>,
    /// What the first part of a divided link has seen on both sides.
    topics: BTreeSet<String>,
    /// By topic; none for those whose records come from the source alone.
    upstream: BTreeMap<String, BTreeSet<String>>,
    /// Records to be appended as they are.
    notes: VecDeque<Record>,
    /// The first sending of the last append.
    sent_us: u64,
    /// When checkpoints were last written. Signs of life and new runs in between do not put them off.
    flushed_us: u64,
    lease: Lease,
    renewal_wanted: bool,
    /// When the last owner record of our own was acknowledged, and how long earlier owners may be heard after that.
    owned_us: u64,
    silence_us: u64,
    zombies_until_us: u64,
    release_wanted: bool,
    /// Producer ids of transactions that are to be published.
    pids_wanted: BTreeSet<i64>,
    effects: VecDeque<Effect>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// A first look, which spares a misnamed link the harm of locking out another.
    Reading,
    Claiming,
    Owning,
    /// Reading the log up to our own owner record.
    Completing {
        until: i64,
    },
    /// Locking out the owner with this other lock producer id.
    Fencing {
        pid: i64,
    },
    /// First the producer id of the records, then that of the control records in gaps.
    Allocating {
        records: Option<(i64, i16)>,
    },
    Publishing,
    Open,
    Releasing,
    Ended,
}

#[derive(Debug)]
struct InFlight {
    append: Append,
    records: i32,
    /// Steady clock, µs. A retry does not change it: a lease counts from here.
    first_sent_us: u64,
    /// Runs that become durable with it.
    runs: Vec<(LaneId, Run)>,
    /// Notes that become durable with it.
    notes: usize,
    /// Replaces what is known when it is durable.
    data_pid: Option<DataPid>,
    /// Its acknowledgement means that the lock is free.
    releases: bool,
}

impl Ledger {
    /// A ledger that knows nothing yet; `poll` says how it learns.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            phase: Phase::Reading,
            asked: false,
            in_flight: None,
            lock: (-1, -1),
            next_sequence: 0,
            read_to: 0,
            owner_offset: None,
            owner_is_seen: false,
            owners: BTreeMap::new(),
            last_owner: None,
            data_pid: None,
            lanes: BTreeMap::new(),
            ids: BTreeMap::new(),
            losses: BTreeMap::new(),
            failovers: BTreeMap::new(),
            topics: BTreeSet::new(),
            upstream: BTreeMap::new(),
            notes: VecDeque::new(),
            sent_us: 0,
            flushed_us: 0,
            lease: Lease::default(),
            renewal_wanted: false,
            owned_us: 0,
            silence_us: 0,
            zombies_until_us: 0,
            release_wanted: false,
            pids_wanted: BTreeSet::new(),
            effects: VecDeque::new(),
        }
    }

    /// What to do now. None: nothing until an answer comes, something is asked for, or `poll_timeout` has passed.
    pub fn poll(&mut self, now: Now) -> Option<Todo> {
        if self.asked || self.phase == Phase::Ended {
            return None;
        }
        if self.lock_is_held() && now.mono_us >= self.lapses_at_us() {
            self.end(End::Lapsed);
            return None;
        }
        if self.in_flight.is_none() {
            self.in_flight = self.next_append(now);
        }
        let todo = match (&self.in_flight, self.phase) {
            (Some(in_flight), _) => Todo::Append(in_flight.append.clone()),
            (None, Phase::Reading) => Todo::Read { from: self.read_to, until: 0 },
            (None, Phase::Completing { until }) => Todo::Read { from: self.read_to, until },
            (None, Phase::Claiming) => Todo::Claim,
            (None, Phase::Allocating { .. }) => Todo::Allocate,
            (None, _) => return None,
        };
        self.asked = true;
        Some(todo)
    }

    /// When `poll` may have something to do although nothing happened (steady clock, µs).
    pub fn poll_timeout(&self) -> Option<u64> {
        if self.asked || self.phase != Phase::Open {
            return None;
        }
        let renewal = self.sent_us + self.settings.lease_ms() * 1000 / 3;
        let flush = self.lanes.values().any(|lane| lane.stale).then_some(self.flushed_us + FLUSH_MS * 1000);
        Some(flush.map_or(renewal, |flush| flush.min(renewal)))
    }

    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// The answer to what was asked did not come or settles nothing: the same again.
    pub fn on_failed(&mut self) {
        self.asked = false;
    }

    /// Records of the state topic in the order of their offsets, and the offset after the last batch read. When that does not
    /// reach what was asked for, more is asked for.
    pub fn on_read(&mut self, now: Now, records: &[StateRecord], end: i64, is_end_of_log: bool) {
        self.asked = false;
        for record in records {
            if let Err(end) = self.apply(record) {
                self.end(end);
                return;
            }
        }
        self.read_to = self.read_to.max(end);
        match self.phase {
            Phase::Reading if is_end_of_log => match self.mismatch() {
                Some(end) => self.end(end),
                None => self.phase = Phase::Claiming,
            },
            Phase::Completing { until } if self.read_to >= until => self.complete(now),
            _ => {}
        }
    }

    pub fn on_claimed(&mut self, producer_id: i64, producer_epoch: i16) {
        self.asked = false;
        self.lock = (producer_id, producer_epoch);
        self.phase = Phase::Owning;
    }

    pub fn on_allocated(&mut self, producer_id: i64, producer_epoch: i16) {
        self.asked = false;
        let Phase::Allocating { records: Some((records_id, records_epoch)) } = self.phase else {
            self.phase = Phase::Allocating { records: Some((producer_id, producer_epoch)) };
            return;
        };
        self.data_pid = Some(DataPid {
            producer_id: records_id,
            producer_epoch: records_epoch,
            marker_producer_id: producer_id,
            transactional_ids: self.settings.shards,
            transactional_pids: Vec::new(),
            source_cluster: self.settings.source_cluster.clone(),
            target_cluster: self.settings.target_cluster.clone(),
            names: self.settings.names.clone(),
            parts: self.settings.parts,
        });
        self.phase = Phase::Publishing;
    }

    /// The batch is in the log, replicated, at this offset.
    pub fn on_appended(&mut self, now: Now, base_offset: i64) {
        self.asked = false;
        let Some(done) = self.in_flight.take() else { return };
        if let Phase::Fencing { pid } = self.phase {
            self.locked_out(pid);
            return;
        }
        self.next_sequence = self.next_sequence.wrapping_add(done.records) & i32::MAX;
        self.lease = Lease {
            since_us: done.first_sent_us,
            until_us: done.first_sent_us + self.settings.lease_ms() * 1000,
        };
        match self.phase {
            Phase::Owning => {
                self.owner_offset = Some(base_offset);
                self.owner_is_seen = false;
                self.owned_us = now.mono_us;
                self.phase = Phase::Completing { until: base_offset.saturating_add(1) };
            }
            Phase::Publishing => self.open(),
            _ if done.releases => {
                self.phase = Phase::Ended;
                self.effects.push_back(Effect::Released);
            }
            _ => {
                self.notes.drain(..done.notes);
                if let Some(pid) = done.data_pid {
                    self.pids_wanted.retain(|wanted| !pid.transactional_pids.contains(wanted));
                    self.data_pid = Some(pid);
                }
                for (lane, run) in done.runs {
                    self.effects.push_back(Effect::RunDurable { lane, run });
                }
                self.effects.push_back(Effect::Lease(self.lease));
            }
        }
    }

    /// The batch was answered with an error code. Says whether that settles anything; if not, the same is tried again (after the
    /// driver has looked for the leader).
    pub fn on_refused(&mut self, code: i16) -> bool {
        self.asked = false;
        if let Phase::Fencing { pid } = self.phase
            && (error::is_fenced(code) || matches!(code, 45 | 46))
        {
            // Somebody has written with a higher epoch, or this very batch was there before: locked out all the same.
            self.in_flight = None;
            self.locked_out(pid);
            return true;
        }
        match (code, error::of_produce(code)) {
            (47 | 90, _) => self.end(End::Fenced),
            (45 | 46 | 59, _) => self.end(End::Lapsed),
            (_, Verdict::Stop(_)) => self.end(End::Refused(code)),
            _ => return false,
        }
        true
    }

    /// Takes a lane up. The topic ids are nil where the cluster has none. Fails with a stop's kind and what to do when a topic
    /// is not the one that the ledger knows under this name. `mode` counts only for a lane that has never written.
    pub fn bind(
        &mut self,
        lane: LaneId,
        topic: &Arc<str>,
        partition: i32,
        source_topic_id: Uuid,
        target_topic_id: Uuid,
        mode: OffsetMode,
    ) -> Result<Bound, (StopKind, String)> {
        let known = self.lanes.entry((topic.clone(), partition)).or_default();
        let source_differs = differs(known.source_topic_id, source_topic_id);
        let target_differs = differs(known.target_topic_id, target_topic_id);
        match (source_differs, target_differs) {
            // Both are new: whoever deleted both wants to begin anew.
            (true, true) => *known = Lane::default(),
            (true, false) => return Err((StopKind::SourceRecreated, source_recreated(topic))),
            (false, true) => return Err((StopKind::TargetRecreated, target_recreated(topic))),
            (false, false) => {}
        }
        if !source_topic_id.is_nil() {
            known.source_topic_id = source_topic_id;
        }
        if !target_topic_id.is_nil() {
            known.target_topic_id = target_topic_id;
        }
        if !known.is_begun() {
            known.mode = mode;
        } else if mode == OffsetMode::Shared && known.mode != mode {
            known.share().map_err(|what| (StopKind::OtherWriter, what.to_owned()))?;
        }
        known.id = Some(lane);
        self.ids.insert(lane, (topic.clone(), partition));
        Ok(Bound { runs: known.runs.clone(), checkpoint: known.checkpoint, mode: known.mode })
    }

    /// Makes a run durable; `Effect::RunDurable` follows. Runs that begin at the same number or later are replaced.
    pub fn want_run(&mut self, lane: LaneId, run: Run) {
        let Some(lane) = self.lane(lane) else { return };
        lane.want(run);
    }

    /// Something waits for a lease that begins now or later.
    pub fn renew(&mut self) {
        self.renewal_wanted = true;
    }

    /// Takes a lane's position into the next append.
    pub fn settle(&mut self, lane: LaneId, checkpoint: Checkpoint) {
        let Some(lane) = self.lane(lane) else { return };
        // It may go back, too, when the target lost what it had acknowledged.
        if lane.checkpoint != Some(checkpoint) {
            lane.checkpoint = Some(checkpoint);
            lane.stale = true;
            // A resume may look for the run that holds the checkpoint and all later ones, and for the one before: the gap
            // between the two may not be filled yet.
            let older = lane.runs.iter().take_while(|run| run.number <= checkpoint.number).count();
            let passed = lane.runs.drain(..older.saturating_sub(2));
            if lane.mode == OffsetMode::Append {
                lane.history.extend(passed);
            }
        }
    }

    /// Records source offsets that will never be on the target.
    pub fn lost(&mut self, now: Now, lane: LaneId, from_offset: i64, to_offset: i64, cause: LossCause) {
        let Some((topic, partition)) = self.ids.get(&lane) else { return };
        let key = Key::Loss { topic: topic.to_string(), partition: *partition, from: from_offset };
        let cause = cause_name(cause).to_owned();
        let loss = Loss { to: to_offset, cause, recorded_at_ms: now.wall_ms };
        self.notes.push_back((json(&key), Some(json(&loss))));
        self.losses.insert((topic.to_string(), *partition, from_offset), loss);
    }

    /// Hands a partition over to the target's clients: the link will not write to it any more.
    pub fn fail_over(&mut self, topic: &str, partition: i32, failover: Failover) {
        let key = Key::Failover { topic: topic.to_owned(), partition };
        self.notes.push_back((json(&key), Some(json(&failover))));
        self.failovers.insert((topic.to_owned(), partition), failover);
    }

    /// The topic is on both sides, and the link is to mirror it: from now on it is one of those that it [`Self::knows`].
    pub fn adopt(&mut self, topic: &str) {
        if self.topics.insert(topic.to_owned()) {
            self.notes.push_back((json(&Key::Topic { topic: topic.to_owned() }), Some(json(&true))));
        }
    }

    /// Notes the clusters that a topic's records come from, for links that go on from the target.
    pub fn set_upstream(&mut self, topic: &str, clusters: BTreeSet<String>) {
        let clusters = Some(clusters).filter(|clusters| clusters.len() > 1);
        if self.upstream.get(topic) == clusters.as_ref() {
            return;
        }
        let key = json(&Key::Upstream { topic: topic.to_owned() });
        self.notes.push_back((key, clusters.as_ref().map(json)));
        match clusters {
            Some(clusters) => drop(self.upstream.insert(topic.to_owned(), clusters)),
            None => drop(self.upstream.remove(topic)),
        }
    }

    /// The link goes on with a partition that was handed over, or begins with one that others have written to: the source's
    /// records from `source_offset` on will stand behind what is there, from `target_offset` on. No lane may be bound to it.
    pub fn go_on_behind_others(
        &mut self,
        topic: &str,
        partition: i32,
        topic_ids: (Uuid, Uuid),
        mode: OffsetMode,
        (source_offset, target_offset): (i64, i64),
    ) {
        let lane = self.lanes.entry((Arc::from(topic), partition)).or_default();
        let number = lane.checkpoint.map_or(source_offset, |checkpoint| checkpoint.number);
        (lane.source_topic_id, lane.target_topic_id) = topic_ids;
        lane.mode = mode;
        lane.runs.push(Run { number, source_offset, target_offset, source_epoch: BEHIND_OTHERS });
        lane.checkpoint = Some(Checkpoint::at(number, source_offset));
        lane.stale = true;
        self.take_back(topic, partition);
    }

    /// The partition is the link's again, from where it was handed over.
    pub fn take_back(&mut self, topic: &str, partition: i32) {
        if self.failovers.remove(&(topic.to_owned(), partition)).is_some() {
            self.notes.push_back((json(&Key::Failover { topic: topic.to_owned(), partition }), None));
        }
    }

    /// All lanes are drained: write what is left and free the lock. `Effect::Released` follows.
    pub fn release(&mut self) {
        self.release_wanted = true;
    }

    /// Whether it is published that the link writes transactions with this producer id. If not, that is seen to.
    pub fn publish(&mut self, producer_id: i64) -> bool {
        if self.is_ours(producer_id) {
            return true;
        }
        self.pids_wanted.insert(producer_id);
        false
    }

    fn lane(&mut self, lane: LaneId) -> Option<&mut Lane> {
        self.lanes.get_mut(self.ids.get(&lane)?)
    }

    fn lock_is_held(&self) -> bool {
        self.owner_offset.is_some()
    }

    fn lapses_at_us(&self) -> u64 {
        self.lease.until_us + self.settings.lapse_ms() * 1000
    }

    fn end(&mut self, end: End) {
        self.phase = Phase::Ended;
        self.in_flight = None;
        self.effects.push_back(Effect::Ended(end));
    }

    // Opening.

    /// Why what is told now does not belong to what the log says, if so.
    fn mismatch(&self) -> Option<End> {
        let pid = self.data_pid.as_ref()?;
        // A source before Kafka 0.10.1 has no id, until it is upgraded.
        let is_untold = pid.source_cluster.is_empty() || self.settings.source_cluster.is_empty();
        let same = (is_untold || pid.source_cluster == self.settings.source_cluster)
            && pid.target_cluster == self.settings.target_cluster;
        if !same {
            return Some(End::OtherClusters(Box::new(pid.clone())));
        }
        let (before, now) = (pid.names.clone(), self.settings.names.clone());
        if before != now {
            return Some(End::OtherNames { before, now });
        }
        let (before, now) = (pid.parts, self.settings.parts);
        (before != now).then_some(End::OtherParts { before, now })
    }

    /// Everything up to our own owner record is read: lock out what epochs do not, then open.
    fn complete(&mut self, now: Now) {
        // Another record stands there: somebody was quicker with the same epoch, and ours was taken for its repetition.
        if !self.owner_is_seen {
            self.end(End::Fenced);
            return;
        }
        if let Some(end) = self.mismatch() {
            self.end(end);
            return;
        }
        let may_write =
            |pid: &i64, owner: &Owner| *pid != self.lock.0 && !owner.fenced && owner.released_ms.is_none();
        if let Some((&pid, _)) = self.owners.iter().find(|(pid, owner)| may_write(pid, owner)) {
            self.phase = Phase::Fencing { pid };
            return;
        }
        if now.mono_us >= self.lease.until_us {
            // Reading took so long that somebody may have taken over; what is read next is little.
            self.phase = Phase::Owning;
            return;
        }
        if let Some(owner) = self.last_owner.and_then(|pid| self.owners.get(&pid)) {
            self.silence_us = self.silence_us.max(self.settings.silence_us_after(owner));
        }
        self.zombies_until_us = self.owned_us + self.silence_us;
        match &mut self.data_pid {
            None => self.phase = Phase::Allocating { records: None },
            Some(pid) if pid.transactional_ids < self.settings.shards => {
                pid.transactional_ids = self.settings.shards;
                self.phase = Phase::Publishing;
            }
            Some(_) => self.open(),
        }
    }

    fn locked_out(&mut self, pid: i64) {
        if let Some(owner) = self.owners.get_mut(&pid) {
            owner.fenced = true;
            self.silence_us = self.silence_us.max(self.settings.silence_us_after(owner));
        }
        // What it wrote before the fence lies before the next owner record of ours: read up to that.
        self.phase = Phase::Owning;
    }

    fn open(&mut self) {
        let Some(pid) = &self.data_pid else { return };
        self.effects.push_back(Effect::Open {
            producer_id: pid.producer_id,
            producer_epoch: pid.producer_epoch,
            marker_producer_id: pid.marker_producer_id,
            zombies_until_us: self.zombies_until_us,
        });
        self.effects.push_back(Effect::Lease(self.lease));
        self.phase = Phase::Open;
    }

    // Appending.

    fn next_append(&mut self, now: Now) -> Option<InFlight> {
        match self.phase {
            Phase::Owning => Some(self.append(now, vec![self.owner_record(None)])),
            Phase::Fencing { pid } => {
                let owner = self.owners.get(&pid)?;
                let epoch = owner.epoch.saturating_add(1);
                let fence =
                    Owner { epoch, fenced: true, instance: self.settings.instance.clone(), ..owner.clone() };
                let record = (json(&Key::Owner { pid }), Some(json(&fence)));
                Some(self.in_flight(now, encode_batch(pid, epoch, 0, now.wall_ms, &[record]), 1))
            }
            Phase::Publishing => {
                let value = json(self.data_pid.as_ref()?);
                Some(self.append(now, vec![(json(&Key::Pid), Some(value))]))
            }
            Phase::Open => self.next_flush(now),
            _ => None,
        }
    }

    /// The lanes' news, or a sign of life.
    fn next_flush(&mut self, now: Now) -> Option<InFlight> {
        let is_flush_due = now.mono_us >= self.flushed_us + FLUSH_MS * 1000 || self.release_wanted;
        if is_flush_due {
            self.flushed_us = now.mono_us;
        }
        let mut records = Vec::new();
        let mut runs = Vec::new();
        let mut bytes = 0;
        let notes = self.notes.len().min(NOTES_MAX);
        records.extend(self.notes.iter().take(notes).cloned());
        let data_pid = self.data_pid.clone().filter(|_| !self.pids_wanted.is_empty()).map(|mut pid| {
            pid.transactional_pids.extend(&self.pids_wanted);
            records.push((json(&Key::Pid), Some(json(&pid))));
            pid
        });
        for ((topic, partition), lane) in &mut self.lanes {
            if bytes > APPEND_BYTES_MAX {
                break;
            }
            let taken = lane.take_wanted(&mut runs);
            if taken || (lane.stale && is_flush_due) {
                lane.stale = false;
                for (chunk, runs) in lane.take_chunks() {
                    let (topic, partition) = (topic.to_string(), *partition);
                    let key =
                        json(&Key::Runs { topic, partition, id: lane.target_topic_id.to_string(), chunk });
                    let value = runs.as_ref().map(json);
                    bytes += key.len() + value.as_ref().map_or(0, Bytes::len);
                    records.push((key, value));
                }
                let key = json(&Key::Lane { topic: topic.to_string(), partition: *partition });
                let value = json(&LaneValue::from(&*lane));
                bytes += key.len() + value.len();
                records.push((key, Some(value)));
            }
        }
        let mut releases = false;
        if records.is_empty() {
            let is_renewal_due =
                now.mono_us >= self.sent_us + self.settings.lease_ms() * 1000 / 3 || self.renewal_wanted;
            if self.release_wanted {
                let left_us = self.zombies_until_us.saturating_sub(now.mono_us);
                records.push(self.owner_record(Some(left_us.div_ceil(1000))));
                self.phase = Phase::Releasing;
                releases = true;
            } else if is_renewal_due {
                records.push(self.owner_record(None));
            } else {
                return None;
            }
        }
        self.renewal_wanted = false;
        let append = self.append(now, records);
        Some(InFlight { runs, notes, data_pid, releases, ..append })
    }

    fn owner_record(&self, released_ms: Option<u64>) -> (Bytes, Option<Bytes>) {
        let owner = Owner {
            epoch: self.lock.1,
            instance: self.settings.instance.clone(),
            lease_ms: self.settings.lease_ms(),
            zombie_bound_ms: self.settings.zombie_bound_ms,
            released_ms,
            fenced: false,
        };
        (json(&Key::Owner { pid: self.lock.0 }), Some(json(&owner)))
    }

    fn append(&mut self, now: Now, records: Vec<(Bytes, Option<Bytes>)>) -> InFlight {
        let (pid, epoch) = self.lock;
        let batch = encode_batch(pid, epoch, self.next_sequence, now.wall_ms, &records);
        self.in_flight(now, batch, records.len())
    }

    fn in_flight(&mut self, now: Now, batch: Bytes, records: usize) -> InFlight {
        self.sent_us = now.mono_us;
        InFlight {
            append: Append { batch },
            records: i32::try_from(records).expect("an append is bounded"),
            first_sent_us: now.mono_us,
            runs: Vec::new(),
            notes: 0,
            data_pid: None,
            releases: false,
        }
    }
}

fn differs(known: Uuid, seen: Uuid) -> bool {
    !known.is_nil() && !seen.is_nil() && known != seen
}

fn source_recreated(topic: &str) -> String {
    format!(
        "topic {topic} was deleted and created again on the source; to mirror the new one from its start, delete {topic} on \
         the target too and start again"
    )
}

fn target_recreated(topic: &str) -> String {
    format!(
        "topic {topic} was deleted and created again on the target, and what was mirrored is gone; to mirror it again from the \
         start, start with another link name (--link)"
    )
}

fn json<T: serde::Serialize>(value: &T) -> Bytes {
    serde_json::to_vec(value).expect("keys and values are plain data").into()
}

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(super) use peers::tests as peers_tests;
#[cfg(test)]
pub(super) use standing::tests as standing_tests;
