//! What goes wrong, and how it heals. Which faults a run has is the [`plan`](super::plan)'s business.

use crate::broker::Injection;
use crate::shard::{Command, LaneId, Side};
use crate::sim::plan::Fault;
use crate::sim::world::{Broken, Moment, Relief, World};
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::ApiKey;
use std::sync::Arc;

impl World {
    /// The fault at this place of the plan strikes, and comes again.
    pub(super) fn strike(&mut self, place: usize) -> Result<(), Broken> {
        if self.healed {
            return Ok(());
        }
        let (fault, every_ms) = self.plan.faults[place];
        self.trace(|| format!("fault: {fault:?}"));
        self.apply(fault)?;
        let again_us = self.now_us + 1_000 + self.chaos.around(every_ms) * 1000;
        self.schedule(again_us, Moment::Strike(place));
        Ok(())
    }

    fn apply(&mut self, fault: Fault) -> Result<(), Broken> {
        match fault {
            Fault::Reset => {
                if let Some(index) = self.any_connection() {
                    self.close(index, "connection reset");
                }
            }
            Fault::HalfOpen => {
                if let Some(index) = self.any_connection() {
                    let connection = &mut self.connections[index];
                    match self.chaos.percent(50) {
                        true => connection.up.severed = true,
                        false => connection.down.severed = true,
                    }
                }
            }
            Fault::Stall => self.stall_connection(),
            Fault::BrokerDown => self.take_node_down(false),
            Fault::BrokerRestart => self.take_node_down(true),
            Fault::SourceLeaderMoves => self.move_some_leader(Side::Source),
            Fault::TargetLeaderMoves => self.move_some_leader(Side::Target),
            Fault::DeposedAnswers => self.let_deposed_answer(),
            Fault::LaggingWatermark => self.hold_watermark(),
            Fault::ProducersExpire => {
                let now = self.target.now(self.now());
                self.target.cluster.expire_producers(now);
                self.expiring_until_us = self.now_us + self.chaos.around(1_000) * 1000;
                self.trace(|| "the target forgets old producers".to_owned());
            }
            Fault::TargetDeletes => self.delete_from_target(),
            Fault::ProduceErrors => self.fail_produce(false),
            Fault::AppendedButError => self.fail_produce(true),
            Fault::FetchErrors => self.fail_fetch(),
            Fault::Throttle => {
                let side = self.any_side();
                let throttle_ms = self.chaos.between(10, 1_000) as i32;
                self.half(side).cluster.set_throttle_time_ms(throttle_ms);
            }
            Fault::SourceRetention => self.delete_from_source(),
            Fault::StaleMetadata => {}
            Fault::Kill => {
                if let Some(instance) = self.any_instance() {
                    self.kill(instance);
                    let down_us = self.chaos.around(2_000) * 1000;
                    self.schedule(self.now_us + down_us, Moment::Relief(Relief::InstanceStarts));
                }
            }
            Fault::SecondInstance => {
                if self.instances_running() < 3 {
                    self.start_instance();
                }
            }
            Fault::CleanStop => {
                if let Some(instance) = self.any_instance() {
                    self.stop_instance(instance);
                }
            }
            Fault::Pause => self.pause_some_instance(),
            Fault::TargetTruncation => self.truncate_target(),
            Fault::SourceRecreated => self.recreate_source_topic(),
            Fault::SourceCompacts => {
                let partition = self.any_partition();
                self.compact_source(partition);
            }
            Fault::FillErrors => self.fail_fills(false),
            Fault::FilledButError => self.fail_fills(true),
            Fault::FilledTwice => self.double_fills(),
            Fault::FillDenied => {
                self.target.cluster.deny(ApiKey::WriteTxnMarkers, None);
                self.trace(|| "control records may not be written any more".to_owned());
            }
            Fault::LanesPaused => self.pause_some_lanes(),
            Fault::FollowerLags => self.hold_follower(),
        }
        Ok(())
    }

    fn any_side(&mut self) -> Side {
        if self.chaos.percent(50) { Side::Source } else { Side::Target }
    }

    fn any_connection(&mut self) -> Option<usize> {
        let open: Vec<usize> =
            (0..self.connections.len()).filter(|&index| !self.connections[index].left).collect();
        (!open.is_empty()).then(|| self.chaos.pick(&open))
    }

    fn any_instance(&mut self) -> Option<usize> {
        let running: Vec<usize> =
            (0..self.instances.len()).filter(|&index| self.instances[index].is_running()).collect();
        (!running.is_empty()).then(|| self.chaos.pick(&running))
    }

    fn any_partition(&mut self) -> usize {
        self.chaos.index(self.reference.partitions.len())
    }

