//! One pinned core's share of a link: the lanes it owns, from the source brokers' sockets to the target brokers'.
//!
//! [`Shard`] is a state machine without input or output of its own. Whoever drives it (a glommio executor, the simulator, a
//! benchmark) hands in what happened (`handle_*`) and then takes out what is to be done (`poll_*`) until nothing is left:
//!
//! | kind | methods |
//! |---|---|
//! | something happened | `handle_commands`, `handle_connected`, `handle_login`, `handle_closed` |
//! | | `handle_input`, `handle_moved`, `handle_sent`, `handle_timeout` |
//! | what to do next | `poll_action`, `poll_transmit`, `poll_event`, `poll_timeout` |
//! | a look | `want`, `snapshot` |
//!
//! A batch's way through it: [`fetching`] asks for it, [`intake`] walks the source's answer and asks the [`lane`] for a verdict,
//! [`opening`] takes batches apart where that is the verdict, [`diverting`] writes dead letters; [`output`] packs one batch
//! of every lane that may send into a request and hands the answers back to the lanes. [`questions`] finds a lane's position
//! after a doubt, [`transactions`] sees to lanes whose records are too old for sequences, [`gaps`] to those whose gaps transactions
//! fill, [`nearby`] to those that are read from another replica than the leader; [`connections`] has what they all go over.
//! `Source`, `Sink`, `Lane` and `Numbering` are leaves: they know nothing of each other, only this file and those beside it do.

mod api;
mod connections;
mod diverting;
mod fetching;
mod gaps;
mod intake;
mod lane;
mod nearby;
mod opening;
mod output;
mod pausing;
mod progress;
mod questions;
mod seeds;
mod sink;
mod source;
mod throttle;
mod timing;
mod transactions;
mod window;
mod writers;

pub use api::*;
pub use questions::{DESCRIBE_PRODUCERS, LIST_OFFSETS, OFFSET_FOR_LEADER_EPOCH, WRITE_TXN_MARKERS};
pub use timing::{Recorder, Timing, Timings};

use crate::config::Mover;
use crate::conn::Conn;
use crate::conn::sasl::Login;
use crate::limits::{LANE_PENDING_BYTES_MAX, SPLICE_BATCH_BYTES_MIN};
use crate::records::{Recipe, Worker};
use crate::stats::{Counters, Passed, StageBuckets};
use crate::time::Now;
use crate::wire::TopicKey;
use bytes::BytesMut;
use connections::{Broker, Key};
use gaps::Gaps;
use kafka_protocol::protocol::StrBytes;
use lane::{Lane, Leader, Path};
use nearby::ReadAt;
use seeds::Seeds;
use sink::Sink;
use source::{Slot, Source};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use throttle::{Limited, Throttle};
use transactions::Transactions;
use writers::Writers;

/// Time between two `Settled` events of one lane.
const SETTLED_TELL_MS: u64 = 100;
/// Pause before a partition is fetched again that answered with an error.
const FETCH_PAUSE_MS: u64 = 100;

pub struct Shard {
    settings: Settings,
    client_id: Arc<str>,
    lanes: Vec<Member>,
    slots: BTreeMap<LaneId, Slot>,
    sources: BTreeMap<Key, Source>,
    sinks: BTreeMap<Key, Sink>,
    conns: BTreeMap<ConnId, (Side, Key)>,
    conn_count: u32,
    brokers: [BTreeMap<i32, Broker>; 2],
    lease: Lease,
    draining: bool,
    drained_told: bool,
    /// Lanes with a question to ask, or waiting for one to be due.
    asking: BTreeSet<Slot>,
    /// Lanes that are to be bound to connections.
    unbound: BTreeSet<Slot>,
    /// Lanes whose fetching rests for a moment after an error.
    resting: BTreeSet<Slot>,
    /// When lanes that are not read as their leaders would have it are looked at again.
    nearby_look_us: Option<u64>,
    unsettled: Vec<Slot>,
    settled_tell_us: Option<u64>,
    pumped_us: u64,
    /// Payload bytes of accepted batches, not yet framed.
    pending_bytes: usize,
    scratch: output::Scratch,
    seeds: Seeds,
    /// Bytes of letters that are being written, by lane.
    letters: BTreeMap<LaneId, usize>,
    writers: Writers,
    throttle: Throttle,
    limits: Vec<Limited>,
    /// Some lane goes before others.
    has_first: bool,
    transactions: Transactions,
    gaps: Gaps,
    /// What changes records, one for each recipe.
    workers: Vec<(Arc<Recipe>, Worker)>,
    timings: Recorder,
    stages: StageBuckets,
    counters: Counters,
    actions: VecDeque<Action>,
    events: VecDeque<Event>,
}

