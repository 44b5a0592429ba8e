//! Transactional producers: what they may write, what others see of it, and how it ends.

use super::markers::placed;
use super::*;
use kafka_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;
use kafka_protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};

const TRANSACTIONAL: i16 = 1 << 4;

/// A producer with a transactional id of its own.
#[derive(Clone, Copy, Debug)]
struct Producer {
    name: &'static str,
    id: i64,
    epoch: i16,
}

impl Producer {
    /// Asks for an epoch, again if a transaction has to be aborted first.
    fn start(world: &mut World, name: &'static str) -> Self {
        let init = InitProducerIdRequest::default()
            .with_transactional_id(Some(transactional_id(name)))
            .with_transaction_timeout_ms(60_000)
            .with_producer_id((-1).into())
            .with_producer_epoch(-1);
        let mut response = world.call(1, 4, &init);
        if response.error_code == 51 {
            response = world.call(1, 4, &init);
        }
        assert_eq!(response.error_code, 0);
        Self { name, id: response.producer_id.0, epoch: response.producer_epoch }
    }

    fn add(self, world: &mut World, partitions: &[i32]) -> Vec<i16> {
        let topic =
            AddPartitionsToTxnTopic::default().with_name(name("t")).with_partitions(partitions.to_vec());
        let request = AddPartitionsToTxnRequest::default()
            .with_v3_and_below_transactional_id(transactional_id(self.name))
            .with_v3_and_below_producer_id(self.id.into())
            .with_v3_and_below_producer_epoch(self.epoch)
            .with_v3_and_below_topics(vec![topic]);
        let response = world.call(1, 3, &request);
        let results = &response.results_by_topic_v3_and_below[0].results_by_partition;
        results.iter().map(|result| result.partition_error_code).collect()
    }

    fn batch(self, sequence: i32, count: i32, attributes: i16) -> Bytes {
        Fake { producer: (self.id, self.epoch, sequence), attributes, ..Fake::plain(count) }.build()
    }

    /// (error, base offset) of a transactional batch to t-0.
    fn send(self, world: &mut World, sequence: i32, count: i32) -> (i16, i64) {
        let request = produce_request(-1, self.batch(sequence, count, TRANSACTIONAL))
            .with_transactional_id(Some(transactional_id(self.name)));
        let response = world.call(1, 9, &request);
        let answer = &response.responses[0].partition_responses[0];
        (answer.error_code, answer.base_offset)
    }

    fn end(self, world: &mut World, committed: bool) -> i16 {
        let request = EndTxnRequest::default()
            .with_transactional_id(transactional_id(self.name))
            .with_producer_id(self.id.into())
            .with_producer_epoch(self.epoch)
            .with_committed(committed);
        world.call(1, 4, &request).error_code
    }
}

fn transactional_id(name: &'static str) -> TransactionalId {
    TransactionalId(StrBytes::from_static_str(name))
}

/// What a reader of committed records of t-0 gets: (last stable offset, end of the records, aborted transactions).
fn read_committed(world: &mut World, offset: i64) -> (i64, i64, Vec<(i64, i64)>) {
    let response = world.call(1, 12, &fetch_request(offset).with_isolation_level(1));
    let partition = &response.responses[0].partitions[0];
    let mut records = partition.records.clone().unwrap_or_default();
    let mut end = offset;
    while !records.is_empty() {
        let length = 12 + u32::from_be_bytes(records[8..12].try_into().unwrap()) as usize;
        end = placed_end(&records.split_to(length));
    }
    let aborted = partition.aborted_transactions.clone().unwrap();
    let aborted = aborted.iter().map(|it| (it.producer_id.0, it.first_offset)).collect();
    (partition.last_stable_offset, end, aborted)
}

fn placed_end(batch: &Bytes) -> i64 {
    Batch::from_records(batch).unwrap().last_offset() + 1
}

