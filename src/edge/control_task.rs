//! Control: watches both clusters, keeps the target's topics in step, hands lanes to shards, and keeps the ledger.
//!
//! One thread, one loop. It blocks on a cluster only for short questions; data flows through the shards meanwhile.

mod acls;
mod both_ways;
mod configs;
mod deleted;
mod ends;
mod groups;
mod letters;
mod notes;
mod observing;
mod quotas;
mod room;
mod transactions;
mod twin;
mod watch;
mod wishes;

pub(super) use observing::INVISIBLE;

use super::admin::{Admin, AdminError};
use super::client_topics::Heartbeats;
use super::clock;
use super::groups::{CheckpointTask, GroupTask};
use super::ledger_io::{self, LedgerIo};
use super::mirror::{self, MirrorError, Summary};
use super::outside::Outside;
use super::plan;
use super::recipes::Recipes;
use super::runtime::{self, ShardHandle};
use super::security::Access;
use super::transactions::TransactionTask;
use crate::config::{Mirror, StartFrom, rate_of};
use crate::control::configs::TopicConfigs;
use crate::control::ledger::{self, Effect, Ledger, Peers};
use crate::control::planner::LanePlan;
use crate::control::topics;
use crate::control::transactions::{Done, Step};
use crate::limits::RUNS_AHEAD_MAX;
use crate::shard::{
    Checkpoint, Command, Event, LaneId, LaneStart, OffsetMode, Repacking, Settings, Side, Stop, Timings,
};
use crate::stats::{Counters, Lag, LaneCounts, Noted, Report};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::mem::{Discriminant, discriminant};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;
use uuid::Uuid;

/// How long a cluster may be out of reach at the start before that is an error. Later it is waited for.
const START_PATIENCE_MS: u64 = 15_000;
/// Pause before something that failed is tried again.
const RETRY_MS: u64 = 200;
/// Metadata is not read more often than this, whoever asks.
const OBSERVE_PAUSE_MS: u64 = 100;
const REPORT_MS: u64 = 1_000;
/// The longest time between two looks at the stop flag.
const TICK_MS: u64 = 50;
/// How long a clean stop waits for what is in flight.
const DRAIN_PATIENCE_MS: u64 = 15_000;
/// Events handled before anything else gets its turn.
const EVENTS_MAX: usize = 1_000;

/// Timings of batches, tagged with the shard.
pub type TellTimings = mpsc::Sender<(usize, Timings)>;

pub(super) enum End {
    Done(Box<Summary>),
    Lapsed,
}

pub(super) struct Session<'a> {
    config: &'a Mirror,
    source: Admin,
    target: Admin,
    ledger: Ledger,
    ledger_io: LedgerIo,
    shards: Vec<ShardHandle>,
    events: mpsc::Receiver<(usize, Event)>,
    /// To whom the shards' timings go, if somebody wants them.
    timings: Option<TellTimings>,
    lanes: BTreeMap<LaneId, Lane>,
    ids: BTreeMap<(Arc<str>, i32), LaneId>,
    lane_count: u32,
    observed_once: bool,
    /// Lanes whose partitions the last look did not show.
    missed: BTreeSet<LaneId>,
    /// Partitions that had a lane before, whose requests may still be under way.
    former: BTreeSet<(Arc<str>, i32)>,
    source_configs: BTreeMap<String, TopicConfigs>,
    /// Topics that are on both sides, whichever part of the link mirrors their partitions.
    topics: BTreeSet<Arc<str>>,
    /// Topics that were created, and when that was first tried (steady clock, µs).
    created: BTreeMap<String, u64>,
    /// Source partitions that are to be mirrored and can be.
    expected: usize,
    /// Why gaps cannot be filled on the target, if so.
    cannot_fill: Option<String>,
    /// Up to where the target's partitions are to be deleted.
    trims: BTreeMap<LaneId, i64>,
    trim_at_us: u64,
    /// Topics whose records the target does not delete for us.
    untrimmed: BTreeSet<String>,
    /// Ids of the source's and the target's cluster.
    cluster_ids: (String, String),
    /// Other links that write to the source.
    peers: Peers,
    /// Producer ids whose owners lanes wait to hear of.
    writers_wanted: BTreeSet<i64>,
    writers_at_us: u64,
    /// Asks for transactions, since the first of them; and answers that are not passed on yet.
    transactions: Option<TransactionTask>,
    transactions_done: Vec<(usize, Done)>,
    told_of_transactions: bool,
    told_of_aborted_records: bool,
    told_of_repacking: HashSet<(Arc<str>, Discriminant<Repacking>)>,
    /// Mirrors consumer groups, and asks where their offsets are on the target.
    groups: Option<GroupTask>,
    /// Writes for MirrorMaker 2's clients: checkpoints, for which it asks the same, and heartbeats.
    checkpoints: Option<CheckpointTask>,
    heartbeats: Option<Heartbeats>,
    config_sync: self::configs::ConfigSync,
    acl_sync: acls::AclSync,
    quota_sync: quotas::QuotaSync,
    deleted: deleted::Deleted,
    room: room::Room,
    letters: letters::Letters,
    recipes: Recipes,
    /// What is shared with those who watch the link.
    outside: Arc<Outside>,
    watcher: watch::Watcher,
    notes: notes::Notes,
    ends: ends::Ends,
    following: wishes::Following,
    zombies_until_us: u64,
    ledger_retry_us: u64,
    observe_at_us: u64,
    report_at_us: u64,
    started_us: u64,
    summary: Summary,
    ended: Option<Result<(), MirrorError>>,
    lapsed: bool,
    /// Shards that have nothing in flight any more, after `Drain`.
    drained: BTreeSet<usize>,
    released: bool,
}

