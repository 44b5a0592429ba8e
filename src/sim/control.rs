//! Control of one instance, reduced to its errands: it opens the ledger, hands lanes and leaders to the shards, and makes
//! runs, checkpoints and losses durable. The ledger is the real one; its requests go to the simulated target.

use crate::config::{Isolation, StartFrom};
use crate::control::ledger::{self, Effect, Ledger};
use crate::control::transactions::{Coordination, Done, Step};
use crate::shard::{Command, Event, LaneId, LaneStart, Settings, Shard, Side, StopKind};
use crate::sim::network::address;
use crate::sim::offsets::Trims;
use crate::sim::plan::Fault;
use crate::sim::pump::{Place, Slot};
use crate::sim::world::{Broken, Moment, World};
use bytes::Bytes;
use kafka_protocol::messages::{MetadataRequest, MetadataResponse};
use std::collections::{BTreeMap, VecDeque};
use uuid::Uuid;

/// One incarnation of the mirror.
pub(super) struct Instance {
    pub(super) slots: Vec<Slot>,
    pub(super) paused_until_us: u64,
    pub(super) phase: Phase,
    pub(super) ledger: Ledger,
    /// The ledger's request under way.
    pub(super) call: Option<u64>,
    pub(super) coordination: Option<Coordination>,
    pub(super) transaction_call: Option<u64>,
    /// What became of the shards' steps and is not passed on yet.
    pub(super) transactions_done: Vec<(usize, Done)>,
    /// When control was last told to look at them again.
    pub(super) transactions_due_us: u64,
    pub(super) ledger_pause_until_us: u64,
    /// Events on their way from the shards, with the moment when they arrive.
    events: VecDeque<(u64, usize, Event)>,
    /// Both clusters as last seen; and as seen before, which stale metadata shows again.
    seen: [Metadata; 2],
    seen_before: [Metadata; 2],
    metadata_due_us: u64,
    /// Leaders as the shards were told.
    told: BTreeMap<(LaneId, Side), (i32, i32)>,
    /// Lanes that are this instance's to run.
    lanes: BTreeMap<LaneId, Lane>,
    pub(super) stopped: BTreeMap<LaneId, StopKind>,
    drained: usize,
    pub(super) trims: Trims,
    /// Requests of earlier owners may be under way until then.
    zombies_until_us: u64,
}

struct Lane {
    source_topic_id: Uuid,
}

/// What a cluster says of its topics: ids by name, and (leader, epoch) by partition.
#[derive(Clone, Default)]
struct Metadata {
    ids: BTreeMap<String, Uuid>,
    leaders: BTreeMap<(String, i32), (i32, i32)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Opening,
    Running,
    Draining,
    Releasing,
    /// Killed, fenced, or ended in good order.
    Gone,
}

/// The link's name.
pub(super) const LINK: &str = "sim";
/// Where the mirror is.
pub(super) const RACK: &str = "here";
/// How often metadata is read when nothing asks for it sooner, and when something does.
const METADATA_MS: (u64, u64) = (1_000, 50);
/// Instances are not started without end: a run must end.
const INSTANCES_MAX: usize = 40;
const METADATA_VERSION: i16 = 12;

impl Instance {
    pub(super) fn is_running(&self) -> bool {
        self.phase != Phase::Gone
    }

    /// The partition's leader on the target, as last seen.
    pub(super) fn target_leader(&self, topic: &str, partition: i32) -> Option<i32> {
        let (leader, _) = self.seen[1].leaders.get(&(topic.to_owned(), partition))?;
        Some(*leader).filter(|leader| *leader >= 0)
    }

    pub(super) fn target_topic_id(&self, topic: &str) -> Option<Uuid> {
        self.seen[1].ids.get(topic).copied()
    }
}

impl World {
    pub(super) fn instances_running(&self) -> usize {
        self.instances.iter().filter(|instance| instance.is_running()).count()
    }

