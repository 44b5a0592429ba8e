//! Which replica a consumer reads (KIP-392).

use super::*;

/// Partition 0 of `t` is led by broker 1, and followed by 2, which is in the rack `near`. Three batches are in it.
fn world() -> World {
    let brokers = [1, 2].map(|id| (id, Address { host: "127.0.0.1".to_owned(), port: 9000 + id as u16 }));
    let mut world = World::with(SyntheticCluster {
        brokers: brokers.to_vec(),
        racks: vec![(1, "far".to_owned()), (2, "near".to_owned())],
        replication_factor: 2,
        ..SyntheticCluster::default()
    });
    for _ in 0..3 {
        world.produce(Fake::plain(1).build());
    }
    world
}

/// What a broker answers to a fetch from an offset on: the error, the replica to go to, the high watermark, bytes of records.
fn fetch(
    world: &mut World,
    node: i32,
    rack: &'static str,
    version: i16,
    offset: i64,
) -> (i16, i32, i64, usize) {
    let request =
        fetch_request(offset).with_rack_id(StrBytes::from_static_str(if version < 11 { "" } else { rack }));
    let answer = world.call(node, version, &request);
    let partition = &answer.responses[0].partitions[0];
    (
        partition.error_code,
        partition.preferred_read_replica.0,
        partition.high_watermark,
        partition.records.as_ref().map_or(0, Bytes::len),
    )
}

#[test]
fn a_leader_sends_readers_to_the_replica_near_them() {
    let mut world = world();
    let (_, _, _, all) = fetch(&mut world, 1, "", 12, 0);
    assert!(all > 0);
    assert_eq!(fetch(&mut world, 1, "near", 12, 0), (0, 2, 3, 0));
    assert_eq!(fetch(&mut world, 2, "near", 12, 0), (0, -1, 3, all), "where it is read");
    assert_eq!(fetch(&mut world, 1, "far", 12, 0), (0, -1, 3, all), "the leader is there itself");
    assert_eq!(fetch(&mut world, 1, "nowhere", 12, 0), (0, -1, 3, all));
    assert_eq!(fetch(&mut world, 1, "near", 10, 0), (0, -1, 3, all), "before Kafka 2.4");
    assert_eq!(fetch(&mut world, 2, "near", 10, 0).0, 6);
    assert_eq!(fetch(&mut world, 1, "near", 12, 4).0, 1, "nobody has that");
    world.cluster.node_down(2);
    assert_eq!(fetch(&mut world, 1, "near", 12, 0), (0, -1, 3, all));
}

#[test]
fn a_follower_answers_with_what_it_has() {
    let mut world = world();
    let (_, _, _, all) = fetch(&mut world, 2, "", 12, 0);
    world.cluster.hold_follower("t", 0, 2, true);
    for _ in 0..2 {
        world.produce(Fake::plain(1).build());
    }
    assert_eq!(fetch(&mut world, 2, "near", 12, 0), (0, -1, 3, all));
    assert_eq!(
        fetch(&mut world, 1, "near", 12, 3),
        (0, 2, 5, 0),
        "it has the position, if nothing behind it"
    );
    assert_eq!(fetch(&mut world, 2, "near", 12, 4).0, 1);
    let (error, replica, _, bytes) = fetch(&mut world, 1, "near", 12, 4);
    assert!((error, replica) == (0, -1) && bytes > 0, "only the leader has that");
    world.cluster.hold_follower("t", 0, 2, false);
    let (.., high_watermark, bytes) = fetch(&mut world, 2, "near", 12, 0);
    assert!(high_watermark == 5 && bytes > all);
}