struct Lane {
    topic: Arc<str>,
    partition: i32,
    topic_ids: (Uuid, Uuid),
    mode: OffsetMode,
    shard: usize,
    source: (i32, i32),
    target: (i32, i32),
    checkpoint: Option<Checkpoint>,
    /// Where the source's decided data ended when the lane was taken up; None until that is known, and where it cannot be.
    goal: Option<i64>,
    caught_up: bool,
    stopped: bool,
    paused: bool,
}

impl<'a> Session<'a> {
    /// Connects to both clusters, takes the lock, and starts the shards.
    pub(super) fn start(
        config: &'a Mirror,
        cores: &[usize],
        stop: &AtomicBool,
        timings: Option<TellTimings>,
        outside: &Arc<Outside>,
    ) -> Result<Self, MirrorError> {
        let recipes = Recipes::load(config).map_err(MirrorError::Transform)?;
        let timeout = Duration::from_millis(config.request_timeout_ms.min(10_000));
        let mut source = Admin::new(&config.source, &config.client_id, timeout);
        let mut target = Admin::new(&config.target, &config.client_id, timeout);
        let source_id =
            patiently(Side::Source, stop, || source.observe().map(|seen| seen.cluster_id.clone()))?;
        let target_id =
            patiently(Side::Target, stop, || target.observe().map(|seen| seen.cluster_id.clone()))?;
        if source_id == target_id && !source_id.is_empty() {
            return Err(MirrorError::SameCluster { cluster_id: source_id });
        }
        if let Some(kafka) = patiently(Side::Target, stop, || target.too_old())? {
            return Err(MirrorError::TargetTooOld { kafka });
        }
        if topics::select(config, source.observed()).is_empty() && config.until_caught_up {
            return Err(MirrorError::NoTopics(topics::no_match(config, source.observed())));
        }
        let expiration_ms = patiently(Side::Target, stop, || target.producer_id_expiration_ms())?;
        if expiration_ms.is_none() {
            tracing::warn!(
                "the target does not tell producer.id.expiration.ms (Kafka before 3.4 does not have it; otherwise grant \
                 DESCRIBE_CONFIGS on the cluster); every partition is mirrored with one batch in flight"
            );
        }
        mirror::check_division(config, &target)?;
        let cannot_fill = patiently(Side::Target, stop, || target.cannot_fill())?;
        let cluster_ids = (source_id.clone(), target_id.clone());
        let ledger = Ledger::new(ledger::Settings {
            source_cluster: source_id,
            target_cluster: target_id,
            names: config.target.names.clone(),
            parts: config.share.map(|share| share.parts),
            instance: uuid_from_clock(),
            zombie_bound_ms: config.zombie_bound_ms,
            producer_id_expiration_ms: expiration_ms,
            shards: u32::try_from(cores.len()).unwrap_or(u32::MAX),
        });
        let (tell, events) = mpsc::channel();
        let now = clock::now();
        let mut session = Self {
            config,
            source,
            target,
            ledger,
            ledger_io: LedgerIo::new(&config.link),
            shards: Vec::new(),
            events,
            timings,
            lanes: BTreeMap::new(),
            ids: BTreeMap::new(),
            lane_count: 0,
            observed_once: false,
            missed: BTreeSet::new(),
            former: BTreeSet::new(),
            source_configs: BTreeMap::new(),
            topics: BTreeSet::new(),
            created: BTreeMap::new(),
            expected: 0,
            cannot_fill,
            trims: BTreeMap::new(),
            trim_at_us: 0,
            untrimmed: BTreeSet::new(),
            cluster_ids,
            peers: Peers::default(),
            writers_wanted: BTreeSet::new(),
            writers_at_us: 0,
            transactions: None,
            transactions_done: Vec::new(),
            told_of_transactions: false,
            told_of_aborted_records: false,
            told_of_repacking: HashSet::new(),
            groups: None,
            checkpoints: None,
            heartbeats: None,
            config_sync: self::configs::ConfigSync::default(),
            acl_sync: acls::AclSync::default(),
            quota_sync: quotas::QuotaSync::default(),
            deleted: deleted::Deleted::default(),
            room: room::Room::default(),
            letters: letters::Letters::none(),
            recipes,
            watcher: watch::Watcher::default(),
            outside: Arc::clone(outside),
            notes: notes::Notes::default(),
            ends: ends::Ends::default(),
            following: wishes::Following::new(outside, config.share),
            zombies_until_us: 0,
            ledger_retry_us: 0,
            observe_at_us: 0,
            report_at_us: now.mono_us,
            started_us: now.mono_us,
            summary: Summary::default(),
            ended: None,
            lapsed: false,
            drained: BTreeSet::new(),
            released: false,
        };
        session.create_state_topic(stop)?;
        let (producer_id, producer_epoch, marker_producer_id) = session.open_ledger(stop)?;
        let buffer_bytes = config.buffer_bytes / cores.len().max(1);
        let accesses = [&config.source, &config.target].map(|cluster| Access::new(&cluster.security));
        for (index, &core) in cores.iter().enumerate() {
            let settings = Settings {
                client_id: config.client_id.clone(),
                mover: config.mover,
                buffer_bytes,
                fetch_bytes_max: config.fetch_bytes_max,
                fetch_wait_ms: config.fetch_wait_ms,
                rack: config.rack.clone().unwrap_or_default(),
                request_timeout_ms: config.request_timeout_ms,
                zombie_bound_ms: config.zombie_bound_ms,
                connections_per_broker: config.connections_per_broker,
                has_sasl: [config.source.security.sasl.is_some(), config.target.security.sasl.is_some()],
                producer_id_expiration_ms: expiration_ms,
                producer_id,
                producer_epoch,
                marker_producer_id,
                gap_offsets_max: config.gap_offsets_max,
                gap_transactions_max: config.gap_transactions_max,
                runs_ahead_max: RUNS_AHEAD_MAX,
                times_batches: session.timings.is_some(),
                counts_stages: outside.is_watched,
                counts_passed: outside.is_watched && config.metrics_names.are_mirror_makers(),
                bytes_per_second: session.following.bytes_per_second_of_shard(cores.len()),
                large_gaps: config.large_gaps,
                may_have_open_gaps: session.ledger.has_transactions(),
                isolation: config.isolation,
                exactly_once: config.exactly_once,
                transactional_id: ledger::shard_transactional_id(
                    &config.link,
                    u32::try_from(index).unwrap_or(u32::MAX),
                ),
                on_loss: config.on_loss,
                merge: config.merge,
                oversize: config.oversize,
                has_dead_letters: config.dead_letter.is_some(),
            };
            let shard = runtime::spawn_shard(core, index, settings, accesses.clone(), tell.clone())?;
            session.shards.push(shard);
        }
        // The ledger granted a lease before there was a shard to hear of it.
        session.effects();
        session.observe_first(stop)?;
        session.observed_once = true;
        if config.leads() {
            plan::say(config, expiration_ms, session.begun());
        }
        session.start_groups()?;
        session.start_letters()?;
        Ok(session)
    }