    pub(super) fn start_instance(&mut self) {
        if self.instances.len() >= INSTANCES_MAX && !self.healed {
            return;
        }
        let instance = self.instances.len();
        self.trace(|| format!("instance {instance} starts"));
        self.instances.push(Instance {
            slots: Vec::new(),
            paused_until_us: 0,
            phase: Phase::Opening,
            ledger: Ledger::new(ledger::Settings {
                source_cluster: "source".to_owned(),
                target_cluster: "target".to_owned(),
                names: Default::default(),
                parts: None,
                instance: format!("instance {instance}"),
                zombie_bound_ms: self.plan.zombie_bound_ms,
                producer_id_expiration_ms: self.known_expiration_ms(),
                shards: self.plan.shards as u32,
            }),
            call: None,
            coordination: None,
            transaction_call: None,
            transactions_done: Vec::new(),
            transactions_due_us: 0,
            ledger_pause_until_us: 0,
            events: VecDeque::new(),
            seen: Default::default(),
            seen_before: Default::default(),
            metadata_due_us: 0,
            told: BTreeMap::new(),
            lanes: BTreeMap::new(),
            stopped: BTreeMap::new(),
            drained: 0,
            trims: Trims::default(),
            zombies_until_us: 0,
        });
        self.schedule(self.now_us, Moment::Control(instance));
    }

    /// kill -9: everything but the clusters is gone at once; what its sockets held may still arrive.
    pub(super) fn kill(&mut self, instance: usize) {
        self.trace(|| format!("instance {instance} is killed"));
        self.end(instance);
    }

    fn end(&mut self, instance: usize) {
        let ended = &mut self.instances[instance];
        ended.phase = Phase::Gone;
        (ended.call, ended.transaction_call) = (None, None);
        ended.trims.call = None;
        let slots = std::mem::take(&mut ended.slots);
        for index in slots.iter().flat_map(|slot| slot.connections.values().copied()) {
            self.orphan(index);
        }
    }

    /// SIGTERM: lanes drain, the ledger is released.
    pub(super) fn stop_instance(&mut self, instance: usize) {
        self.trace(|| format!("instance {instance} is told to stop"));
        match self.instances[instance].phase {
            Phase::Running => {
                self.instances[instance].phase = Phase::Draining;
                for shard in 0..self.instances[instance].slots.len() {
                    self.command(Place { instance, shard }, Command::Drain);
                }
            }
            Phase::Opening => self.kill(instance),
            Phase::Draining | Phase::Releasing | Phase::Gone => {}
        }
    }

    /// A shard's event sets out for control; events of one shard arrive in order.
    pub(super) fn tell_control(&mut self, place: Place, event: Event) {
        let delay_us = self.net.around(200);
        let events = &mut self.instances[place.instance].events;
        let arrives_us =
            (self.now_us + delay_us).max(events.back().map_or(0, |&(arrives_us, ..)| arrives_us));
        events.push_back((arrives_us, place.shard, event));
        self.schedule(arrives_us, Moment::Control(place.instance));
    }

    pub(super) fn command(&mut self, place: Place, command: Command) {
        let delay_us = self.net.around(200);
        let now_us = self.now_us;
        let Some(slot) = self.slot(place) else { return };
        let arrives_us =
            (now_us + delay_us).max(slot.commands.back().map_or(0, |&(arrives_us, _)| arrives_us));
        slot.commands.push_back((arrives_us, command));
        self.schedule(arrives_us, Moment::Turn(place));
    }

    /// Lanes are spread over the shards.
    pub(super) fn place_of(&self, instance: usize, lane: LaneId) -> Place {
        Place { instance, shard: lane.0 as usize % self.plan.shards }
    }

    fn known_expiration_ms(&self) -> Option<i64> {
        self.plan.expiration_known.then_some(self.plan.expiration_ms)
    }

