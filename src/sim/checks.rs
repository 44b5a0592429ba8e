//! What must hold after every step, and what must hold at the end.

use crate::control::ledger::state_topic;
use crate::shard::{Event, LaneId, LossCause, StopKind};
use crate::sim::Outcome;
use crate::sim::control::{Instance, LINK};
use crate::sim::plan::Fault;
use crate::sim::traffic::Fate;
use crate::sim::twin::Twin;
use crate::sim::world::{Broken, World};

/// No batch of the load is larger.
const BATCH_BYTES_MAX: usize = 8 << 10;

/// What has been checked so far.
pub(super) struct Checks {
    twins: Vec<Twin>,
    pub(super) batches: u64,
    pub(super) fingerprint: u64,
}

impl Checks {
    pub(super) fn new(partitions: usize) -> Self {
        Self {
            twins: (0..partitions).map(|_| Twin::default()).collect(),
            batches: 0,
            fingerprint: 0xcbf2_9ce4_8422_2325,
        }
    }

    pub(super) fn twin(&self, partition: usize) -> &Twin {
        &self.twins[partition]
    }

    /// Folds something that happened into the run's fingerprint.
    pub(super) fn note(&mut self, word: u64) {
        self.fingerprint = (self.fingerprint ^ word).wrapping_mul(0x0000_0100_0000_01b3);
    }
}

impl World {
    /// After each step: whatever is new on the target is what must come next, and was announced in the ledger.
    pub(super) fn check(&mut self) -> Result<(), Broken> {
        let may_lose_replicated = self.plan.has(Fault::TargetTruncation);
        let state_topic = self.target.cluster.partition(&state_topic(LINK), 0);
        let news = self
            .ledger_view
            .follow(state_topic)
            .map_err(|what| Broken::new(format!("state topic: {what}")))?;
        for index in 0..self.reference.partitions.len() {
            let source = &self.reference.partitions[index];
            let Some(held) = self.target.cluster.partition(&source.topic, source.partition) else { continue };
            let twin = &mut self.checks.twins[index];
            let broken = |what: String| Broken::new(format!("{}-{}: {what}", source.topic, source.partition));
            twin.follow(&held.log, may_lose_replicated).map_err(broken)?;
            if twin.is_spoiled() || held.log.log_end_offset() == twin.next_offset() {
                continue;
            }
            let lane = self.ledger_view.lane(&source.topic, source.partition);
            for batch in held.log.read(twin.next_offset(), i64::MAX) {
                let checked = twin.check(source, batch, &self.ledger_view, lane);
                if checked.is_err()
                    && may_lose_replicated
                    && (batch.base_offset() == held.log.log_start_offset()
                        || Some(batch.base_offset()) == twin.cut_at())
                {
                    twin.spoil(batch.base_offset());
                    break;
                }
                checked.map_err(|what| broken(format!("target offset {}: {what}", batch.base_offset())))?;
                self.checks.batches += 1;
            }
            let word = twin.next_offset() as u64 ^ self.now_us << 20;
            self.checks.note(word);
        }
        for (topic, partition) in news {
            let found = self
                .reference
                .partitions
                .iter()
                .position(|source| *source.topic == *topic && i64::from(source.partition) == partition);
            if let Some(index) = found {
                self.check_checkpoint(index)?;
            }
        }
        self.check_buffers()
    }

    /// A durable position is never ahead of what is replicated on the target.
    fn check_checkpoint(&self, index: usize) -> Result<(), Broken> {
        let source = &self.reference.partitions[index];
        let twin = self.checks.twin(index);
        let Some(lane) = self.ledger_view.lane(&source.topic, source.partition) else { return Ok(()) };
        let Some((number, source_offset)) = lane.checkpoint else { return Ok(()) };
        if self.plan.has(Fault::TargetTruncation) {
            // What was durable is so no more.
            return Ok(());
        }
        // Where the last record below the checkpoint ends; between it and the next there may be markers.
        let target_offset = lane.target_of(number - 1).map_or(0, |offset| offset + 1);
        if target_offset > twin.high_watermark() {
            return Err(Broken::new(format!(
                "{}-{}: the ledger's checkpoint is target offset {target_offset}, but only {} is replicated",
                source.topic,
                source.partition,
                twin.high_watermark()
            )));
        }
        let next = twin.next_source_index_at(target_offset);
        match source.first_missing(next) {
            Some(missing) if source.batches[missing].base_offset < source_offset => {
                Err(Broken::new(format!(
                    "{}-{}: the ledger's checkpoint is source offset {source_offset}, but the batch at {} is not on the target",
                    source.topic, source.partition, source.batches[missing].base_offset
                )))
            }
            _ => Ok(()),
        }
    }

    /// No shard holds more than it may. What it must take is one batch for each lane, however large.
    fn check_buffers(&self) -> Result<(), Broken> {
        let may_bytes = self.plan.buffer_bytes / self.plan.shards;
        for (index, instance) in self.instances.iter().enumerate() {
            for slot in &instance.slots {
                let held_bytes = slot.shard.held_bytes();
                if held_bytes > may_bytes + BATCH_BYTES_MAX * self.reference.partitions.len() {
                    return Err(Broken::new(format!(
                        "a shard of instance {index} holds {held_bytes} bytes of a budget of {may_bytes}"
                    )));
                }
            }
        }
        Ok(())
    }

