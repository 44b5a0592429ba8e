//! A run from its beginning to its end: the clusters, the load, the faults, and what must be true afterwards.

use crate::broker::{Cluster, SyntheticCluster};
use crate::control::ledger::state_topic;
use crate::shard::Side;
use crate::sim::brokers::Half;
use crate::sim::calls::Calls;
use crate::sim::checks::Checks;
use crate::sim::control::{LINK, RACK};
use crate::sim::ledger_view::LedgerView;
use crate::sim::network::address;
use crate::sim::offsets;
use crate::sim::plan::Plan;
use crate::sim::random::Random;
use crate::sim::reference::{Reference, SourcePartition};
use crate::sim::world::{Agenda, Broken, Moment, World};
use kafka_protocol::messages::ApiKey;

/// After the faults have ended, everything must be on the target within this many zombie bounds of virtual time.
const RECOVERY_ZOMBIE_BOUNDS: u64 = 12;

impl World {
    pub(super) fn new(seed: u64, plan: Plan) -> Self {
        let mut load = Random::new(seed, "load");
        let mut reference = Reference::new(plan.partitions, plan.batches);
        draw_offsets(&mut reference, &plan, &mut load);
        let mut chaos = Random::new(seed, "chaos");
        // The rule about guarded batches allows the clocks to differ by an hour; half of it is tried. (A target that forgets
        // producers sooner than its clock is ahead forgets the link's lock at once.)
        let skew_ms = match plan.expiration_ms {
            7_200_000.. => chaos.pick(&[0, 0, -1_800_000, 1_800_000]),
            _ => 0,
        };
        let mut world = Self {
            config: offsets::config(&plan, &reference),
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
            load,
            chaos,
            steps: 0,
            observer: None,
            plan,
        };
        world.deny_rights();
        if let Some(bytes) = world.plan.target_batch_bytes_max {
            for (topic, _) in world.reference.topics() {
                world.target.cluster.set_max_message_bytes(&topic, bytes);
            }
        }
        world.write_backlog();
        for place in 0..world.plan.faults.len() {
            let first_ms = world.chaos.below(world.plan.faults[place].1 + 1);
            world.schedule(world.now_us + first_ms * 1000, Moment::Strike(place));
        }
        world
    }

    /// The target's topic takes batches of that size from now on, if it did not before.
    pub(super) fn make_room(&mut self, topic: &str, batch_bytes: usize) {
        let before = self.target.cluster.max_message_bytes(topic);
        self.trace(|| format!("{topic} takes batches of {batch_bytes} bytes instead of {before:?}"));
        if before.is_some_and(|before| before < batch_bytes) {
            self.target.cluster.set_max_message_bytes(topic, batch_bytes);
        }
    }

    fn deny_rights(&mut self) {
        if self.plan.denies_deletes {
            self.target.cluster.deny(ApiKey::DeleteRecords, None);
        }
        if self.plan.cannot_fill.is_some() {
            self.target.cluster.deny(ApiKey::WriteTxnMarkers, None);
        }
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
        self.reference.partitions.iter().all(SourcePartition::is_written)
    }
}

/// Which topics are to keep their offsets, and where each log begins.
fn draw_offsets(reference: &mut Reference, plan: &Plan, load: &mut Random) {
    for at in 0..reference.partitions.len() {
        let topic = reference.partitions[at].topic.clone();
        let known = reference.partitions[..at].iter().find(|partition| partition.topic == topic);
        let wants_identical = match known {
            Some(known) => known.wants_identical,
            None => load.percent(plan.identical_percent),
        };
        let partition = &mut reference.partitions[at];
        partition.wants_identical = wants_identical;
        partition.first_offset = if wants_identical { plan.seeded_offset } else { plan.first_offset };
        (partition.log_start, partition.log_end) = (partition.first_offset, partition.first_offset);
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
    let mut max_versions = Vec::new();
    if side == Side::Target {
        topics.push((state_topic(LINK), 1));
        let hidden =
            [(ApiKey::WriteTxnMarkers, plan.hides_fills), (ApiKey::DescribeProducers, plan.hides_producers)];
        max_versions.extend(hidden.iter().filter(|(_, hides)| *hides).map(|&(api, _)| (api as i16, -1)));
    }
    // Every other broker is in the mirror's rack.
    let racks = (0..nodes).map(|node| (node, if node % 2 == 0 { "elsewhere" } else { RACK }.to_owned()));
    let racks = racks.filter(|_| side == Side::Source && plan.reads_nearby).collect();
    Cluster::new(SyntheticCluster {
        cluster_id: format!("{side:?}").to_lowercase(),
        brokers: (0..nodes).map(|node| (node, address(side, node))).collect(),
        racks,
        topics,
        replication_factor: nodes as usize,
        auto_create_topics: false,
        producer_id_expiration_ms: plan.expiration_ms,
        // Expiry is a fault of its own.
        producer_id_expiration_check_ms: u64::from(u32::MAX),
        max_versions,
        ..SyntheticCluster::default()
    })
}