    /// Control of one instance does what there is to do.
    pub(super) fn control(&mut self, index: usize) -> Result<(), Broken> {
        let instance = &self.instances[index];
        if instance.phase == Phase::Gone {
            return Ok(());
        }
        if instance.paused_until_us > self.now_us {
            self.schedule(instance.paused_until_us, Moment::Control(index));
            return Ok(());
        }
        while let Some((shard, event)) = self.next_event(index) {
            self.take_event(index, shard, event)?;
        }
        self.drive_transactions(index);
        if self.now_us >= self.instances[index].metadata_due_us {
            self.read_metadata(index);
        }
        self.trim(index);
        self.drive_ledger(index)
    }

    fn next_event(&mut self, index: usize) -> Option<(usize, Event)> {
        let now_us = self.now_us;
        let events = &mut self.instances[index].events;
        if events.front()?.0 > now_us {
            return None;
        }
        events.pop_front().map(|(_, shard, event)| (shard, event))
    }

    fn take_event(&mut self, index: usize, shard: usize, event: Event) -> Result<(), Broken> {
        let now = self.now();
        self.check_event(index, &event)?;
        let instance = &mut self.instances[index];
        match event {
            Event::LeaseWanted { .. } => instance.ledger.renew(),
            Event::RunWanted { lane, run } => instance.ledger.want_run(lane, run),
            Event::Settled { lane, checkpoint } => instance.ledger.settle(lane, checkpoint),
            Event::LeaderUnknown { .. } => {
                let soon_us = self.now_us + METADATA_MS.1 * 1000;
                instance.metadata_due_us = instance.metadata_due_us.min(soon_us);
                self.schedule(soon_us, Moment::Control(index));
            }
            Event::Stopped { lane, stop } => {
                instance.stopped.insert(lane, stop.kind);
            }
            Event::Trim { lane, offset } => self.want_trim(index, lane, offset),
            // In a mode that is not simulated.
            Event::WriterWanted { .. } => {}
            Event::Transaction(step) => self.take_step(index, shard, Step::Transaction(step)),
            Event::Gaps(step) => self.take_step(index, shard, Step::Gaps(step)),
            Event::Lost { lane, from_offset, to_offset, cause } => {
                instance.ledger.lost(now, lane, from_offset, to_offset, cause);
            }
            Event::Letters { lane, letters } => self.write_letters(index, shard, lane, letters)?,
            Event::RoomWanted { lane, batch_bytes } => {
                let (place, is_made) = (self.place_of(index, lane), self.plan.makes_room);
                if is_made {
                    let topic = self.reference.partitions[lane.0 as usize].topic.clone();
                    self.make_room(&topic, batch_bytes);
                }
                self.command(place, Command::Room { lane, is_made });
            }
            Event::CaughtUp { .. } | Event::Refused { .. } | Event::Repacking { .. } => {}
            Event::BrokerTrouble { .. } | Event::Timed(_) => {}
            Event::Drained => {
                instance.drained += 1;
                if instance.drained == instance.slots.len() && instance.phase == Phase::Draining {
                    instance.phase = Phase::Releasing;
                    instance.ledger.release();
                }
            }
        }
        Ok(())
    }

    // The ledger.

    fn drive_ledger(&mut self, index: usize) -> Result<(), Broken> {
        let now = self.now();
        loop {
            while let Some(effect) = self.instances[index].ledger.poll_effect() {
                if !matches!(effect, Effect::Lease(_)) {
                    self.trace(|| format!("ledger of instance {index}: {effect:?}"));
                }
                self.take_effect(index, effect);
            }
            let instance = &mut self.instances[index];
            if instance.phase == Phase::Gone || instance.call.is_some() {
                return Ok(());
            }
            if instance.ledger_pause_until_us > now.mono_us {
                let until_us = instance.ledger_pause_until_us;
                self.schedule(until_us, Moment::Control(index));
                return Ok(());
            }
            match self.instances[index].ledger.poll(now) {
                Some(todo) => self.ask_for_ledger(index, todo),
                None => break,
            }
        }
        // A pending effect may come with the end of the ledger.
        if let Some(effect) = self.instances[index].ledger.poll_effect() {
            self.take_effect(index, effect);
            return self.drive_ledger(index);
        }
        if let Some(due_us) = self.instances[index].ledger.poll_timeout() {
            self.schedule(due_us.max(self.now_us + 1_000), Moment::Control(index));
        }
        Ok(())
    }