    /// Until the end, whichever it is.
    pub(super) fn run(
        mut self,
        stop: &AtomicBool,
        observe: &mut dyn FnMut(&Report),
    ) -> Result<End, MirrorError> {
        let mut drain_until_us = None;
        loop {
            self.hear();
            self.keep_ledger();
            self.answer_transactions();
            self.answer_groups();
            self.answer_writers();
            self.make_room();
            self.answer_letters();
            self.follow_wishes();
            let now = clock::now();
            if let Some(ended) = self.ended.take() {
                ended?;
            }
            if self.lapsed {
                return Ok(End::Lapsed);
            }
            if now.mono_us >= self.observe_at_us && drain_until_us.is_none() {
                self.observe()?;
            }
            if drain_until_us.is_none() && self.config.leads() {
                self.sync_configs();
                self.sync_acls();
                self.sync_quotas();
            }
            if now.mono_us >= self.trim_at_us && !self.trims.is_empty() {
                self.trim(now);
            }
            if now.mono_us >= self.report_at_us {
                self.report_at_us = now.after_ms(REPORT_MS);
                self.ask_ends(now);
                self.report_to(observe);
                self.remind_of_paused();
            }
            match drain_until_us {
                None if stop.load(Ordering::Relaxed) || self.is_done() => {
                    self.tell_all(&Command::Drain);
                    drain_until_us = Some(now.after_ms(DRAIN_PATIENCE_MS));
                }
                Some(until_us) if self.released || now.mono_us >= until_us => break,
                _ => {}
            }
        }
        self.report_to(observe);
        self.summary.report = self.report();
        for shard in self.shards.drain(..) {
            shard.join()?;
        }
        Ok(End::Done(Box::new(self.summary)))
    }