#[test]
fn a_transaction_is_invisible_to_readers_of_committed_records_until_it_ends() {
    let mut world = World::new();
    let producer = Producer::start(&mut world, "a");
    world.produce(Fake::plain(2).build());
    assert_eq!(producer.add(&mut world, &[0]), [0]);
    assert_eq!(producer.send(&mut world, 0, 3), (0, 2));
    world.produce(Fake::plain(1).build());
    assert_eq!(read_committed(&mut world, 0), (2, 2, vec![]));
    assert_eq!(records_of(&world.call(1, 12, &fetch_request(2))).len(), 2 * 161, "uncommitted ones");
    let list = |world: &mut World, isolation| {
        let partition = ListOffsetsPartition::default().with_timestamp(-1);
        let topic = ListOffsetsTopic::default().with_name(name("t")).with_partitions(vec![partition]);
        let request = ListOffsetsRequest::default().with_isolation_level(isolation).with_topics(vec![topic]);
        world.call(1, 7, &request).topics[0].partitions[0].offset
    };
    assert_eq!((list(&mut world, 0), list(&mut world, 1)), (6, 2));

    // Whoever waits for committed records is not woken by others.
    let waiting = fetch_request(2).with_isolation_level(1).with_min_bytes(1).with_max_wait_ms(500);
    let Reply::Later(_) = world.send(1, 12, &waiting) else { panic!("answered at once") };
    assert_eq!(producer.send(&mut world, 3, 1), (0, 6));
    assert!(world.poll::<FetchRequest>(12).is_none());
    assert_eq!(producer.end(&mut world, true), 0);
    let (_, response) = world.poll::<FetchRequest>(12).unwrap();
    assert_eq!(records_of(&response).len(), 3 * 161 + 78);
    assert_eq!(read_committed(&mut world, 0), (8, 8, vec![]));
    assert_eq!(producer.end(&mut world, true), 0, "again");
    assert_eq!(producer.end(&mut world, false), 48);
}

#[test]
fn several_transactions_at_once_end_in_any_order() {
    let mut world = World::new();
    let [a, b, c] = ["a", "b", "c"].map(|name| Producer::start(&mut world, name));
    for (producer, offset) in [(a, 0), (b, 1), (c, 2)] {
        producer.add(&mut world, &[0, 1]);
        assert_eq!(producer.send(&mut world, 0, 1), (0, offset));
    }
    assert_eq!(b.end(&mut world, false), 0);
    assert_eq!(read_committed(&mut world, 0), (0, 0, vec![]));
    assert_eq!(a.end(&mut world, true), 0);
    assert_eq!(read_committed(&mut world, 0), (2, 2, vec![(b.id, 1)]));
    assert_eq!(c.end(&mut world, false), 0);
    assert_eq!(read_committed(&mut world, 0), (6, 6, vec![(b.id, 1), (c.id, 2)]));
    assert_eq!(read_committed(&mut world, 4), (6, 6, vec![(c.id, 2)]), "b's marker is at 3");
    assert_eq!(world.cluster.partition("t", 1).unwrap().log.log_end_offset(), 3, "one marker of each");
}

#[test]
fn the_end_of_a_transaction_counts_when_it_is_replicated() {
    let mut world = World::brokers(2);
    let producer = Producer::start(&mut world, "a");
    producer.add(&mut world, &[0]);
    producer.send(&mut world, 0, 1);
    world.cluster.hold_high_watermark("t", 0, true);
    assert_eq!(producer.end(&mut world, false), 0, "it is decided");
    assert_eq!(producer.end(&mut world, false), 51, "and being completed");
    assert_eq!(producer.add(&mut world, &[0]), [51]);
    assert_eq!(read_committed(&mut world, 0), (0, 0, vec![]));
    // The leader goes with the marker; the next one gets another.
    world.cluster.truncate("t", 0, 1, 2);
    world.cluster.move_leader("t", 0, 1);
    world.pass_ms(100);
    assert!(world.poll::<FetchRequest>(12).is_none());
    world.cluster.hold_high_watermark("t", 0, false);
    assert_eq!(read_committed(&mut world, 0), (2, 2, vec![(producer.id, 0)]));
    world.pass_ms(100);
    assert!(world.poll::<FetchRequest>(12).is_none());
    assert_eq!(producer.end(&mut world, false), 0, "complete");
    assert_eq!(world.cluster.poll_timeout(), None);
}