    fn take_effect(&mut self, index: usize, effect: Effect) {
        match effect {
            Effect::Open { producer_id, producer_epoch, marker_producer_id, zombies_until_us } => {
                self.open(index, (producer_id, producer_epoch), marker_producer_id, zombies_until_us);
            }
            Effect::RunDurable { lane, run } => {
                let place = self.place_of(index, lane);
                self.command(place, Command::RunDurable { lane, run });
            }
            Effect::Lease(lease) => self.command_all(index, Command::Lease(lease)),
            Effect::Released => {
                self.trace(|| format!("instance {index} has ended in good order"));
                self.end(index);
                self.restart_later();
            }
            Effect::Ended(_) => {
                self.end(index);
                self.restart_later();
            }
        }
    }

    fn restart_later(&mut self) {
        let down_us = self.chaos.around(1_000) * 1000;
        self.schedule(self.now_us + down_us, Moment::Relief(super::world::Relief::InstanceStarts));
    }

    /// The link is ours: lanes begin.
    fn open(
        &mut self,
        index: usize,
        (producer_id, producer_epoch): (i64, i16),
        marker_producer_id: i64,
        zombies_until_us: u64,
    ) {
        let settings = Settings {
            client_id: "twinlog".to_owned(),
            mover: self.plan.mover,
            buffer_bytes: self.plan.buffer_bytes / self.plan.shards,
            fetch_bytes_max: self.plan.fetch_bytes_max,
            fetch_wait_ms: 200,
            rack: if self.plan.reads_nearby { RACK.to_owned() } else { String::new() },
            request_timeout_ms: self.plan.request_timeout_ms,
            zombie_bound_ms: self.plan.zombie_bound_ms,
            has_sasl: [false; 2],
            connections_per_broker: self.plan.connections_per_broker,
            producer_id_expiration_ms: self.known_expiration_ms(),
            producer_id,
            producer_epoch,
            marker_producer_id,
            gap_offsets_max: self.plan.gap_offsets_max,
            gap_transactions_max: self.plan.gap_transactions_max,
            runs_ahead_max: self.plan.runs_ahead_max,
            times_batches: false,
            counts_stages: false,
            counts_passed: false,
            bytes_per_second: self.plan.bytes_per_second,
            large_gaps: self.plan.large_gaps,
            may_have_open_gaps: self.instances[index].ledger.has_transactions(),
            isolation: Isolation::ReadCommitted,
            exactly_once: self.plan.exactly_once,
            transactional_id: String::new(),
            on_loss: self.plan.on_loss,
            merge: self.plan.merge,
            oversize: self.plan.oversize,
            has_dead_letters: self.plan.has_dead_letters,
        };
        let shards = self.plan.shards;
        self.instances[index].phase = Phase::Running;
        let shard = |shard: usize| {
            let transactional_id = ledger::shard_transactional_id(LINK, shard as u32);
            Slot::new(Shard::new(Settings { transactional_id, ..settings.clone() }))
        };
        self.instances[index].slots = (0..shards).map(shard).collect();
        let ids = self.instances[index].ledger.transactional_ids();
        self.instances[index].coordination = Some(Coordination::new(LINK, ids));
        for side in [Side::Source, Side::Target] {
            let nodes = self.half(side).nodes();
            let brokers = (0..nodes).map(|node| (node, address(side, node))).collect();
            self.command_all(index, Command::Brokers { side, brokers });
        }
        if let Some(bytes_per_second) = self.plan.limit_bytes_per_second {
            self.command_all(index, Command::Limits(vec![bytes_per_second]));
        }
        self.instances[index].zombies_until_us = zombies_until_us;
        self.read_metadata(index);
    }