/// A lane and what the shard keeps about it.
struct Member {
    lane: Lane,
    /// The topic's names on both sides, as requests carry them.
    names: [StrBytes; 2],
    /// Which of the shard's workers changes its records.
    worker: Option<usize>,
    source_key: Option<Key>,
    sink_key: Option<Key>,
    /// Listed in its sink as having something to send.
    is_ready: bool,
    is_unsettled: bool,
    pending_bytes: usize,
    fetch_pause_until_us: u64,
    path_wanted: Path,
    read_at: ReadAt,
    /// The last replica that it was read at gave it nothing.
    got_nothing: bool,
    /// Nothing is fetched for it, because somebody wishes so.
    is_paused: bool,
    /// Which of the shard's limits holds for it, beside that of all.
    limit: Option<usize>,
    is_first: bool,
    /// If [`Settings::counts_passed`].
    passed: Option<Box<Passed>>,
    removed: bool,
}

impl Member {
    /// What the topic is called on one side.
    fn name(&self, side: Side) -> &StrBytes {
        &self.names[side as usize]
    }

    /// The same, as keys of requests have it.
    fn topic_key(&self, side: Side) -> TopicKey {
        TopicKey::Name(self.name(side).clone().into())
    }
}

/// A look at the shard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// What the shard has done so far, as far as it can know it: CPU time and what is held now are for others to fill in.
    pub counters: Counters,
    /// How long acknowledged batches took, if [`Settings::counts_stages`].
    pub stages: StageBuckets,
    /// Payload bytes held, in any form: accepted, being collected, or waiting to be sent.
    pub held_bytes: usize,
    pub lanes: Vec<LaneSnapshot>,
    /// What passed of each lane, if [`Settings::counts_passed`].
    pub passed: Vec<(LaneId, Passed)>,
}

/// A look at one lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneSnapshot {
    pub lane: LaneId,
    pub state: &'static str,
    pub settled: Checkpoint,
    /// End of the source's decided data as last heard, -1 before the first answer.
    pub source_end: i64,
    /// The source is asked for more. While it is not, nobody hears where it ends.
    pub is_read: bool,
    /// Timestamp of the last acknowledged batch, None before the first.
    pub settled_timestamp_ms: Option<i64>,
    pub batch_bytes_average: usize,
    /// Records, or whole batches, that went to the dead letters since the lane was assigned.
    pub letters_written: u64,
}

