//! Control records by WriteTxnMarkers: what is appended, what is refused, and what the answer says.

use super::*;
use kafka_protocol::messages::write_txn_markers_request::{WritableTxnMarker, WritableTxnMarkerTopic};

/// An abort marker for t-0, of producer 7.
pub(super) fn marker(epoch: i16, coordinator_epoch: i32) -> WritableTxnMarker {
    let topic = WritableTxnMarkerTopic::default().with_name(name("t")).with_partition_indexes(vec![0]);
    WritableTxnMarker::default()
        .with_producer_id(7.into())
        .with_producer_epoch(epoch)
        .with_coordinator_epoch(coordinator_epoch)
        .with_topics(vec![topic])
}

fn request(markers: Vec<WritableTxnMarker>) -> WriteTxnMarkersRequest {
    WriteTxnMarkersRequest::default().with_markers(markers)
}

/// The code of each producer id's partitions.
fn codes(response: &WriteTxnMarkersResponse) -> Vec<(i64, Vec<i16>)> {
    let of_topic = |topic: &write_txn_markers_response::WritableTxnMarkerTopicResult| {
        topic.partitions.iter().map(|partition| partition.error_code).collect::<Vec<_>>()
    };
    let markers = response.markers.iter();
    markers.map(|marker| (marker.producer_id.0, marker.topics.iter().flat_map(of_topic).collect())).collect()
}

impl World {
    fn write_markers(&mut self, markers: Vec<WritableTxnMarker>) -> Vec<(i64, Vec<i16>)> {
        codes(&self.call(1, 1, &request(markers)))
    }

    /// (epoch, last sequence, last timestamp, coordinator epoch, start of the open transaction) of producer 7 in t-0.
    pub(super) fn described(&mut self) -> Option<(i32, i32, i64, i32, i64)> {
        let topic = describe_producers_request::TopicRequest::default()
            .with_name(name("t"))
            .with_partition_indexes(vec![0]);
        let response = self.call(1, 0, &DescribeProducersRequest::default().with_topics(vec![topic]));
        let producers = &response.topics[0].partitions[0].active_producers;
        producers.iter().find(|producer| producer.producer_id.0 == 7).map(|it| {
            let (epoch, sequence) = (it.producer_epoch, it.last_sequence);
            (epoch, sequence, it.last_timestamp, it.coordinator_epoch, it.current_txn_start_offset)
        })
    }
}

/// As real brokers answer it.
#[test]
fn each_marker_is_one_control_record_that_consumers_read_as_such() {
    let mut world = World::new();
    world.produce(Fake::plain(3).build());
    assert_eq!(world.write_markers(vec![marker(0, 4); 5]), [(7, vec![0])]);
    assert_eq!(world.list(1, -1, -1), (0, 8));
    let mut seen = Vec::new();
    world
        .cluster
        .read("t", 0, 3, 1 << 20, &mut |batch: &Batch| {
            assert!(batch.is_intact() && batch.is_control() && batch.is_transactional());
            assert_eq!((batch.base_sequence(), batch.record_count()), (-1, 1));
            seen.push((batch.base_offset(), Marker::of_batch(batch).unwrap()));
        })
        .unwrap();
    let written = Marker { producer_id: 7, producer_epoch: 0, commits: false, coordinator_epoch: 4 };
    assert_eq!(seen, (3..8).map(|offset| (offset, written)).collect::<Vec<_>>());
}

#[test]
fn older_epochs_are_refused_and_equal_ones_are_not() {
    let mut world = World::new();
    let table = [
        (marker(3, 5), 0),
        (marker(3, 5), 0),
        (marker(2, 5), 47),
        (marker(3, 4), 52),
        (marker(4, 4), 52),
        (marker(4, 6), 0),
        (marker(3, 6), 47),
    ];
    for (at, (marker, code)) in table.into_iter().enumerate() {
        assert_eq!(world.write_markers(vec![marker]), [(7, vec![code])], "step {at}");
    }
    assert_eq!(world.list(1, -1, -1), (0, 3));
}