    fn stall_connection(&mut self) {
        let Some(index) = self.any_connection() else { return };
        let until_us = self.now_us + self.chaos.below(self.plan.request_timeout_ms * 1500);
        let connection = &mut self.connections[index];
        let agenda = &mut self.agenda;
        if self.chaos.percent(50) {
            connection.up.stall(until_us, |at_us| agenda.add(at_us, Moment::ArrivedUp(index)));
        } else {
            connection.down.stall(until_us, |at_us| agenda.add(at_us, Moment::ArrivedDown(index)));
        }
    }

    /// A broker goes away for a while; what it led moves to others while there are others.
    fn take_node_down(&mut self, restarts: bool) {
        let side = self.any_side();
        let up = self.half(side).nodes_up();
        if up.is_empty() {
            return;
        }
        let node = self.chaos.pick(&up);
        let half = self.half(side);
        half.set_up(node, false);
        half.cluster.node_down(node);
        self.break_connections(side, node);
        let down_us = self.chaos.around(3_000) * 1000;
        self.schedule(self.now_us + down_us, Moment::Relief(Relief::NodeUp { side, node, restarts }));
    }

    fn node_up(&mut self, side: Side, node: i32, restarts: bool) {
        if self.half(side).is_up(node) {
            return;
        }
        let now = self.now();
        let half = self.half(side);
        half.set_up(node, true);
        match restarts {
            true => half.cluster.restart_node(half.now(now), node),
            false => half.cluster.node_up(node),
        }
        self.trace(|| format!("{side:?} {node} is back"));
    }

    fn name(&self, partition: usize) -> (Arc<str>, i32) {
        let partition = &self.reference.partitions[partition];
        (partition.topic.clone(), partition.partition)
    }

    /// A clean election: whatever the high watermark did not cover may be gone, with what the producers' state knew of it.
    fn move_some_leader(&mut self, side: Side) {
        let partition = self.any_partition();
        let (topic, number) = self.name(partition);
        let up = self.half(side).nodes_up();
        if up.is_empty() {
            return;
        }
        let node = self.chaos.pick(&up);
        let deposed_answers =
            side == Side::Target && self.plan_is_on(Fault::DeposedAnswers) && self.chaos.percent(50);
        let cluster = &mut self.half(side).cluster;
        let Some(old) = cluster.partition(&topic, number) else { return };
        let (old_leader, high_watermark) = (old.leader, old.log.high_watermark());
        if deposed_answers && old_leader >= 0 {
            cluster.freeze_producers(&topic, number, old_leader);
        }
        match side {
            Side::Source => cluster.move_leader(&topic, number, node),
            Side::Target => cluster.truncate(&topic, number, high_watermark, node),
        }
        self.trace(|| format!("{side:?} {topic}-{number}: leader moves from {old_leader} to {node}"));
    }

    /// A follower answers with what it knows now, long after.
    fn let_deposed_answer(&mut self) {
        let partition = self.any_partition();
        let (topic, number) = self.name(partition);
        let node = self.chaos.index(self.target.nodes() as usize) as i32;
        self.target.cluster.freeze_producers(&topic, number, node);
    }

    fn hold_watermark(&mut self) {
        let partition = self.any_partition();
        let (topic, number) = self.name(partition);
        self.target.cluster.hold_high_watermark(&topic, number, true);
        self.trace(|| format!("the high watermark of {topic}-{number} on the target stands still"));
        let held_us = self.chaos.around(2_000) * 1000;
        self.schedule(self.now_us + held_us, Moment::Relief(Relief::WatermarkMoves { partition }));
    }

    fn release_watermark(&mut self, partition: usize) {
        let (topic, number) = self.name(partition);
        self.target.cluster.hold_high_watermark(&topic, number, false);
    }

    fn hold_follower(&mut self) {
        let partition = self.any_partition();
        let (topic, number) = self.name(partition);
        let node = self.chaos.index(self.source.nodes() as usize) as i32;
        self.source.cluster.hold_follower(&topic, number, node, true);
        self.trace(|| format!("{topic}-{number} on the source's broker {node} stays behind its leader"));
        let held_us = self.chaos.around(4_000) * 1000;
        self.schedule(self.now_us + held_us, Moment::Relief(Relief::FollowerFollows { partition, node }));
    }

    fn release_follower(&mut self, partition: usize, node: i32) {
        let (topic, number) = self.name(partition);
        self.source.cluster.hold_follower(&topic, number, node, false);
    }

    /// DeleteRecords up to the high watermark: with the next restart nothing is left of the producers' state.
    fn delete_from_target(&mut self) {
        let partition = self.any_partition();
        let (topic, number) = self.name(partition);
        let Some(held) = self.target.cluster.partition(&topic, number) else { return };
        let (start, end) = (held.log.log_start_offset(), held.log.high_watermark());
        let all = self.chaos.percent(70);
        let before = if all { end } else { start + self.chaos.below((end - start) as u64 + 1) as i64 };
        self.target.cluster.delete_records(&topic, number, before);
        self.trace(|| format!("records before {before} of {topic}-{number} are deleted on the target"));
    }