    /// Hands new lanes to shards, tells new leaders, and takes lanes away whose topics are gone.
    fn take_up(&mut self, plans: &[LanePlan]) {
        let modes = self.modes(plans);
        let mut fresh = Vec::new();
        let mut gone: BTreeSet<LaneId> = self.lanes.keys().copied().collect();
        for plan in plans {
            let id = self.ids.get(&(Arc::clone(&plan.topic), plan.partition)).copied();
            match id.filter(|id| self.lanes.get(id).is_some_and(|lane| lane.is_of(plan))) {
                Some(id) => {
                    gone.remove(&id);
                    self.tell_leaders(id, plan, false);
                }
                None => {
                    // Topics that cannot be as they are wanted are left out.
                    let Some(&mode) = modes.get(&*plan.topic) else { continue };
                    // Deleted and made anew under its old name: the ledger says what that means.
                    id.into_iter().for_each(|id| self.forget(id));
                    fresh.push(self.assign(plan, mode));
                }
            }
        }
        // A broker that has just started may not know of every topic yet, so one look without a partition is not enough.
        let missed = std::mem::replace(&mut self.missed, gone.clone());
        for id in gone.intersection(&missed).copied() {
            if let Some(lane) = self.lanes.get(&id).filter(|lane| !lane.stopped) {
                // Without a topic there is nothing to read or to write; it may be back under another id.
                tracing::warn!(
                    topic = &*lane.topic,
                    partition = lane.partition,
                    "the partition is gone, on one side at least"
                );
                self.note_of(id, "gone", "the partition is gone, on one side at least");
                self.forget(id);
            }
        }
        self.note_taken_up(&fresh);
        if self.config.until_caught_up && !fresh.is_empty() {
            let ends = self.source.end_offsets(&fresh);
            for (key, end) in ends {
                let id = self.ids.get(&(Arc::from(key.0.as_str()), key.1));
                if let Some(lane) = id.and_then(|id| self.lanes.get_mut(id)) {
                    // A source that ends before our position may have lost records: then only the lane can tell.
                    let is_ahead = lane.checkpoint.is_some_and(|checkpoint| checkpoint.source_offset > end);
                    lane.goal = (!is_ahead).then_some(end);
                }
            }
        }
    }