#[test]
fn batches_are_held_to_their_transactions() {
    let mut world = World::new();
    let producer = Producer::start(&mut world, "a");
    assert_eq!(producer.send(&mut world, 0, 1), (48, -1), "no transaction");
    assert_eq!(producer.add(&mut world, &[1]), [0]);
    assert_eq!(producer.send(&mut world, 0, 1), (48, -1), "not in this partition");
    producer.add(&mut world, &[0]);
    let nameless = producer.batch(0, 1, TRANSACTIONAL);
    assert_eq!(world.produce(nameless), (48, -1), "the coordinator cannot be asked");
    assert_eq!(producer.send(&mut world, 5, 1), (0, 0), "an unknown producer begins anywhere");
    assert_eq!(producer.send(&mut world, 5, 1), (0, 0), "a repeat");
    assert_eq!(producer.send(&mut world, 7, 1), (45, -1));
    assert_eq!(world.produce(producer.batch(6, 1, 0)), (48, -1), "not transactional, within one");
    assert_eq!(world.produce(producer.batch(6, 1, TRANSACTIONAL)), (0, 1), "it goes on");
    assert_eq!(producer.end(&mut world, true), 0);
    assert_eq!(world.produce(producer.batch(7, 1, 0)), (0, 3), "none is open any more");
    let stranger = Producer { id: producer.id + 1, ..producer };
    assert_eq!(stranger.send(&mut world, 0, 1), (49, -1));
    assert_eq!((stranger.add(&mut world, &[0]), stranger.end(&mut world, true)), (vec![49], 49));
    assert_eq!(producer.add(&mut world, &[0, 9]), [55, 3], "all or none");
}

#[test]
fn a_new_producer_aborts_what_the_old_one_left_open_and_fences_it() {
    let mut world = World::new();
    let old = Producer::start(&mut world, "a");
    old.add(&mut world, &[0]);
    old.send(&mut world, 0, 2);
    let new = Producer::start(&mut world, "a");
    assert_eq!((new.id, new.epoch), (old.id, old.epoch + 2), "the epoch between ended the transaction");
    assert_eq!(read_committed(&mut world, 0), (3, 3, vec![(old.id, 0)]));
    assert_eq!(old.send(&mut world, 2, 1), (47, -1));
    assert_eq!((old.add(&mut world, &[0]), old.end(&mut world, true)), (vec![90], 90));
    let end = EndTxnRequest::default()
        .with_transactional_id(transactional_id("a"))
        .with_producer_id(old.id.into())
        .with_producer_epoch(old.epoch);
    assert_eq!(world.call(1, 1, &end).error_code, 47, "clients of before 2.7");
    new.add(&mut world, &[0]);
    assert_eq!(new.send(&mut world, 3, 1), (45, -1), "a new epoch begins at 0");
    assert_eq!(new.send(&mut world, 0, 1), (0, 3));
}

#[test]
fn epochs_that_a_producer_lost_the_answer_of_are_given_again() {
    let mut world = World::new();
    let first = Producer::start(&mut world, "a");
    let renew = |world: &mut World, epoch| {
        let request = InitProducerIdRequest::default()
            .with_transactional_id(Some(transactional_id("a")))
            .with_transaction_timeout_ms(60_000)
            .with_producer_id(first.id.into())
            .with_producer_epoch(epoch);
        let response = world.call(1, 4, &request);
        (response.error_code, response.producer_id.0, response.producer_epoch)
    };
    assert_eq!(renew(&mut world, 0), (0, first.id, 1));
    assert_eq!(renew(&mut world, 0), (0, first.id, 1), "the same question");
    assert_eq!(renew(&mut world, 1), (0, first.id, 2));
    assert_eq!(renew(&mut world, 0), (90, -1, -1));
    for epoch in 2..i16::MAX - 1 {
        assert_eq!(renew(&mut world, epoch), (0, first.id, epoch + 1));
    }
    let (code, id, epoch) = renew(&mut world, i16::MAX - 1);
    assert_eq!((code, epoch), (0, 0), "used up");
    assert_ne!(id, first.id);
    let without = InitProducerIdRequest::default().with_transactional_id(Some(transactional_id("a")));
    let without = without.with_producer_id((-1).into()).with_producer_epoch(-1);
    for timeout_ms in [0, 900_001] {
        let request = without.clone().with_transaction_timeout_ms(timeout_ms);
        assert_eq!(world.call(1, 4, &request).error_code, 50);
    }
}

#[test]
fn a_transaction_that_takes_too_long_is_aborted() {
    let mut world = World::new();
    let producer = Producer::start(&mut world, "a");
    producer.add(&mut world, &[0]);
    producer.send(&mut world, 0, 1);
    assert_eq!(world.cluster.poll_timeout(), Some(T0.mono_us + 60_000_000));
    world.pass_ms(59_999);
    assert!(world.poll::<FetchRequest>(12).is_none());
    assert_eq!(read_committed(&mut world, 0).0, 0);
    world.pass_ms(1);
    assert!(world.poll::<FetchRequest>(12).is_none());
    assert_eq!(read_committed(&mut world, 0), (2, 2, vec![(producer.id, 0)]));
    assert_eq!((producer.send(&mut world, 1, 1).0, producer.end(&mut world, true)), (47, 90));
    assert_eq!(world.cluster.poll_timeout(), None);
}

