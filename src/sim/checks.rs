//! What must hold after every step, and what must hold at the end.

use crate::config::{LargeGaps, OnLoss};
use crate::control::ledger::state_topic;
use crate::shard::{Event, LaneId, LossCause, OffsetMode, StopKind};
use crate::sim::Outcome;
use crate::sim::control::{Instance, LINK};
use crate::sim::ledger_view::LaneView;
use crate::sim::plan::Fault;
use crate::sim::reference::Fate;
use crate::sim::twin::{Against, Kind, Twin, Wrong};
use crate::sim::world::{Broken, World};
use std::collections::BTreeSet;

/// No batch of the load is larger.
const BATCH_BYTES_MAX: usize = 8 << 10;
/// What a shard may have to send besides: a request for control records, and for each lane some batches of seeds, which are one
/// in memory.
const FILL_BYTES_MAX: usize = 128 << 10;
const SEED_BYTES_MAX: usize = 128 << 10;

/// What has been checked so far.
pub(super) struct Checks {
    twins: Vec<Twin>,
    /// Checksums of the payloads of seed batches that were read.
    seeds: BTreeSet<u32>,
    /// By [`Kind`].
    pub(super) kinds: [u64; 4],
    pub(super) fingerprint: u64,
}

impl Checks {
    pub(super) fn new(partitions: usize) -> Self {
        Self {
            twins: (0..partitions).map(|_| Twin::default()).collect(),
            seeds: BTreeSet::new(),
            kinds: [0; 4],
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
        let state_topic = self.target.cluster.partition(&state_topic(LINK), 0);
        let news = self
            .ledger_view
            .follow(state_topic)
            .map_err(|what| Broken::new(format!("state topic: {what}")))?;
        for index in 0..self.reference.partitions.len() {
            self.check_target(index)?;
        }
        for (topic, partition) in news {
            let found = self
                .reference
                .partitions
                .iter()
                .position(|source| *source.topic == *topic && i64::from(source.partition) == partition);
            if let Some(index) = found {
                self.check_mode(index)?;
                self.check_checkpoint(index)?;
            }
        }
        self.check_buffers()
    }

    fn check_target(&mut self, index: usize) -> Result<(), Broken> {
        let may_lose_replicated = self.plan.has(Fault::TargetTruncation);
        let source = &self.reference.partitions[index];
        let Some(held) = self.target.cluster.partition(&source.topic, source.partition) else {
            return Ok(());
        };
        let Checks { twins, seeds, kinds, .. } = &mut self.checks;
        let twin = &mut twins[index];
        let broken = |what: String| Broken::new(format!("{}-{}: {what}", source.topic, source.partition));
        twin.follow(&held.log, may_lose_replicated).map_err(broken)?;
        let log_start = held.log.log_start_offset();
        if log_start > source.log_start && !self.plan.has(Fault::TargetDeletes) && !source.recreated {
            return Err(broken(format!(
                "the target begins at {log_start}, though the source does at {}",
                source.log_start
            )));
        }
        if twin.spoiled.is_some() || held.log.log_end_offset() == twin.next_offset {
            return Ok(());
        }
        let (Some(pids), Some(lane)) =
            (self.ledger_view.pids(), self.ledger_view.lane(&source.topic, source.partition))
        else {
            return Err(broken("something is on the target that the ledger did not announce".to_owned()));
        };
        let was_marked_again =
            self.target.cluster.transactions.has_marked_again(&source.topic, source.partition);
        for batch in held.log.read(twin.next_offset, i64::MAX) {
            let ledger = &self.ledger_view;
            let mut against = Against { source, lane, pids, ledger, seeds };
            match twin.check(batch, &mut against) {
                Ok(kind) => kinds[kind as usize] += 1,
                Err(Wrong::Overfilled(_))
                    if source.was_doubled || was_marked_again || twin.is_first_after_cut(batch) =>
                {
                    twin.overfill(batch);
                }
                Err(Wrong::Always(what)) if twin.is_first_after_cut(batch) && !batch.is_control() => {
                    twin.spoil(format!("at target offset {}: {what}", batch.base_offset()));
                    break;
                }
                Err(Wrong::Always(what) | Wrong::Overfilled(what)) => {
                    return Err(broken(format!("target offset {}: {what}", batch.base_offset())));
                }
            }
        }
        let word = twin.next_offset as u64 ^ self.now_us << 20;
        self.checks.note(word);
        Ok(())
    }

    /// The link keeps offsets as it was told to, where it can.
    fn check_mode(&self, index: usize) -> Result<(), Broken> {
        let source = &self.reference.partitions[index];
        let Some(lane) = self.ledger_view.lane(&source.topic, source.partition) else { return Ok(()) };
        let can_fill = self.plan.cannot_fill.is_none() || self.plan.demands_identical;
        let may_be_identical = source.wants_identical && can_fill;
        match lane.mode {
            OffsetMode::Append if !may_be_identical => Ok(()),
            // The source may have begun above what is seeded when the link first looked.
            OffsetMode::Append if self.reference.start_of(&source.topic) > self.plan.seed_offsets_max => {
                Ok(())
            }
            OffsetMode::Identical if may_be_identical => Ok(()),
            mode => Err(Broken::new(format!(
                "{}-{} is mirrored in mode {mode:?}, though identical offsets are {}",
                source.topic,
                source.partition,
                if may_be_identical { "wanted" } else { "not to be had" }
            ))),
        }
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
        let last = lane.target_of(number - 1).unwrap_or(-1);
        if last >= twin.high_watermark {
            return Err(Broken::new(format!(
                "{}-{}: the ledger's checkpoint is behind target offset {last}, but only {} is replicated",
                source.topic, source.partition, twin.high_watermark
            )));
        }
        let missing = source.first_wanted(twin.next_record_below(twin.high_watermark));
        match missing.map(|missing| source.records[missing].offset).filter(|&missing| missing < source_offset)
        {
            Some(missing) => Err(Broken::new(format!(
                "{}-{}: the ledger's checkpoint is source offset {source_offset}, but {missing} is not on the target",
                source.topic, source.partition
            ))),
            None => Ok(()),
        }
    }

    /// No shard holds more than it may. What it must take is one batch for each lane, however large.
    fn check_buffers(&self) -> Result<(), Broken> {
        let may_bytes = self.plan.buffer_bytes / self.plan.shards;
        let lanes = self.reference.partitions.len();
        let gap_max = self.plan.gap_max.max(self.plan.seeded_offset);
        let fill_bytes = if gap_max > 100 { FILL_BYTES_MAX } else { FILL_BYTES_MAX / 10 };
        let seed_bytes = if self.plan.seeded_offset > 10_000 { SEED_BYTES_MAX * lanes } else { 0 };
        let besides_bytes = BATCH_BYTES_MAX * lanes + fill_bytes + seed_bytes;
        for (index, instance) in self.instances.iter().enumerate() {
            for slot in &instance.slots {
                let held_bytes = slot.shard.held_bytes();
                if held_bytes > may_bytes + besides_bytes {
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
        let twin = self.checks.twin(lane.0 as usize);
        let may_be_identical = self.plan.cannot_fill.is_none() || self.plan.demands_identical;
        let halts = source.wants_identical && may_be_identical && self.plan.large_gaps == LargeGaps::Halt;
        match kind {
            StopKind::OtherWriter => twin.was_damaged || source.was_doubled,
            StopKind::SourceRecreated => source.recreated,
            StopKind::PositionUnknown => self.plan.has(Fault::TargetTruncation),
            StopKind::GapTooLarge => halts && source.gap_max() > self.plan.gap_offsets_max,
            StopKind::Unauthorized => {
                halts
                    && (self.plan.has(Fault::FillDenied) || self.plan.cannot_fill.is_some())
                    && source.gap_max() > self.plan.gap_transactions_max
            }
            StopKind::TargetRefuses => {
                halts && self.plan.hides_fills && source.gap_max() > self.plan.gap_transactions_max
            }
            // The mirror cannot know whether there were records.
            StopKind::SourceDeleted => {
                let last = twin.next_record().checked_sub(1);
                let next = last.map_or(source.first_offset, |last| source.records[last].offset + 1);
                self.plan.on_loss == OnLoss::Halt && source.log_start > next
            }
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
            let name = format!("{}-{}", source.topic, source.partition);
            let twin = self.checks.twin(index);
            if twin.spoiled.is_some() || twin.is_overfilled(source) {
                return Some(format!(
                    "{name} has not stopped, though the target is spoiled: {:?}",
                    twin.spoiled
                ));
            }
            if let Some(missing) = source.first_wanted(twin.next_record()) {
                let (offset, lanes) = (source.records[missing].offset, self.lane_states(lane));
                return Some(format!("{name} misses source offset {offset}; {lanes}"));
            }
            let is_identical = self
                .ledger_view
                .lane(&source.topic, source.partition)
                .is_some_and(|lane| lane.mode == OffsetMode::Identical);
            if is_identical && twin.next_offset < source.log_end {
                let (end, lanes) = (twin.next_offset, self.lane_states(lane));
                return Some(format!("{name} ends at {end}, the source at {}; {lanes}", source.log_end));
            }
            let log_start = self
                .target
                .cluster
                .partition(&source.topic, source.partition)
                .map_or(0, |partition| partition.log.log_start_offset());
            // What an unclean election took away may have been what was to be deleted.
            let is_trimmed = self.plan.denies_deletes || self.plan.has(Fault::TargetTruncation);
            if is_identical && log_start < source.log_start && !is_trimmed {
                let lanes = self.lane_states(lane);
                return Some(format!(
                    "{name} begins at {log_start}, the source at {}; {lanes}",
                    source.log_start
                ));
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
        for index in 0..self.reference.partitions.len() {
            if self.checks.twin(index).spoiled.is_none() {
                self.check_losses(index)?;
            }
        }
        Ok(())
    }

    fn check_losses(&self, index: usize) -> Result<(), Broken> {
        let source = &self.reference.partitions[index];
        let twin = self.checks.twin(index);
        let began_at =
            self.ledger_view.lane(&source.topic, source.partition).map_or(i64::MAX, LaneView::began_at);
        let held = twin.records();
        for (record, at) in source.records.iter().zip(0..twin.next_record()) {
            // Deleted before the link first looked: "earliest" was later.
            let is_before = record.offset < began_at;
            let is_elsewhere = record.letters > 0 || held.contains(&at);
            if source.fate_of(at) != Fate::Pass || record.deleted || is_before || is_elsewhere {
                continue;
            }
            let offset = record.offset;
            if !self.ledger_view.accounts_for(&source.topic, source.partition, offset, offset + 1) {
                return Err(Broken::new(format!(
                    "{}-{}: source offset {offset} is not on the target, and the gap ledger does not say so",
                    source.topic, source.partition
                )));
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
        let kind = |kind: Kind| self.checks.kinds[kind as usize];
        Outcome {
            steps: self.steps,
            batches: kind(Kind::Passed),
            rebuilt: kind(Kind::Rebuilt),
            fillers: kind(Kind::Control) + kind(Kind::Seeds),
            instances: self.instances.len() as u64,
            stopped: self.instances.last().map_or(0, |instance| instance.stopped.len() as u64),
            fingerprint,
        }
    }
}