    /// A lane begins when both clusters have told the ids of its topics.
    fn assign(&mut self, index: usize, partition: usize) {
        let lane = LaneId(partition as u32);
        let source = &self.reference.partitions[partition];
        let (topic, number) = (source.topic.clone(), source.partition);
        let mode = self.choose_mode(&topic);
        let instance = &mut self.instances[index];
        if instance.lanes.contains_key(&lane) || instance.stopped.contains_key(&lane) {
            return;
        }
        let id = |side: usize| instance.seen[side].ids.get(&*topic).copied();
        let (Some(source_topic_id), Some(target_topic_id)) = (id(0), id(1)) else { return };
        match instance.ledger.bind(lane, &topic, number, source_topic_id, target_topic_id, mode) {
            Err((kind, why)) => {
                instance.stopped.insert(lane, kind);
                self.trace(|| format!("{topic}-{number} is not begun: {why}"));
            }
            Ok(bound) => {
                instance.lanes.insert(lane, Lane { source_topic_id });
                let start = LaneStart {
                    lane,
                    names: [topic.clone(), topic.clone()],
                    topic,
                    partition: number,
                    source_topic_id,
                    target_topic_id,
                    from: StartFrom::Earliest,
                    runs: bound.runs,
                    checkpoint: bound.checkpoint,
                    mode: bound.mode,
                    zombies_until_us: instance.zombies_until_us,
                    recipe: None,
                    limit: self
                        .plan
                        .limit_bytes_per_second
                        .filter(|_| partition.is_multiple_of(2))
                        .map(|_| 0),
                    is_first: self.plan.has_first && partition % 2 == 1,
                };
                let place = self.place_of(index, lane);
                self.command(place, Command::Assign(Box::new(start)));
            }
        }
    }

    pub(super) fn command_all(&mut self, instance: usize, command: Command) {
        for shard in 0..self.instances[instance].slots.len() {
            self.command(Place { instance, shard }, command.clone());
        }
    }

    // Metadata.

    /// Reads both clusters' metadata, and tells the shards what is new. Sometimes what is read is old.
    fn read_metadata(&mut self, index: usize) {
        let due_us = self.now_us + METADATA_MS.0 * 1000;
        self.instances[index].metadata_due_us = due_us;
        self.schedule(due_us, Moment::Control(index));
        for (at, side) in [Side::Source, Side::Target].into_iter().enumerate() {
            let Some(fresh) = self.metadata(side) else { continue };
            let stale = self.plan_is_on(Fault::StaleMetadata) && self.chaos.percent(40);
            let instance = &mut self.instances[index];
            let old = std::mem::replace(&mut instance.seen_before[at], fresh.clone());
            instance.seen[at] = if stale && !old.ids.is_empty() { old } else { fresh };
        }
        if self.instances[index].phase == Phase::Running || self.instances[index].phase == Phase::Draining {
            self.remove_recreated(index);
            for partition in 0..self.reference.partitions.len() {
                self.assign(index, partition);
            }
            self.tell_leaders(index);
        }
    }

    fn metadata(&mut self, side: Side) -> Option<Metadata> {
        let now = self.now();
        let half = self.half(side);
        let node = half.nodes_up().first().copied()?;
        let frame = request_frame(&MetadataRequest::default().with_topics(None), METADATA_VERSION);
        let crate::broker::Reply::Now(response) = half.cluster.handle_request(half.now(now), node, frame)
        else {
            return None;
        };
        let answer: MetadataResponse = answer(METADATA_VERSION, response.to_bytes())?;
        let mut metadata = Metadata::default();
        for topic in &answer.topics {
            let name = topic.name.as_ref()?.to_string();
            metadata.ids.insert(name.clone(), topic.topic_id);
            for partition in &topic.partitions {
                let leader = (partition.leader_id.0, partition.leader_epoch);
                metadata.leaders.insert((name.clone(), partition.partition_index), leader);
            }
        }
        Some(metadata)
    }