#[test]
fn an_open_transaction_keeps_its_producer_remembered() {
    let mut world = World::new();
    let old = |sequence, attributes| Fake {
        max_timestamp: T0.wall_ms - 90_000_000,
        attributes,
        ..Fake::sequenced(sequence, 1)
    };
    world.cluster.append_as_is("t", 0, placed(&old(0, TRANSACTIONAL).build(), 0)).unwrap();
    world.cluster.expire_producers(world.now);
    assert_eq!(world.described(), Some((0, 0, T0.wall_ms - 90_000_000, -1, 0)));
    world.cluster.restart_node(world.now, 1);
    assert_eq!(world.described().map(|it| it.4), Some(0), "through a restart, too");
    assert_eq!(read_committed(&mut world, 0).0, 0);
    let marker = Marker { producer_id: 7, producer_epoch: 0, commits: false, coordinator_epoch: 0 };
    let mut batch = marker.to_batch(T0.wall_ms - 90_000_000);
    batch.place(1, 1);
    world.cluster.append_as_is("t", 0, batch).unwrap();
    world.cluster.expire_producers(world.now);
    assert_eq!(world.described(), None);
}

/// What the log holds is what counts, however it came there.
#[test]
fn a_log_that_is_stored_as_it_is_has_its_transactions() {
    let mut world = World::new();
    let data = |id: i64, offset| {
        let batch = Fake { producer: (id, 0, 0), attributes: TRANSACTIONAL, ..Fake::plain(2) };
        placed(&batch.build(), offset)
    };
    let end = |id, commits, offset| {
        let mut batch =
            Marker { producer_id: id, producer_epoch: 0, commits, coordinator_epoch: 0 }.to_batch(5);
        batch.place(offset, 0);
        batch
    };
    for batch in [data(1, 100), data(2, 110), end(1, false, 200), data(3, 300), end(2, true, 310)] {
        world.cluster.append_as_is("t", 0, batch).unwrap();
    }
    assert_eq!(read_committed(&mut world, 100), (300, 201, vec![(1, 100)]));
    world.cluster.append_as_is("t", 0, end(3, false, 400)).unwrap();
    assert_eq!(read_committed(&mut world, 111), (401, 401, vec![(1, 100), (3, 300)]));
    assert_eq!(read_committed(&mut world, 201), (401, 401, vec![(3, 300)]));
    // The end of the third is lost, and it is open again.
    world.cluster.truncate("t", 0, 400, 1);
    assert_eq!(read_committed(&mut world, 201), (300, 201, vec![]));
    // Its first records are deleted: it is open from the log's start on.
    world.cluster.delete_records("t", 0, 305);
    assert_eq!(read_committed(&mut world, 305), (305, 305, vec![]));
    world.cluster.append_as_is("t", 0, end(3, false, 400)).unwrap();
    assert_eq!(read_committed(&mut world, 305), (401, 401, vec![(3, 300)]));
}

#[test]
fn a_reader_far_behind_is_told_of_the_aborted_transactions_near_it_only() {
    let mut world = World::new();
    for nth in 0..100 {
        let batch = Fake { producer: (nth, 0, 0), attributes: TRANSACTIONAL, ..Fake::plain(1) };
        world.cluster.append_as_is("t", 0, placed(&batch.build(), nth * 2)).unwrap();
        let marker = Marker { producer_id: nth, producer_epoch: 0, commits: false, coordinator_epoch: 0 };
        let mut end = marker.to_batch(5);
        end.place(nth * 2 + 1, 0);
        world.cluster.append_as_is("t", 0, end).unwrap();
    }
    let mut request = fetch_request(0).with_isolation_level(1);
    request.topics[0].partitions[0].partition_max_bytes = 1000;
    let response = world.call(1, 12, &request);
    let told = response.responses[0].partitions[0].aborted_transactions.as_ref().unwrap().len();
    assert!((5..30).contains(&told), "{told} aborted transactions");
}