    /// What a shard says must be true.
    pub(super) fn check_event(&self, index: usize, event: &Event) -> Result<(), Broken> {
        match event {
            Event::Lost { lane, to_offset, cause: LossCause::SourceRetention, .. } => {
                let source = &self.reference.partitions[lane.0 as usize];
                if *to_offset > source.log_start && !source.recreated {
                    return Err(Broken::new(format!(
                        "instance {index} reports {event:?}, but the source begins at {}",
                        source.log_start
                    )));
                }
                Ok(())
            }
            Event::Lost { .. } => {
                Err(Broken::new(format!("instance {index} reports {event:?}, which did not happen")))
            }
            Event::Stopped { lane, stop } => {
                match self.may_stop(*lane, stop.kind) || self.is_overtaken(index, stop.kind) {
                    true => Ok(()),
                    false => {
                        Err(Broken::new(format!("instance {index} stopped {lane:?} for no reason: {stop:?}")))
                    }
                }
            }
            _ => Ok(()),
        }
    }

    /// An instance that does not know yet that another took over sees what its successor writes.
    fn is_overtaken(&self, index: usize, kind: StopKind) -> bool {
        let successors = self.instances.iter().skip(index + 1);
        kind == StopKind::OtherWriter && successors.into_iter().any(Instance::is_running)
    }

    fn may_stop(&self, lane: LaneId, kind: StopKind) -> bool {
        let source = &self.reference.partitions[lane.0 as usize];
        match kind {
            // What has to be taken apart here holds no records.
            StopKind::Unreadable => source.may_halt() || source.begins_within_a_batch(),
            StopKind::OtherWriter => self.checks.twin(lane.0 as usize).was_spoiled(),
            StopKind::SourceRecreated => source.recreated,
            StopKind::PositionUnknown => self.plan.has(Fault::TargetTruncation),
            _ => false,
        }
    }

    /// The first thing that is not on the target though it should be. None: all is there that can be.
    pub(super) fn behind(&self) -> Option<String> {
        let running = self.instances.iter().rev().find(|instance| instance.is_running());
        for (index, source) in self.reference.partitions.iter().enumerate() {
            let lane = LaneId(index as u32);
            let stopped = running.and_then(|instance| instance.stopped.get(&lane));
            if source.recreated || stopped.is_some_and(|&kind| self.may_stop(lane, kind)) {
                continue;
            }
            let twin = self.checks.twin(index);
            if twin.is_spoiled() {
                if stopped.is_none() {
                    return Some(format!(
                        "{}-{} has not stopped at a spoiled target",
                        source.topic, source.partition
                    ));
                }
                continue;
            }
            if let Some(missing) = source.first_missing(twin.next_source_index()) {
                let (number, lanes) = (source.batches[missing].base_offset, self.lane_states(lane));
                return Some(format!(
                    "{}-{} misses source offset {number}; {lanes}",
                    source.topic, source.partition
                ));
            }
            if source.halts()
                && source.batches.iter().any(|batch| batch.fate == Fate::Halt)
                && stopped.is_none()
            {
                return Some(format!("{}-{} has not stopped at its holes", source.topic, source.partition));
            }
        }
        None
    }

    fn lane_states(&self, lane: LaneId) -> String {
        let mut states = Vec::new();
        for (index, instance) in
            self.instances.iter().enumerate().filter(|(_, instance)| instance.is_running())
        {
            let lanes = instance.slots.iter().flat_map(|slot| slot.shard.snapshot().lanes);
            let shown = lanes.into_iter().find(|shown| shown.lane == lane);
            states.push(format!("instance {index} ({:?}): {shown:?}", instance.phase));
            for slot in &instance.slots {
                for (&conn, &at) in &slot.connections {
                    let connection = &self.connections[at];
                    states.push(format!(
                        "{:?} {} {conn:?}: {} bytes unread, {:?}",
                        connection.side,
                        connection.node,
                        connection.received.len(),
                        slot.shard.want(conn)
                    ));
                }
            }
        }
        states.join("; ")
    }

    /// After the run: what is not on the target is accounted for in the gap ledger.
    pub(super) fn check_end(&self) -> Result<(), Broken> {
        for (index, source) in self.reference.partitions.iter().enumerate() {
            let twin = self.checks.twin(index);
            if twin.is_spoiled() {
                continue;
            }
            let mut stands = twin.source_indexes().peekable();
            let last = twin.next_source_index();
            for (at, batch) in source.batches.iter().enumerate().take(last) {
                if stands.next_if_eq(&at).is_some() || batch.fate != Fate::Pass {
                    continue;
                }
                let (from, to) = (batch.base_offset, batch.next_offset);
                let lane = self.ledger_view.lane(&source.topic, source.partition);
                if lane.is_some_and(|lane| to <= lane.began_at()) {
                    // Deleted before the link first looked: "earliest" was later.
                    continue;
                }
                if !self.ledger_view.accounts_for(&source.topic, source.partition, from, to) {
                    return Err(Broken::new(format!(
                        "{}-{}: source offsets {from} to {to} are not on the target, and the gap ledger does not say so",
                        source.topic, source.partition
                    )));
                }
            }
        }
        Ok(())
    }

    /// What the run was like.
    pub(super) fn outcome(&self) -> Outcome {
        let mut fingerprint = self.checks.fingerprint;
        for word in [self.steps, self.now_us, self.connections.len() as u64] {
            fingerprint = (fingerprint ^ word).wrapping_mul(0x0000_0100_0000_01b3);
        }
        Outcome {
            steps: self.steps,
            batches: self.checks.batches,
            instances: self.instances.len() as u64,
            stopped: self.instances.last().map_or(0, |instance| instance.stopped.len() as u64),
            fingerprint,
        }
    }
}