    fn forget(&mut self, id: LaneId) {
        if let Some(lane) = self.lanes.remove(&id) {
            self.shards[lane.shard].send(Command::Remove { lane: id });
            let key = (lane.topic, lane.partition);
            self.ids.remove(&key);
            self.former.insert(key);
        }
    }

    fn assign(&mut self, plan: &LanePlan, mode: OffsetMode) -> (String, i32) {
        let id = LaneId(self.lane_count);
        self.lane_count += 1;
        let key = (Arc::clone(&plan.topic), plan.partition);
        let zombies_until_us = match self.former.contains(&key) {
            true => clock::now().after_ms(self.config.zombie_bound_ms).max(self.zombies_until_us),
            false => self.zombies_until_us,
        };
        // Partitions that are added to a topic under way are mirrored whole, wherever the others began.
        let has_grown = self.ids.keys().any(|(topic, _)| *topic == plan.topic) && self.observed_once;
        let from = if has_grown { StartFrom::Earliest } else { self.config.from };
        let shard = id.0 as usize % self.shards.len();
        let mut lane = Lane {
            topic: Arc::clone(&plan.topic),
            partition: plan.partition,
            topic_ids: (plan.source_topic_id, plan.target_topic_id),
            mode,
            shard,
            source: (-1, -1),
            target: (-1, -1),
            checkpoint: None,
            goal: None,
            caught_up: false,
            stopped: false,
            paused: false,
        };
        let bound = self.ledger.bind(
            id,
            &plan.topic,
            plan.partition,
            plan.source_topic_id,
            plan.target_topic_id,
            mode,
        );
        match bound {
            Ok(bound) => {
                (lane.checkpoint, lane.mode) = (bound.checkpoint, bound.mode);
                self.shards[shard].send(Command::Assign(Box::new(LaneStart {
                    lane: id,
                    topic: Arc::clone(&plan.topic),
                    names: [&self.config.source, &self.config.target]
                        .map(|cluster| Arc::from(&*cluster.names.on_cluster(&plan.topic))),
                    partition: plan.partition,
                    source_topic_id: plan.source_topic_id,
                    target_topic_id: plan.target_topic_id,
                    from,
                    runs: bound.runs,
                    checkpoint: bound.checkpoint,
                    mode: bound.mode,
                    zombies_until_us,
                    recipe: self.recipes.of(self.config, &plan.topic),
                    limit: rate_of(&self.config.max_rate_topics, &plan.topic),
                    is_first: self.config.first.iter().any(|first| first.is_match(&plan.topic)),
                })));
            }
            Err((kind, detail)) => {
                lane.stopped = true;
                self.outside.flight.note(Noted::of_lane(
                    clock::now().wall_ms,
                    "stopped",
                    &lane.topic,
                    lane.partition,
                    detail.as_str(),
                ));
                self.summary.note_stop(&lane.topic, lane.partition, Stop { kind, detail });
            }
        }
        self.ids.insert((Arc::clone(&plan.topic), plan.partition), id);
        self.lanes.insert(id, lane);
        // Before it has leaders it reads nothing.
        self.follow_wish(id);
        self.tell_leaders(id, plan, true);
        (plan.topic.to_string(), plan.partition)
    }

    fn begun(&self) -> Vec<plan::Begun> {
        let lanes = self.lanes.values().filter(|lane| !lane.stopped);
        let begun = |lane: &Lane| plan::Begun {
            topic: lane.topic.to_string(),
            partition: lane.partition,
            mode: lane.mode,
            position: lane.checkpoint.map(|checkpoint| checkpoint.source_offset),
        };
        lanes.map(begun).collect()
    }

    fn tell_leaders(&mut self, id: LaneId, plan: &LanePlan, is_new: bool) {
        let Some(lane) = self.lanes.get_mut(&id).filter(|lane| !lane.stopped) else { return };
        let sides =
            [(Side::Source, &mut lane.source, plan.source), (Side::Target, &mut lane.target, plan.target)];
        for (side, known, leader) in sides {
            if *known != leader || is_new {
                self.notes.moved(id, side, *known, leader, is_new);
                *known = leader;
                let (broker, epoch) = leader;
                self.shards[lane.shard].send(Command::Leader { lane: id, side, broker, epoch });
            }
        }
    }