    fn fail_produce(&mut self, applied: bool) {
        use ResponseError::*;
        let error = match applied {
            true => self.chaos.pick(&[
                NotEnoughReplicasAfterAppend,
                RequestTimedOut,
                NetworkException,
                UnknownServerError,
            ]),
            false => self.chaos.pick(&[
                NotLeaderOrFollower,
                NotEnoughReplicas,
                KafkaStorageError,
                RequestTimedOut,
                NetworkException,
                CoordinatorLoadInProgress,
                UnknownServerError,
                LeaderNotAvailable,
            ]),
        };
        self.inject(Side::Target, ApiKey::Produce, error, applied);
    }

    fn fail_fetch(&mut self) {
        use ResponseError::*;
        let error = self.chaos.pick(&[
            NotLeaderOrFollower,
            KafkaStorageError,
            ReplicaNotAvailable,
            UnknownServerError,
        ]);
        self.inject(Side::Source, ApiKey::Fetch, error, false);
        if self.chaos.percent(30) {
            let api = self.chaos.pick(&[
                ApiKey::DescribeProducers,
                ApiKey::ListOffsets,
                ApiKey::OffsetForLeaderEpoch,
            ]);
            self.inject(Side::Target, api, NotLeaderOrFollower, false);
        }
    }

    fn fail_fills(&mut self, applied: bool) {
        use ResponseError::*;
        let error = match applied {
            true => self.chaos.pick(&[NotEnoughReplicasAfterAppend, RequestTimedOut, UnknownServerError]),
            false => self.chaos.pick(&[
                NotLeaderOrFollower,
                NotEnoughReplicas,
                KafkaStorageError,
                InvalidProducerEpoch,
                TransactionCoordinatorFenced,
            ]),
        };
        self.inject(Side::Target, ApiKey::WriteTxnMarkers, error, applied);
    }

    /// Control records come twice. The mirror hears of an error, unless the answer is merged with a better one.
    fn double_fills(&mut self) {
        let partition = self.any_partition();
        let (topic, number) = self.name(partition);
        self.reference.partitions[partition].was_doubled = true;
        let times = self.chaos.between(1, 3) as u32;
        self.target.cluster.repeat_markers(&topic, number, times);
        self.trace(|| format!("the next {times} control records come twice to {topic}-{number}"));
    }

    fn inject(&mut self, side: Side, api: ApiKey, error: ResponseError, applied: bool) {
        let partition = self.any_partition();
        let (topic, partition) = self.name(partition);
        let times = self.chaos.between(1, 4) as u32;
        // Of the control records in one request the first may be served.
        let after = if api == ApiKey::WriteTxnMarkers { self.chaos.below(4) as u32 } else { 0 };
        self.trace(|| {
            format!("{side:?} answers {api:?} of {topic}-{partition} with {error:?} {times} times")
        });
        self.half(side).cluster.inject(Injection {
            api,
            node: None,
            topic: Some(topic.to_string()),
            partition: Some(partition),
            error,
            applied,
            after,
            times,
        });
    }

    /// The source deletes its oldest batches; sometimes more than is mirrored, sometimes a part of a batch.
    fn delete_from_source(&mut self) {
        let partition = self.any_partition();
        let mirrored = self.checks.twin(partition).next_record();
        let source = &mut self.reference.partitions[partition];
        if source.recreated || source.records.is_empty() {
            return;
        }
        let all = source.records.len();
        let reach = if self.chaos.percent(30) { all } else { mirrored.min(all) };
        let record = &source.records[self.chaos.index(reach.max(1))];
        let in_batch = self.chaos.percent(30);
        let before = if in_batch { record.offset } else { source.batches[record.batch].base_offset };
        let start = self.source.cluster.delete_records(&source.topic, source.partition, before);
        source.log_start = start.unwrap_or(source.log_start);
        let (topic, number) = (source.topic.clone(), source.partition);
        self.trace(|| format!("records before {before} of {topic}-{number} are deleted on the source"));
    }

    /// An unclean election on the target: acknowledged records are lost.
    fn truncate_target(&mut self) {
        let partition = self.any_partition();
        let (topic, number) = self.name(partition);
        let up = self.target.nodes_up();
        let Some(held) = self.target.cluster.partition(&topic, number) else { return };
        let (start, end) = (held.log.log_start_offset(), held.log.log_end_offset());
        if up.is_empty() || end == start {
            return;
        }
        let node = self.chaos.pick(&up);
        let to = start + self.chaos.below((end - start) as u64) as i64;
        self.target.cluster.truncate(&topic, number, to, node);
        self.trace(|| format!("{topic}-{number} on the target is cut off at {to} or before"));
    }