#[test]
fn answers_are_merged_by_producer_id_and_the_last_one_counts() {
    let mut world = World::new();
    let markers = vec![marker(1, 0), marker(0, 0), marker(1, 0)];
    assert_eq!(world.write_markers(markers), [(7, vec![0])], "though the second was refused");
    assert_eq!(world.list(1, -1, -1), (0, 2));
    assert_eq!(world.write_markers(vec![marker(1, 0), marker(0, 0)]), [(7, vec![47])], "though one came");
    assert_eq!(world.list(1, -1, -1), (0, 3));
    let mut many = marker(1, 0);
    many.topics[0].partition_indexes = vec![1, 0, 9];
    let other = marker(0, 0).with_producer_id(6.into());
    assert_eq!(world.write_markers(vec![many, other]), [(6, vec![0]), (7, vec![0, 0, 3])]);
}

#[test]
fn a_marker_of_an_unknown_producer_demands_sequence_0_and_a_newer_epoch_forgets_the_last() {
    let mut world = World::new();
    world.write_markers(vec![marker(0, 2)]);
    assert_eq!(world.described(), Some((0, -1, T0.wall_ms, 2, -1)));
    assert_eq!(world.produce(Fake::sequenced(5, 1).build()).0, 45);
    let old = Fake { max_timestamp: T0.wall_ms - 1_000_000, ..Fake::sequenced(0, 3) };
    assert_eq!(world.produce(old.build()), (0, 1));
    assert_eq!(world.described(), Some((0, 2, T0.wall_ms - 1_000_000, 2, -1)));
    world.pass_ms(70);
    world.write_markers(vec![marker(0, 2)]);
    assert_eq!(world.described(), Some((0, 2, T0.wall_ms + 70, 2, -1)), "dated by the append");
    assert_eq!(world.produce(Fake::sequenced(3, 1).build()).0, 0);
    world.write_markers(vec![marker(1, 2)]);
    assert_eq!(world.described().map(|it| (it.0, it.1)), Some((1, -1)));
    assert_eq!(world.produce(Fake::sequenced(4, 1).build()).0, 47);
    let next = |sequence| Fake { producer: (7, 1, sequence), ..Fake::plain(1) }.build();
    assert_eq!((world.produce(next(4)).0, world.produce(next(0)).0), (45, 0));
}

/// Version 2 of the transaction protocol (KIP-890): epochs rise with each marker, and a repeat has the same one.
#[test]
fn version_2_says_which_transaction_protocol_a_marker_follows() {
    let mut world = World::new();
    let ask = |world: &mut World, epoch: u8, transaction_version: u8| {
        let mut frame = BytesMut::from(&frame(27, 1, &request(Vec::new()))[..]);
        frame[3] = 2;
        frame.truncate(frame.len() - 2);
        frame.put_slice(&[2, 0, 0, 0, 0, 0, 0, 0, 7, 0, epoch, 1, 2, 2, b't', 2, 0, 0, 0, 0, 0]);
        frame.put_slice(&[0, 0, 0, 0, transaction_version, 0, 0]);
        let Reply::Now(response) = world.cluster.handle_request(world.now, 1, frame.freeze()) else {
            panic!("no answer")
        };
        codes(&parse::<WriteTxnMarkersRequest>(&response, 1))[0].1[0]
    };
    assert_eq!(ask(&mut world, 1, 2), 0);
    assert_eq!(ask(&mut world, 1, 2), 0, "a repeat");
    let open = Fake { producer: (7, 1, 0), attributes: 1 << 4, ..Fake::plain(1) }.build();
    world.cluster.append_as_is("t", 0, placed(&open, 2)).unwrap();
    assert_eq!(ask(&mut world, 1, 2), 47, "the epoch of the records");
    assert_eq!(ask(&mut world, 1, 0), 0, "which the older protocol ends with");
}

/// A batch with the offset it is to have.
pub(super) fn placed(batch: &Bytes, base_offset: i64) -> Batch {
    let mut batch = Batch::from_records(batch).unwrap();
    batch.place(base_offset, 0);
    batch
}