    // The ledger.

    fn create_state_topic(&mut self, stop: &AtomicBool) -> Result<(), MirrorError> {
        patiently(Side::Target, stop, || ledger_io::create_state_topic(&mut self.target, &self.config.link))
    }

    fn open_ledger(&mut self, stop: &AtomicBool) -> Result<(i64, i16, i64), MirrorError> {
        let until_us = clock::now().after_ms(START_PATIENCE_MS + self.config.zombie_bound_ms);
        let mut trouble = None;
        loop {
            let now = clock::now();
            if let Some(todo) = self.ledger.poll(now)
                && let Err(error) =
                    self.ledger_io.carry_out(clock::now, &mut self.target, &mut self.ledger, todo)
            {
                if !error.is_passing() || now.mono_us >= until_us {
                    return Err(MirrorError::Cluster { side: Side::Target, error });
                }
                tracing::debug!(%error, "opening the ledger");
                trouble = Some(error);
                std::thread::sleep(Duration::from_millis(RETRY_MS));
            }
            while let Some(effect) = self.ledger.poll_effect() {
                match effect {
                    Effect::Open { producer_id, producer_epoch, marker_producer_id, zombies_until_us } => {
                        self.zombies_until_us = zombies_until_us;
                        return Ok((producer_id, producer_epoch, marker_producer_id));
                    }
                    Effect::Ended(end) => {
                        self.end(end);
                        if let Some(Err(error)) = self.ended.take() {
                            return Err(error);
                        }
                    }
                    _ => {}
                }
            }
            if stop.load(Ordering::Relaxed) || now.mono_us >= until_us {
                let cause = trouble.map_or("it did not open in time".into(), |error| error.to_string());
                return Err(MirrorError::Ledger { link: self.config.link.clone(), cause });
            }
        }
    }

    fn keep_ledger(&mut self) {
        while clock::now().mono_us >= self.ledger_retry_us {
            let Some(todo) = self.ledger.poll(clock::now()) else { break };
            if let Err(error) = self.ledger_io.carry_out(clock::now, &mut self.target, &mut self.ledger, todo)
            {
                tracing::warn!(%error, "the ledger cannot be written, trying again");
                self.note("ledger", format!("it cannot be written: {error}"));
                self.ledger_retry_us = clock::now().after_ms(RETRY_MS);
            }
            self.effects();
        }
        self.effects();
    }

    fn effects(&mut self) {
        while let Some(effect) = self.ledger.poll_effect() {
            match effect {
                Effect::RunDurable { lane, run } => {
                    if let Some(shard) = self.lanes.get(&lane).map(|lane| &self.shards[lane.shard]) {
                        shard.send(Command::RunDurable { lane, run });
                    }
                }
                Effect::Lease(lease) => self.tell_all(&Command::Lease(lease)),
                Effect::Open { zombies_until_us, .. } => self.zombies_until_us = zombies_until_us,
                Effect::Released => self.released = true,
                Effect::Ended(end) => self.end(end),
            }
        }
    }

    fn end(&mut self, end: ledger::End) {
        match MirrorError::of_ledger(&self.config.link, end) {
            Some(error) => self.ended = Some(Err(error)),
            None => self.lapsed = true,
        }
    }

    // The shards.

    fn tell_all(&self, command: &Command) {
        self.shards.iter().for_each(|shard| shard.send(command.clone()));
    }

    /// Waits for events, not for long, and handles those that are there.
    fn hear(&mut self) {
        let now = clock::now();
        let due_us = [self.ledger.poll_timeout(), Some(self.report_at_us), Some(self.observe_at_us)];
        let wait =
            due_us.into_iter().flatten().map(|at_us| clock::until(now, at_us)).min().unwrap_or_default();
        let first = match self.events.recv_timeout(wait.min(self.tick())) {
            Ok(event) => event,
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return,
        };
        self.handle_event(first);
        for _ in 1..EVENTS_MAX {
            let Ok(event) = self.events.try_recv() else { break };
            self.handle_event(event);
        }
    }

