//! The mirror stands in a rack with a replica of what it reads.

use super::*;
use crate::shard::Side;

/// The source's broker in the mirror's rack, which leads nothing that is mirrored.
const NEAR: i32 = 1;

/// One partition, led by a broker elsewhere.
fn nearby(change: impl FnOnce(&mut Plan)) -> World {
    world(|plan| {
        plan.reads_nearby = true;
        plan.partitions = 1;
        plan.batch_gap_ms = 40;
        change(plan);
    })
}

impl World {
    fn replica_bytes(&self) -> u64 {
        let slots = self.instances.iter().flat_map(|instance| &instance.slots);
        slots.map(|slot| slot.shard.snapshot().counters.replica_bytes).sum()
    }

    /// The replica nearby stays behind its leader, or does so no more.
    fn hold_nearby(&mut self, held: bool) {
        self.source.cluster.hold_follower("orders", 0, NEAR, held);
    }
}

#[test]
fn the_replica_nearby_is_read() {
    for identical_percent in [0, 100] {
        let mut world = nearby(|plan| plan.identical_percent = identical_percent);
        world.ends_well();
        let sizes = |world: &World| world.source.cluster.partition("orders", 0).unwrap().log.size_bytes();
        assert_eq!(world.replica_bytes(), sizes(&world) as u64, "not a byte from the leader");
    }
}

#[test]
fn a_replica_that_stands_still_is_left() {
    let mut world = nearby(|_| {});
    world.run_ms(300);
    let read = world.replica_bytes();
    assert!(read > 0);
    world.hold_nearby(true);
    // Nobody heals it.
    world.catch_up().unwrap_or_else(|broken| panic!("{broken}"));
    let (read, all) = (world.replica_bytes(), world.source.cluster.partition("orders", 0).unwrap());
    assert!(read < all.log.size_bytes() as u64, "the rest is from the leader");
}

#[test]
fn a_replica_that_fails_is_left_at_once_and_found_again() {
    let mut world = nearby(|plan| (plan.batches, plan.batch_gap_ms) = (80, 2_000));
    world.run_ms(10_000);
    assert!(world.replica_bytes() > 0);
    world.source.set_up(NEAR, false);
    world.source.cluster.node_down(NEAR);
    world.break_connections(Side::Source, NEAR);
    let read = world.replica_bytes();
    let mirrored = world.mirrored();
    world.run_until_true("it goes on from the leader", |world| world.mirrored() > mirrored);
    assert_eq!(world.replica_bytes(), read);
    world.source.set_up(NEAR, true);
    world.source.cluster.node_up(NEAR);
    world.run_ms(80_000);
    assert!(world.replica_bytes() > read);
    world.ends_well();
}