    fn tell_leaders(&mut self, index: usize) {
        let mut news = Vec::new();
        for (partition, source) in self.reference.partitions.iter().enumerate() {
            let lane = LaneId(partition as u32);
            let instance = &self.instances[index];
            if !instance.lanes.contains_key(&lane) {
                continue;
            }
            for (at, side) in [Side::Source, Side::Target].into_iter().enumerate() {
                let place = (source.topic.to_string(), source.partition);
                let Some(&(broker, epoch)) = instance.seen[at].leaders.get(&place) else { continue };
                if instance.told.get(&(lane, side)) != Some(&(broker, epoch)) {
                    news.push((lane, side, broker, epoch));
                }
            }
        }
        for (lane, side, broker, epoch) in news {
            self.instances[index].told.insert((lane, side), (broker, epoch));
            let place = self.place_of(index, lane);
            self.command(place, Command::Leader { lane, side, broker, epoch });
        }
    }

    /// A topic that has another id than the lane's is not the lane's topic any more.
    fn remove_recreated(&mut self, index: usize) {
        let instance = &mut self.instances[index];
        let mut gone = Vec::new();
        for (&lane, held) in &instance.lanes {
            let topic = &self.reference.partitions[lane.0 as usize].topic;
            if instance.seen[0].ids.get(&**topic).is_some_and(|id| *id != held.source_topic_id) {
                gone.push(lane);
            }
        }
        for lane in gone {
            self.instances[index].lanes.remove(&lane);
            self.instances[index].stopped.insert(lane, StopKind::SourceRecreated);
            let place = self.place_of(index, lane);
            self.command(place, Command::Remove { lane });
        }
    }

    /// Leader of the state topic as this instance knows it.
    pub(super) fn state_leader(&self, index: usize) -> Option<i32> {
        self.leader_of(index, Side::Target, &ledger::state_topic(LINK), 0)
    }

    /// Leader of a partition as this instance knows it.
    pub(super) fn leader_of(&self, index: usize, side: Side, topic: &str, partition: i32) -> Option<i32> {
        let seen = &self.instances[index].seen[usize::from(side == Side::Target)];
        let leader = seen.leaders.get(&(topic.to_owned(), partition)).map(|&(leader, _)| leader);
        leader.filter(|&leader| leader >= 0)
    }

    /// The metadata are to be read again before the ledger's next request.
    pub(super) fn look_again(&mut self, index: usize) {
        let soon_us = self.now_us + METADATA_MS.1 * 1000;
        let instance = &mut self.instances[index];
        instance.metadata_due_us = instance.metadata_due_us.min(soon_us);
        instance.ledger_pause_until_us = soon_us + 1;
        self.schedule(soon_us, Moment::Control(index));
        self.schedule(soon_us + 1, Moment::Control(index));
    }
}

/// A request without its size prefix.
pub(super) fn request_frame<R>(request: &R, version: i16) -> Bytes
where
    R: kafka_protocol::protocol::Request + kafka_protocol::protocol::HeaderVersion,
{
    crate::wire::control::encode(request, version, 1, "twinlog-control").split_off(4)
}

/// The answer in a frame with its size prefix. None: it is not one, which a closed connection is like.
pub(super) fn answer<T>(version: i16, frame: Bytes) -> Option<T>
where
    T: kafka_protocol::protocol::Decodable + kafka_protocol::protocol::HeaderVersion,
{
    crate::wire::control::decode(version, frame.slice(4.min(frame.len())..)).ok()
}