    fn handle_event(&mut self, (shard, event): (usize, Event)) {
        let now = clock::now();
        match event {
            Event::LeaseWanted { .. } => self.ledger.renew(),
            Event::RunWanted { lane, run } => self.ledger.want_run(lane, run),
            Event::WriterWanted { producer_id } => drop(self.writers_wanted.insert(producer_id)),
            Event::Timed(timings) => {
                if let Some(tell) = &self.timings {
                    // Nobody listens any more when what was to be measured is over.
                    let _ = tell.send((shard, timings));
                }
            }
            Event::Transaction(step) => self.take_step(shard, Step::Transaction(step)),
            Event::Gaps(step) => self.take_step(shard, Step::Gaps(step)),
            Event::Settled { lane, checkpoint } => {
                self.ledger.settle(lane, checkpoint);
                if let Some(lane) = self.lanes.get_mut(&lane) {
                    lane.checkpoint = Some(checkpoint);
                }
            }
            Event::LeaderUnknown { .. } => {
                self.observe_at_us = self.observe_at_us.min(now.after_ms(OBSERVE_PAUSE_MS));
            }
            Event::Stopped { lane, stop } => self.note_stop(lane, stop),
            Event::Lost { lane, from_offset, to_offset, cause } => {
                self.ledger.lost(now, lane, from_offset, to_offset, cause);
                self.note_of(
                    lane,
                    "lost",
                    &format!("source offsets {from_offset} to {}: {}", to_offset - 1, cause.words()),
                );
                if let Some(lane) = self.lanes.get(&lane) {
                    tracing::error!(
                        topic = &*lane.topic,
                        partition = lane.partition,
                        from_offset,
                        to_offset,
                        ?cause,
                        "source records are lost: {}",
                        cause.words()
                    );
                    self.summary.lost.push((
                        lane.topic.to_string(),
                        lane.partition,
                        from_offset,
                        to_offset,
                        cause,
                    ));
                }
            }
            Event::Trim { lane, offset } => {
                self.trims.insert(lane, offset);
                self.trim_at_us = self.trim_at_us.max(now.mono_us);
            }
            Event::CaughtUp { lane } => {
                if let Some(lane) = self.lanes.get_mut(&lane) {
                    lane.caught_up = true;
                }
            }
            Event::Refused { lane: id, code } => {
                if let Some(lane) = self.lanes.get(&id) {
                    let (name, advice) = (crate::error::name(code), crate::error::advice(code));
                    self.note_of(id, "refused", &format!("{name}: {advice}"));
                    tracing::warn!(
                        topic = &*lane.topic,
                        partition = lane.partition,
                        "the target takes nothing for now, trying again: {name}: {advice}"
                    );
                }
            }
            Event::Letters { lane, letters } => self.take_letters(shard, lane, letters),
            Event::RoomWanted { lane, batch_bytes } => self.want_room(lane, batch_bytes),
            Event::Repacking { lane: id, what } => {
                if let Some(lane) = self.lanes.get(&id) {
                    self.note_of(id, "repacking", &what.to_string());
                    let (topic, partition) = (&*lane.topic, lane.partition);
                    // What begins in one partition of a topic mostly begins in all of them.
                    match self.told_of_repacking.insert((Arc::clone(&lane.topic), discriminant(&what))) {
                        true => tracing::info!(topic, partition, "{what}"),
                        false => tracing::debug!(topic, partition, "{what}"),
                    }
                }
            }
            Event::BrokerTrouble { side, broker, address, cause } => {
                tracing::warn!(?side, broker, %address, shard, "{cause}");
                self.note("connection", format!("{side:?} broker {broker} ({address}): {cause}"));
            }
            Event::Drained => {
                self.drained.insert(shard);
                if self.drained.len() == self.shards.len() {
                    if self.is_done() {
                        self.finish_groups();
                        self.hand_over();
                    }
                    self.ledger.release();
                }
            }
        }
    }