#[test]
fn markers_are_answered_when_they_are_replicated() {
    let mut world = World::brokers(2);
    world.cluster.hold_high_watermark("t", 0, true);
    let Reply::Later(_) = world.send(1, 1, &request(vec![marker(0, 0); 2])) else { panic!("at once") };
    world.cluster.advance_high_watermark("t", 0, 1);
    assert!(world.poll::<WriteTxnMarkersRequest>(1).is_none());
    world.cluster.advance_high_watermark("t", 0, 2);
    let (_, response) = world.poll::<WriteTxnMarkersRequest>(1).unwrap();
    assert_eq!(codes(&response), [(7, vec![0])]);

    let Reply::Later(_) = world.send(1, 1, &request(vec![marker(0, 0)])) else { panic!("at once") };
    world.pass_ms(30_000);
    assert_eq!(codes(&world.poll::<WriteTxnMarkersRequest>(1).unwrap().1), [(7, vec![7])]);
    let Reply::Later(_) = world.send(1, 1, &request(vec![marker(0, 0)])) else { panic!("at once") };
    world.cluster.move_leader("t", 0, 2);
    assert_eq!(codes(&world.poll::<WriteTxnMarkersRequest>(1).unwrap().1), [(7, vec![6])]);
    assert_eq!(world.write_markers(vec![marker(0, 0)]), [(7, vec![6])], "node 1 does not lead");
}

#[test]
fn markers_fail_in_part_come_twice_and_are_refused_as_told() {
    let mut world = World::new();
    let mut injection = Injection {
        api: ApiKey::WriteTxnMarkers,
        node: None,
        topic: Some("t".to_owned()),
        partition: Some(0),
        error: ResponseError::NotEnoughReplicas,
        applied: false,
        after: 2,
        times: 1,
    };
    world.cluster.inject(injection.clone());
    assert_eq!(world.write_markers(vec![marker(0, 0); 3]), [(7, vec![19])]);
    assert_eq!(world.list(1, -1, -1), (0, 2), "the first two");
    (injection.applied, injection.after) = (true, 0);
    world.cluster.inject(injection);
    assert_eq!(world.write_markers(vec![marker(0, 0)]), [(7, vec![19])]);
    assert_eq!(world.list(1, -1, -1), (0, 3), "appended all the same");
    world.cluster.repeat_markers("t", 0, 1);
    assert_eq!(world.write_markers(vec![marker(0, 0); 2]), [(7, vec![0])], "the last one counts");
    assert_eq!(world.list(1, -1, -1), (0, 6), "one of them twice");
    world.cluster.repeat_markers("t", 0, 1);
    assert_eq!(world.write_markers(vec![marker(0, 0)]), [(7, vec![13])]);
    assert_eq!(world.list(1, -1, -1), (0, 8));
    world.cluster.deny(ApiKey::WriteTxnMarkers, None);
    assert_eq!(world.write_markers(vec![marker(0, 0)]), [(7, vec![31])]);
    assert_eq!(world.list(1, -1, -1), (0, 8));

    let delete = |world: &mut World| {
        let partition = delete_records_request::DeleteRecordsPartition::default().with_offset(2);
        let topic = delete_records_request::DeleteRecordsTopic::default().with_name(name("t"));
        let topic = topic.with_partitions(vec![partition]);
        let response = world.call(1, 2, &DeleteRecordsRequest::default().with_topics(vec![topic]));
        response.topics[0].partitions[0].error_code
    };
    assert_eq!(delete(&mut world), 0);
    world.cluster.deny(ApiKey::DeleteRecords, Some("other"));
    assert_eq!(delete(&mut world), 0);
    world.cluster.deny(ApiKey::DeleteRecords, Some("t"));
    assert_eq!(delete(&mut world), 29);
}

#[test]
fn a_cut_request_for_markers_closes_the_connection() {
    let whole = frame(27, 1, &request(vec![marker(0, 0); 2]));
    for length in 0..whole.len() {
        let mut world = World::new();
        assert!(matches!(world.cluster.handle_request(T0, 1, whole.slice(..length)), Reply::Close));
        assert_eq!(world.list(1, -1, -1), (0, 0), "nothing is appended");
    }
}