#[test]
fn offsets_are_committed_with_the_transaction() {
    let mut world = World::new();
    let producer = Producer::start(&mut world, "a");
    let group = || GroupId(StrBytes::from_static_str("g"));
    let fetch = |world: &mut World, stable| {
        let topics = OffsetFetchRequestGroup::default().with_group_id(group()).with_topics(None);
        let topic = offset_fetch_request::OffsetFetchRequestTopics::default()
            .with_name(name("t"))
            .with_partition_indexes(vec![0]);
        let asked = topics.with_topics(Some(vec![topic]));
        let request = OffsetFetchRequest::default().with_require_stable(stable).with_groups(vec![asked]);
        let response = world.call(1, 9, &request);
        let partition = &response.groups[0].topics[0].partitions[0];
        (partition.error_code, partition.committed_offset)
    };
    let commit = |world: &mut World, offset| {
        let partition = TxnOffsetCommitRequestPartition::default().with_committed_offset(offset);
        let topic =
            TxnOffsetCommitRequestTopic::default().with_name(name("t")).with_partitions(vec![partition]);
        let request = TxnOffsetCommitRequest::default()
            .with_transactional_id(transactional_id("a"))
            .with_group_id(group())
            .with_producer_id(producer.id.into())
            .with_producer_epoch(producer.epoch)
            .with_generation_id(-1)
            .with_topics(vec![topic]);
        [3, 4].map(|version| world.call(1, version, &request).topics[0].partitions[0].error_code)
    };
    let add = |world: &mut World| {
        let request = AddOffsetsToTxnRequest::default()
            .with_transactional_id(transactional_id("a"))
            .with_producer_id(producer.id.into())
            .with_producer_epoch(producer.epoch)
            .with_group_id(group());
        world.call(1, 3, &request).error_code
    };
    let plain = OffsetCommitRequestPartition::default().with_committed_offset(1);
    let plain = OffsetCommitRequestTopic::default().with_name(name("t")).with_partitions(vec![plain]);
    let plain = OffsetCommitRequest::default()
        .with_group_id(group())
        .with_generation_id_or_member_epoch(-1)
        .with_topics(vec![plain]);
    world.call(1, 8, &plain);
    assert_eq!(commit(&mut world, 5), [48, 120], "the group is not in the transaction");
    for (offset, commits, then) in [(5, false, 1), (6, true, 6)] {
        assert_eq!(add(&mut world), 0);
        assert_eq!(commit(&mut world, offset), [0, 0]);
        assert_eq!((fetch(&mut world, false), fetch(&mut world, true)), ((0, 1), (88, -1)));
        assert_eq!(producer.end(&mut world, commits), 0);
        assert_eq!((fetch(&mut world, false), fetch(&mut world, true)), ((0, then), (0, then)));
    }
    let other = Producer { epoch: producer.epoch + 1, ..producer };
    assert_eq!(other.end(&mut world, true), 90);
}

#[test]
fn transactions_are_described_and_listed() {
    let mut world = World::new();
    let producer = Producer::start(&mut world, "a");
    Producer::start(&mut world, "b");
    producer.add(&mut world, &[1, 0]);
    world.pass_ms(10);
    let ids = vec![transactional_id("a"), transactional_id("unknown")];
    let response = world.call(1, 0, &DescribeTransactionsRequest::default().with_transactional_ids(ids));
    let [open, unknown] = &response.transaction_states[..] else { panic!("two were asked for") };
    assert_eq!((open.transaction_state.as_str(), open.transaction_start_time_ms), ("Ongoing", T0.wall_ms));
    assert_eq!((open.producer_id.0, open.topics[0].partitions.as_slice()), (producer.id, &[0, 1][..]));
    assert_eq!((unknown.error_code, unknown.transactional_id.as_str()), (105, "unknown"));
    let listed = |world: &mut World, request: ListTransactionsRequest| {
        let states = world.call(1, 1, &request).transaction_states;
        states.iter().map(|it| it.transactional_id.to_string()).collect::<Vec<_>>()
    };
    let all = ListTransactionsRequest::default().with_duration_filter(-1);
    assert_eq!(listed(&mut world, all.clone()), ["a", "b"]);
    let ongoing = all.clone().with_state_filters(vec![StrBytes::from_static_str("Ongoing")]);
    assert_eq!(listed(&mut world, ongoing.clone()), ["a"]);
    assert!(listed(&mut world, ongoing.with_duration_filter(11)).is_empty());
    let odd = all.with_state_filters(vec![StrBytes::from_static_str("Odd")]);
    assert_eq!(world.call(1, 1, &odd).unknown_state_filters.len(), 1);
}