impl Shard {
    pub fn new(settings: Settings) -> Self {
        Self {
            client_id: settings.client_id.as_str().into(),
            timings: Recorder::new(settings.times_batches),
            throttle: Throttle::new(settings.bytes_per_second),
            limits: Vec::new(),
            has_first: false,
            settings,
            lanes: Vec::new(),
            slots: BTreeMap::new(),
            sources: BTreeMap::new(),
            sinks: BTreeMap::new(),
            conns: BTreeMap::new(),
            conn_count: 0,
            brokers: [BTreeMap::new(), BTreeMap::new()],
            lease: Lease::default(),
            draining: false,
            drained_told: false,
            asking: BTreeSet::new(),
            unbound: BTreeSet::new(),
            resting: BTreeSet::new(),
            nearby_look_us: None,
            unsettled: Vec::new(),
            settled_tell_us: None,
            pumped_us: 0,
            pending_bytes: 0,
            scratch: output::Scratch::default(),
            seeds: Seeds::default(),
            letters: BTreeMap::new(),
            writers: Writers::default(),
            transactions: Transactions::default(),
            gaps: Gaps::default(),
            workers: Vec::new(),
            stages: StageBuckets::default(),
            counters: Counters::default(),
            actions: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    // Something happened.

    /// What there is to do is looked for once for all of them: thousands of partitions are assigned together.
    pub fn handle_commands(&mut self, now: Now, commands: impl IntoIterator<Item = Command>) {
        for command in commands {
            self.handle_command(now, command);
        }
        self.pump(now);
    }

    fn handle_command(&mut self, now: Now, command: Command) {
        match command {
            Command::Brokers { side, brokers } => self.set_brokers(now, side, brokers),
            Command::Assign(start) => self.assign(*start),
            Command::Leader { lane, side, broker, epoch } => {
                self.set_leader(now, lane, side, Leader { broker, epoch });
            }
            Command::RunDurable { lane, run } => {
                if let Some(&slot) = self.slots.get(&lane) {
                    self.lanes[slot].lane.handle_run_durable(run);
                    self.refresh(now, slot);
                }
            }
            Command::Lease(lease) => {
                self.lease = lease;
                for slot in 0..self.lanes.len() {
                    self.refresh(now, slot);
                }
            }
            Command::Writer { producer_id, writer } => {
                self.writers.note(producer_id, writer);
                for slot in 0..self.lanes.len() {
                    if self.lanes[slot].lane.handle_writer(producer_id) {
                        self.refresh(now, slot);
                    }
                }
            }
            Command::Transaction(done) => self.handle_transaction(now, done),
            Command::Gaps(done) => self.handle_gaps(now, done),
            Command::Remove { lane } => self.remove(now, lane),
            Command::Pause { lane, paused } => self.pause(now, lane, paused),
            Command::Room { lane, is_made } => {
                if let Some(&slot) = self.slots.get(&lane) {
                    self.lanes[slot].lane.handle_room(now, is_made);
                    self.refresh(now, slot);
                }
            }
            Command::LettersWritten { lane } => self.handle_letters_written(now, lane),
            Command::Throttle { bytes_per_second } => self.throttle.set(now, bytes_per_second),
            Command::Limits(limits) => {
                for (at, bytes_per_second) in limits.into_iter().enumerate() {
                    self.limit(at).throttle.set(now, Some(bytes_per_second));
                }
            }
            Command::Drain => {
                self.draining = true;
                for slot in 0..self.lanes.len() {
                    self.lanes[slot].lane.drain();
                    self.refresh(now, slot);
                }
            }
        }
    }

    pub fn handle_connected(&mut self, now: Now, conn: ConnId) {
        match self.conns.get(&conn) {
            Some((Side::Source, key)) => {
                if let Some(source) = self.sources.get_mut(key) {
                    source.conn.handle_connected(now);
                }
            }
            Some((Side::Target, key)) => {
                if let Some(sink) = self.sinks.get_mut(key) {
                    sink.conn.handle_connected(now);
                }
            }
            None => {}
        }
        self.pump(now);
    }

    /// The answer to [`Action::Login`].
    pub fn handle_login(&mut self, now: Now, conn: ConnId, login: Login) {
        let taken = match self.conns.get(&conn) {
            Some((Side::Source, key)) => {
                self.sources.get_mut(key).map_or(Ok(()), |source| source.conn.handle_login(now, login))
            }
            Some((Side::Target, key)) => {
                self.sinks.get_mut(key).map_or(Ok(()), |sink| sink.conn.handle_login(now, login))
            }
            None => Ok(()),
        };
        if let Err(cause) = taken {
            self.actions.push_back(Action::Close { conn });
            self.lose(now, conn, &cause);
        }
        self.pump(now);
    }

    /// The connection broke, or could not be made.
    pub fn handle_closed(&mut self, now: Now, conn: ConnId, cause: &str) {
        let key = self.conns.get(&conn).and_then(|&(side, key)| (side == Side::Source).then_some(key));
        let source = key.and_then(|key| self.sources.get(&key));
        if source.is_some_and(|source| source.conn.was_refused()) {
            self.lose_old(now, conn);
        } else {
            self.lose(now, conn, cause);
        }
        self.pump(now);
    }

    /// Bytes from the connection's socket. Takes what it can from the front; what it leaves is the beginning of something.
    pub fn handle_input(&mut self, now: Now, conn: ConnId, input: &mut BytesMut) {
        let taken = match self.conns.get(&conn).copied() {
            Some((Side::Source, key)) => self.read_source(now, key, input),
            Some((Side::Target, key)) => self.read_sink(now, key, input),
            None => {
                input.clear();
                Ok(())
            }
        };
        if let Err(cause) = taken {
            input.clear();
            self.actions.push_back(Action::Close { conn });
            self.lose(now, conn, &cause);
        }
        self.pump(now);
    }

    /// The driver spliced or dropped that many bytes of this source connection's stream, as [`Want`] told it to.
    pub fn handle_moved(&mut self, now: Now, conn: ConnId, bytes: usize) {
        if let Some(&(Side::Source, key)) = self.conns.get(&conn) {
            self.moved(now, key, bytes);
        }
        self.pump(now);
    }

    /// Whether [`Self::handle_sent`] is of use.
    pub fn times_batches(&self) -> bool {
        self.settings.times_batches || self.settings.counts_stages
    }

    /// The connection's socket has taken so many bytes since it was made.
    pub fn handle_sent(&mut self, now: Now, conn: ConnId, bytes: u64) {
        if let Some((Side::Target, key)) = self.conns.get(&conn)
            && let Some(sink) = self.sinks.get_mut(key)
        {
            sink.departures.sent(now.mono_us, bytes);
        }
    }

    /// The time of [`Self::poll_timeout`] has come.
    pub fn handle_timeout(&mut self, now: Now) {
        let overdue: Vec<(ConnId, &'static str)> = self
            .deadlines()
            .filter(|(_, deadline_us, _)| *deadline_us <= now.mono_us)
            .map(|(conn, _, cause)| (conn, cause))
            .collect();
        for (conn, cause) in overdue {
            self.actions.push_back(Action::Close { conn });
            self.lose(now, conn, cause);
        }
        let due: Vec<Slot> = self
            .resting
            .iter()
            .copied()
            .filter(|&slot| self.lanes[slot].fetch_pause_until_us <= now.mono_us)
            .collect();
        for slot in due {
            self.resting.remove(&slot);
            self.refresh(now, slot);
        }
        self.look_nearby(now);
        self.pump(now);
    }

    // What to do next.

    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    pub fn poll_transmit(&mut self, conn: ConnId) -> Option<Out> {
        match self.conns.get(&conn)? {
            (Side::Source, key) => self.sources.get_mut(key)?.conn.poll_transmit(),
            (Side::Target, key) => self.sinks.get_mut(key)?.conn.poll_transmit(),
        }
    }

    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// When `handle_timeout` is to be called, on the steady clock (µs).
    pub fn poll_timeout(&self) -> Option<u64> {
        let deadlines = self.deadlines().map(|(_, deadline_us, _)| deadline_us);
        // What was due at the last look and did not happen waits for something else.
        let is_ahead = |at_us: &u64| *at_us > self.pumped_us;
        let wakes = self.asking.iter().filter_map(|&slot| self.lanes[slot].lane.wake_us()).filter(is_ahead);
        let pauses = self.resting.iter().map(|&slot| self.lanes[slot].fetch_pause_until_us);
        let dials = self.unbound.iter().filter_map(|&slot| self.dial_wait_us(slot)).filter(is_ahead);
        let logins = self.sources.values().filter_map(|source| source.conn.login_at_us());
        let logins = logins.chain(self.sinks.values().filter_map(|sink| sink.conn.login_at_us()));
        let transaction = self.transactions.poll_timeout().filter(is_ahead);
        let throttle = self.throttle.poll_timeout().filter(is_ahead);
        let limits = self.limits.iter().filter_map(Limited::poll_timeout).filter(is_ahead);
        let lanes = wakes.chain(limits).chain(pauses).chain(dials).chain(throttle).chain(self.nearby_look_us);
        deadlines.chain(lanes).chain(logins).chain(self.settled_tell_us).chain(transaction).min()
    }

    // A look.

    pub fn snapshot(&self) -> Snapshot {
        let members = || self.lanes.iter().filter(|member| !member.removed);
        let passed = members().filter_map(|member| Some((member.lane.id, **member.passed.as_ref()?)));
        let mut counters = self.counters;
        for (_, worker) in &self.workers {
            let tally = worker.tally();
            counters.records_changed += tally.changed;
            counters.records_dropped += tally.dropped;
            counters.records_failed += tally.failed;
        }
        let (stages, held_bytes) = (self.stages, self.held_bytes());
        let (lanes, passed) = (members().map(Member::snapshot).collect(), passed.collect());
        Snapshot { counters, stages, held_bytes, lanes, passed }
    }

    /// See [`Snapshot::held_bytes`].
    pub fn held_bytes(&self) -> usize {
        let outgoing: usize = self.sinks.values().map(|sink| sink.conn.outgoing_bytes()).sum();
        let collecting: usize = self.sources.values().map(Source::collecting_bytes).sum();
        self.pending_bytes + outgoing + collecting + self.letters_bytes()
    }

    // Lanes.

    fn assign(&mut self, start: LaneStart) {
        if self.slots.contains_key(&start.lane) {
            return;
        }
        let slot = self.lanes.len();
        self.slots.insert(start.lane, slot);
        let names = start.names.each_ref().map(|name| StrBytes::from_string(name.to_string()));
        let (limit, is_first) = (start.limit, start.is_first);
        self.has_first |= is_first;
        limit.into_iter().for_each(|limit| self.limit(limit).lanes.push(slot));
        let worker = start.recipe.as_ref().map(|recipe| self.worker(recipe)).transpose();
        let mut lane = Lane::new(start, Path::Copy, self.settings.merge);
        lane.allow_runs(self.settings.runs_ahead_max);
        if self.settings.may_have_open_gaps {
            lane.want_gaps_claim();
        }
        if self.draining {
            lane.drain();
        }
        if self.drained_told {
            lane.fall_silent();
        }
        let worker = worker.unwrap_or_else(|why| {
            lane.stop(StopKind::Unreadable, why, &mut self.events);
            None
        });
        self.lanes.push(Member {
            lane,
            names,
            worker,
            source_key: None,
            sink_key: None,
            is_ready: false,
            is_unsettled: false,
            pending_bytes: 0,
            fetch_pause_until_us: 0,
            path_wanted: Path::Copy,
            read_at: ReadAt::Leader,
            got_nothing: false,
            is_paused: false,
            limit,
            is_first,
            passed: self.settings.counts_passed.then(Box::default),
            removed: false,
        });
        self.unbound.insert(slot);
    }

    fn limit(&mut self, at: usize) -> &mut Limited {
        while self.limits.len() <= at {
            self.limits.push(Limited::new());
        }
        &mut self.limits[at]
    }

    /// The worker for a recipe, which lanes share.
    fn worker(&mut self, recipe: &Arc<Recipe>) -> Result<usize, String> {
        if let Some(at) = self.workers.iter().position(|(known, _)| Arc::ptr_eq(known, recipe)) {
            return Ok(at);
        }
        self.workers.push((Arc::clone(recipe), recipe.worker()?));
        Ok(self.workers.len() - 1)
    }

    fn remove(&mut self, now: Now, lane: LaneId) {
        let Some(slot) = self.slots.remove(&lane) else { return };
        // Another lane may take its place there at once.
        self.unbind_source(slot);
        let member = &mut self.lanes[slot];
        member.removed = true;
        member.lane.stop(StopKind::TargetRecreated, String::new(), &mut VecDeque::new());
        self.unbound.insert(slot);
        self.refresh(now, slot);
    }

    fn set_leader(&mut self, now: Now, lane: LaneId, side: Side, leader: Leader) {
        let Some(&slot) = self.slots.get(&lane) else { return };
        let member = &mut self.lanes[slot];
        match side {
            Side::Source => {
                member.lane.set_source(leader);
                member.read_at = ReadAt::Leader;
            }
            Side::Target => member.lane.set_target(leader),
        }
        member.fetch_pause_until_us = 0;
        self.unbound.insert(slot);
        self.refresh(now, slot);
    }

    /// After anything that may have changed what a lane wants: brings the lists that mention it up to date.
    fn refresh(&mut self, now: Now, slot: Slot) {
        let member = &mut self.lanes[slot];
        let lane = &mut member.lane;
        lane.wait_for_zombies(now, &self.settings);
        lane.enlist(now, &self.settings);
        self.transactions.note(slot, lane.is_enlisted());
        lane.prepare_fill(now, &self.settings, &mut self.events);
        if let Some(offset) = lane.take_trim() {
            self.events.push_back(Event::Trim { lane: lane.id, offset });
        }
        if lane.has_question() {
            self.asking.insert(slot);
            // Only the leader knows where the log begins and ends.
            if lane.asks_source() && member.read_at.is_replica() {
                member.read_at = ReadAt::Leader;
                self.unbound.insert(slot);
            }
        } else if !self.asking.is_empty() {
            self.asking.remove(&slot);
        }
        self.pending_bytes = self.pending_bytes + lane.pending_bytes() - member.pending_bytes;
        member.pending_bytes = lane.pending_bytes();
        if !member.is_unsettled && lane.has_unsettled() {
            member.is_unsettled = true;
            self.unsettled.push(slot);
            self.settled_tell_us.get_or_insert(now.after_ms(SETTLED_TELL_MS));
        }
        // Lanes with connections of their own share none of those that splice.
        let copies = member.read_at.is_leader_only() || member.is_first;
        let mover = if copies { Mover::Copy } else { self.settings.mover };
        member.path_wanted = path_for(mover, member.path_wanted, lane);
        if member.path_wanted != lane.path && lane.is_at_rest() {
            lane.path = member.path_wanted;
            self.unbound.insert(slot);
        }
        if !member.is_ready
            && lane.may_send(now, self.lease, &self.settings)
            && let Some(sink) = member.sink_key.and_then(|key| self.sinks.get_mut(&key))
        {
            member.is_ready = true;
            sink.ready.push(slot);
        }
        if let Some(source) = member.source_key.and_then(|key| self.sources.get_mut(&key)) {
            source.touch(slot);
        }
    }

    // The order of work.

    /// Does everything that can be done now. Called after whatever happened; the only place that knows the order.
    fn pump(&mut self, now: Now) {
        self.pumped_us = now.mono_us;
        for slot in std::mem::take(&mut self.unbound) {
            if !self.bind(now, slot) {
                self.unbound.insert(slot);
            }
        }
        self.transact(now);
        self.fill_gaps(now);
        self.ask(now);
        self.produce(now);
        self.fetch(now);
        self.tell_settled(now);
        self.announce(now);
    }

    fn tell_settled(&mut self, now: Now) {
        let is_drained =
            self.draining && !self.drained_told && self.lanes.iter().all(|member| member.lane.is_drained());
        if is_drained || self.settled_tell_us.is_some_and(|at_us| at_us <= now.mono_us) {
            self.settled_tell_us = None;
            self.events.extend(self.timings.take().map(Event::Timed));
            for slot in std::mem::take(&mut self.unsettled) {
                let member = &mut self.lanes[slot];
                member.is_unsettled = false;
                if let Some(checkpoint) = member.lane.take_settled().filter(|_| !member.removed) {
                    self.events.push_back(Event::Settled { lane: member.lane.id, checkpoint });
                }
            }
        }
        if is_drained {
            self.drained_told = true;
            // A fetch may still be answered.
            self.lanes.iter_mut().for_each(|member| member.lane.fall_silent());
            self.events.push_back(Event::Drained);
        }
    }

    fn announce(&mut self, now: Now) {
        for source in self.sources.values_mut() {
            announce(now, source.conn_id, Side::Source, &mut source.conn, &mut self.actions);
        }
        for sink in self.sinks.values_mut() {
            announce(now, sink.conn_id, Side::Target, &mut sink.conn, &mut self.actions);
        }
    }
}

/// What the driver has to do for a connection of either side.
fn announce<T>(now: Now, id: ConnId, side: Side, conn: &mut Conn<T>, actions: &mut VecDeque<Action>) {
    if conn.poll_login(now) {
        actions.push_back(Action::Login { conn: id, side });
    }
    if conn.announce() {
        actions.push_back(Action::Transmit { conn: id });
    }
}

/// Splicing saves the mirror's CPU when batches are large, and costs the target broker a request per batch: so it is for lanes
/// whose batches are large, while they stream.
fn path_for(mover: Mover, before: Path, lane: &Lane) -> Path {
    let is_large = match before {
        Path::Copy => lane.batch_bytes_average() >= SPLICE_BATCH_BYTES_MIN,
        Path::Splice => lane.batch_bytes_average() >= SPLICE_BATCH_BYTES_MIN / 2,
    };
    match mover {
        _ if lane.prefers_copy() => Path::Copy,
        Mover::Splice if lane.is_streaming() => Path::Splice,
        Mover::Auto if lane.is_streaming() && is_large => Path::Splice,
        _ => Path::Copy,
    }
}

const _: () = assert!(LANE_PENDING_BYTES_MAX >= SPLICE_BATCH_BYTES_MIN);