    /// With --until-caught-up: every lane has what its source partition held when the lane was taken up.
    fn is_done(&self) -> bool {
        self.config.until_caught_up
            && self.lanes.len() >= self.expected
            && self.lanes.values().all(|lane| lane.stopped || lane.has_reached_goal())
            && self.trims.is_empty()
    }

    fn report(&self) -> Report {
        let now = clock::now();
        let looks: Vec<_> = self.shards.iter().map(ShardHandle::snapshot).collect();
        let mut report = Report {
            elapsed_us: now.mono_us - self.started_us,
            lanes: LaneCounts {
                total: self.lanes.len(),
                caught_up: self.lanes.values().filter(|lane| lane.has_reached_goal()).count(),
                stopped: self.lanes.values().filter(|lane| lane.stopped).count(),
                paused: self.lanes.values().filter(|lane| lane.paused && !lane.stopped).count(),
            },
            ..Report::default()
        };
        let (mut behind, mut oldest_ms, mut is_known) = (0, 0, true);
        for look in &looks {
            let counters = Counters {
                buffered_bytes: look.shard.held_bytes as u64,
                cpu_us: look.cpu_us,
                ..look.shard.counters
            };
            report.totals += counters;
            report.stages += &look.shard.stages;
            report.shards.push(counters);
            for lane in look.shard.lanes.iter().filter(|lane| lane.state != "paused") {
                let end = self.ends.of(lane);
                is_known &= end >= 0 || lane.state == "stopped";
                let lag = end.saturating_sub(lane.settled.source_offset).max(0);
                if lag > 0 && lane.settled.source_offset >= 0 {
                    behind += lag.unsigned_abs();
                    let age_ms =
                        lane.settled_timestamp_ms.map_or(0, |at_ms| now.wall_ms.saturating_sub(at_ms));
                    oldest_ms = oldest_ms.max(age_ms.max(0).unsigned_abs());
                }
            }
        }
        let record_bytes = report.totals.bytes.checked_div(report.totals.records);
        report.lag = is_known.then(|| Lag {
            records: behind,
            bytes: record_bytes.map(|bytes| bytes * behind),
            ms: Some(if behind > 0 { oldest_ms } else { 0 }),
        });
        report
    }
}

impl Lane {
    fn is_of(&self, plan: &LanePlan) -> bool {
        // While a cluster is upgraded, some of its brokers know of ids and some do not.
        let is_same = |one: Uuid, other: Uuid| one == other || one.is_nil() || other.is_nil();
        is_same(self.topic_ids.0, plan.source_topic_id) && is_same(self.topic_ids.1, plan.target_topic_id)
    }

    fn has_reached_goal(&self) -> bool {
        match (self.goal, self.checkpoint) {
            (Some(goal), Some(checkpoint)) => checkpoint.source_offset >= goal,
            (Some(_), None) => false,
            // Nobody waits for it: once is enough.
            (None, _) => self.caught_up,
        }
    }
}

/// Tries until it goes well or the patience for a start is over. Errors that time does not heal are not tried again.
pub(super) fn patiently<T>(
    side: Side,
    stop: &AtomicBool,
    mut attempt: impl FnMut() -> Result<T, AdminError>,
) -> Result<T, MirrorError> {
    patiently_of_both(stop, || attempt().map_err(|error| (side, error)))
}

/// The same of something that asks both clusters.
fn patiently_of_both<T>(
    stop: &AtomicBool,
    mut attempt: impl FnMut() -> Result<T, (Side, AdminError)>,
) -> Result<T, MirrorError> {
    let until_us = clock::now().after_ms(START_PATIENCE_MS);
    loop {
        match attempt() {
            Ok(answer) => return Ok(answer),
            Err((side, error)) => {
                let over = clock::now().mono_us >= until_us || stop.load(Ordering::Relaxed);
                if over || !error.is_passing() || error.is_denied() {
                    return Err(MirrorError::Cluster { side, error });
                }
                tracing::warn!(?side, %error, "trying again");
                std::thread::sleep(Duration::from_millis(RETRY_MS * 5));
            }
        }
    }
}

/// Different for every instance that ever runs.
fn uuid_from_clock() -> String {
    let now = clock::now();
    format!("{}-{}-{}", std::process::id(), now.wall_ms, now.mono_us)
}