    fn recreate_source_topic(&mut self) {
        let partition = self.any_partition();
        let (topic, _) = self.name(partition);
        self.source.cluster.recreate_topic(&topic);
        self.trace(|| format!("{topic} is deleted and created again on the source"));
        for partition in self.reference.partitions.iter_mut().filter(|partition| partition.topic == topic) {
            partition.recreated = true;
            partition.unwritten = 0;
            partition.open.clear();
        }
    }

    /// The process is suspended: nothing is read, written or timed until it goes on.
    fn pause_some_lanes(&mut self) {
        let Some(instance) = self.any_instance() else { return };
        for partition in 0..self.reference.partitions.len() {
            if self.chaos.percent(50) {
                let paused = self.chaos.percent(50);
                self.pause_lane(instance, partition, paused);
            }
        }
        let bytes_per_second = self.chaos.pick(&[None, Some(10_000), Some(1_000_000)]);
        self.command_all(instance, Command::Throttle { bytes_per_second });
    }

    fn pause_lane(&mut self, instance: usize, partition: usize, paused: bool) {
        if self.instances[instance].slots.is_empty() {
            return;
        }
        let lane = LaneId(partition as u32);
        self.trace(|| format!("lane {partition} of instance {instance} is paused: {paused}"));
        self.command(self.place_of(instance, lane), Command::Pause { lane, paused });
    }

    fn pause_some_instance(&mut self) {
        let Some(instance) = self.any_instance() else { return };
        let until_us = self.now_us + self.chaos.below(self.pause_ms_max() * 1000 + 1);
        self.instances[instance].paused_until_us = until_us;
        self.trace(|| format!("instance {instance} is suspended until {:.6}", until_us as f64 / 1e6));
    }

    /// How long an instance may be suspended: any time, where nothing rests on the zombie bound.
    fn pause_ms_max(&self) -> u64 {
        if self.plan.is_guarded() && !self.plan.fills() {
            self.plan.zombie_bound_ms * 3
        } else {
            self.plan.zombie_bound_ms / 8
        }
    }

    /// How long the requests of a dead connection may still be under way. Where all lanes are guarded, for ever; else so that
    /// a lease, a request timeout, a suspended process and this fit into the zombie bound.
    pub(super) fn orphans_within_ms(&self) -> u64 {
        let bound_ms = self.plan.zombie_bound_ms;
        if self.plan.has(Fault::TargetDeletes) {
            // With the log and a restart the state is gone, and nothing keeps an old request out.
            return 0;
        }
        if self.plan.is_guarded() { bound_ms * 3 } else { self.late_within_ms() }
    }

    /// The same for requests that nothing but the time keeps out.
    pub(super) fn late_within_ms(&self) -> u64 {
        let bound_ms = self.plan.zombie_bound_ms;
        bound_ms.saturating_sub(self.plan.request_timeout_ms + bound_ms / 8)
    }

    pub(super) fn relieve(&mut self, relief: Relief) {
        match relief {
            Relief::NodeUp { side, node, restarts } => self.node_up(side, node, restarts),
            Relief::WatermarkMoves { partition } => self.release_watermark(partition),
            Relief::FollowerFollows { partition, node } => self.release_follower(partition, node),
            Relief::InstanceStarts => {
                if self.instances_running() == 0 {
                    self.start_instance();
                }
            }
        }
    }

    /// Everything works again: from now on the mirror has to catch up.
    pub(super) fn heal(&mut self) {
        self.healed = true;
        self.expiring_until_us = 0;
        self.trace(|| "everything heals".to_owned());
        for side in [Side::Source, Side::Target] {
            let half = self.half(side);
            half.cluster.clear_injections();
            half.cluster.set_throttle_time_ms(0);
            for node in 0..self.half(side).nodes() {
                self.node_up(side, node, false);
            }
        }
        for partition in 0..self.reference.partitions.len() {
            self.release_watermark(partition);
            (0..self.source.nodes()).for_each(|node| self.release_follower(partition, node));
        }
        self.resume_lanes();
        if self.instances_running() == 0 {
            self.start_instance();
        }
    }

    fn resume_lanes(&mut self) {
        if !self.plan.has(Fault::LanesPaused) {
            return;
        }
        let bytes_per_second = self.plan.bytes_per_second;
        for instance in 0..self.instances.len() {
            (0..self.reference.partitions.len()).for_each(|lane| self.pause_lane(instance, lane, false));
            self.command_all(instance, Command::Throttle { bytes_per_second });
        }
    }
}
