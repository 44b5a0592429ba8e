//! A run from its beginning to its end: the clusters, the load, the faults, and what must be true afterwards.

use crate::broker::{Batch, Cluster, SyntheticCluster};
use crate::control::ledger::state_topic;
use crate::shard::Side;
use crate::sim::brokers::Half;
use crate::sim::calls::Calls;
use crate::sim::checks::Checks;
use crate::sim::control::LINK;
use crate::sim::ledger_view::LedgerView;
use crate::sim::network::address;
use crate::sim::plan::Plan;
use crate::sim::random::Random;
use crate::sim::reference::Reference;
use crate::sim::traffic::{Fate, NewBatch};
use crate::sim::world::{Agenda, Broken, Moment, World};

/// After the faults have ended, everything must be on the target within this many zombie bounds of virtual time.
const RECOVERY_ZOMBIE_BOUNDS: u64 = 12;

impl World {
    pub(super) fn new(seed: u64, plan: Plan) -> Self {
        let reference = Reference::new(plan.partitions, plan.batches);
        let mut chaos = Random::new(seed, "chaos");
        // The rule about guarded batches allows the clocks to differ by an hour; half of it is tried.
        // A target that forgets producers sooner than its clock is wrong forgets the lock's, too: that is out of bounds.
        let skew_ms = match plan.expiration_ms > 2 * 1_800_000 {
            true => chaos.pick(&[0, 0, -1_800_000, 1_800_000]),
            false => 0,
        };
        let mut world = Self {
            now_us: 1_000_000,
            agenda: Agenda::default(),
            source: Half::new(cluster(Side::Source, &plan, &reference), plan.source_nodes, 0),
            target: Half::new(cluster(Side::Target, &plan, &reference), plan.target_nodes, skew_ms),
            connections: Vec::new(),
            instances: Vec::new(),
            calls: Calls::default(),
            checks: Checks::new(reference.partitions.len()),
            ledger_view: LedgerView::default(),
            reference,
            expiring_until_us: 0,
            healed: false,
            net: Random::new(seed, "net"),
            load: Random::new(seed, "load"),
            chaos,
            steps: 0,
            observer: None,
            plan,
        };
        world.write_backlog();
        for place in 0..world.plan.faults.len() {
            let first_ms = world.chaos.below(world.plan.faults[place].1 + 1);
            world.schedule(world.now_us + first_ms * 1000, Moment::Strike(place));
        }
        world
    }

    /// The whole run: faults for a while, then peace, then the last look.
    pub(super) fn run(&mut self) -> Result<(), Broken> {
        let plan = format!("{:?}", self.plan);
        self.trace(|| plan);
        self.start_instance();
        let faults_end_us = self.now_us + self.plan.fault_phase_ms * 1000;
        self.run_until(faults_end_us)?;
        self.heal();
        self.catch_up()
    }

    /// Everything must be caught up in bounded time.
    pub(super) fn catch_up(&mut self) -> Result<(), Broken> {
        let patience_ms =
            RECOVERY_ZOMBIE_BOUNDS * self.plan.zombie_bound_ms.max(self.orphans_within_ms()) + 30_000;
        let patient_until_us = self.now_us + patience_ms * 1000;
        while self.now_us < patient_until_us {
            self.run_until(self.now_us + 500_000)?;
            if self.is_written() && self.behind().is_none() {
                // Nothing may happen to it afterwards either.
                self.run_until(self.now_us + self.plan.zombie_bound_ms * 1000)?;
                return self.check_end();
            }
        }
        let behind = self.behind().unwrap_or_else(|| "the load has not ended".to_owned());
        Err(Broken::new(format!("not caught up {patience_ms} ms after the faults ended: {behind}")))
    }

    fn is_written(&self) -> bool {
        self.reference.partitions.iter().all(|source| source.unwritten == 0)
    }

    fn write_backlog(&mut self) {
        for partition in 0..self.reference.partitions.len() {
            let source = &mut self.reference.partitions[partition];
            source.log_start = self.plan.first_offset;
            let backlog = (self.plan.batches as u64 * self.plan.backlog_percent / 100).max(1);
            for _ in 0..backlog {
                self.write_batch(partition);
            }
            self.schedule(self.now_us + 1, Moment::Write(partition));
        }
    }

    /// The load's next batch, and when the one after it comes.
    pub(super) fn write_source(&mut self, partition: usize) {
        if self.reference.partitions[partition].unwritten == 0 {
            return;
        }
        self.write_batch(partition);
        self.answer_later(Side::Source);
        let gap_us = 1 + self.load.around(self.plan.batch_gap_ms * 1000);
        self.schedule(self.now_us + gap_us, Moment::Write(partition));
    }

    fn write_batch(&mut self, partition: usize) {
        let now = self.now();
        let (load, plan) = (&mut self.load, &self.plan);
        let source = &mut self.reference.partitions[partition];
        source.unwritten -= 1;
        let nth = source.batches.len();
        let timestamp_ms = now.wall_ms - plan.ages.draw_ms(plan.expiration_ms, load);
        let label = format!("{}-{}/{nth}:", source.topic, source.partition);
        let (mut batch, mut fate) =
            (NewBatch::plain(&label, load.between(1, 6) as i32, timestamp_ms, load), Fate::Pass);
        if load.percent(plan.markers_percent) {
            batch = NewBatch::marker(4_000_000 + load.below(3) as i64, load.percent(50), timestamp_ms);
            fate = Fate::Skip;
        } else if plan.holes && source.unwritten == plan.batches / 3 {
            batch.last_offset_delta += 2;
            fate = Fate::Halt;
        }
        // Compaction, or a transaction's marker, leaves a gap between batches.
        let gap = if load.percent(plan.markers_percent / 3) { load.below(9) as i64 } else { 0 };
        let base_offset = source.end().max(plan.first_offset) + gap;
        let (topic, number) = (source.topic.clone(), source.partition);
        let leader_epoch =
            self.source.cluster.partition(&topic, number).map_or(0, |partition| partition.leader_epoch);
        let raw = batch.encode();
        let Some(header) = raw.first_chunk() else { return };
        let mut stored = Batch::from_parts(*header, raw.slice(header.len()..));
        stored.place(base_offset, leader_epoch);
        if self.source.cluster.append_as_is(&topic, number, stored).is_some() {
            self.reference.partitions[partition].batches.push(batch.stored_at(base_offset, fate));
        }
    }
}

fn cluster(side: Side, plan: &Plan, reference: &Reference) -> Cluster {
    let nodes = match side {
        Side::Source => plan.source_nodes,
        Side::Target => plan.target_nodes,
    };
    let mut topics: Vec<(String, usize)> = reference
        .topics()
        .into_iter()
        .map(|(name, partitions)| (name.to_string(), partitions as usize))
        .collect();
    topics.sort();
    if side == Side::Target {
        topics.push((state_topic(LINK), 1));
    }
    Cluster::new(SyntheticCluster {
        cluster_id: format!("{side:?}").to_lowercase(),
        brokers: (0..nodes).map(|node| (node, address(side, node))).collect(),
        topics,
        replication_factor: nodes as usize,
        auto_create_topics: false,
        producer_id_expiration_ms: plan.expiration_ms,
        // Expiry is a fault of its own.
        producer_id_expiration_check_ms: u64::from(u32::MAX),
        ..SyntheticCluster::default()
    })
}
