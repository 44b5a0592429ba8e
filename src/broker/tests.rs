//! Behaviour seen from outside: requests by kafka-protocol, answers read by kafka-protocol.

mod admin;
mod groups;
mod markers;
mod racks;
mod transactions;
mod versions;

use super::topic_config::TopicConfig;
use super::*;
use bytes::{BufMut, BytesMut};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic, ForgottenTopic};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::*;
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Request as ApiRequest, StrBytes};

const T0: Now = Now { mono_us: 1_000_000, wall_ms: 1_700_000_000_000 };

/// One client of a cluster, and the time.
pub(super) struct World {
    pub cluster: Cluster,
    pub now: Now,
}

impl World {
    pub fn new() -> Self {
        Self::with(SyntheticCluster::default())
    }

    pub fn with(settings: SyntheticCluster) -> Self {
        let topics = vec![("t".to_owned(), 2)];
        Self { cluster: Cluster::new(SyntheticCluster { topics, ..settings }), now: T0 }
    }

    pub fn brokers(count: i32) -> Self {
        let brokers = (1..=count)
            .map(|id| (id, Address { host: "127.0.0.1".to_owned(), port: 9000 + id as u16 }))
            .collect();
        Self::with(SyntheticCluster { brokers, replication_factor: 2, ..SyntheticCluster::default() })
    }

    pub fn send<R: ApiRequest>(&mut self, node: i32, version: i16, body: &R) -> Reply {
        let frame = frame(R::KEY, version, body);
        self.cluster.handle_request(self.now, node, frame)
    }

    /// A request that is answered at once.
    pub fn call<R: ApiRequest>(&mut self, node: i32, version: i16, body: &R) -> R::Response
    where
        R::Response: Decodable + HeaderVersion,
    {
        match self.send(node, version, body) {
            Reply::Now(response) => parse::<R>(&response, version),
            other => panic!("no answer at once: {other:?}"),
        }
    }

    /// The answer to a ticket, if it has come.
    pub fn poll<R: ApiRequest>(&mut self, version: i16) -> Option<(Ticket, R::Response)>
    where
        R::Response: Decodable + HeaderVersion,
    {
        let (ticket, response) = self.cluster.poll(self.now)?;
        Some((ticket, parse::<R>(&response, version)))
    }

    pub fn pass_ms(&mut self, ms: u64) {
        self.now.mono_us += ms * 1000;
        self.now.wall_ms += ms as i64;
    }

    /// (error, base offset) of one batch to t-0.
    pub fn produce(&mut self, batch: Bytes) -> (i16, i64) {
        let response = self.call(1, 9, &produce_request(-1, batch));
        let answer = &response.responses[0].partition_responses[0];
        (answer.error_code, answer.base_offset)
    }

    pub fn list(&mut self, node: i32, epoch: i32, timestamp: i64) -> (i16, i64) {
        let partition =
            ListOffsetsPartition::default().with_current_leader_epoch(epoch).with_timestamp(timestamp);
        let topic = ListOffsetsTopic::default().with_name(name("t")).with_partitions(vec![partition]);
        let response = self.call(node, 7, &ListOffsetsRequest::default().with_topics(vec![topic]));
        (response.topics[0].partitions[0].error_code, response.topics[0].partitions[0].offset)
    }
}

fn frame<R: ApiRequest>(key: i16, version: i16, body: &R) -> Bytes {
    let header = RequestHeader::default()
        .with_request_api_key(key)
        .with_request_api_version(version)
        .with_correlation_id(77)
        .with_client_id(Some(StrBytes::from_static_str("test")));
    let mut frame = BytesMut::new();
    header.encode(&mut frame, R::header_version(version)).unwrap();
    body.encode(&mut frame, version).unwrap();
    frame.freeze()
}

fn parse<R: ApiRequest>(response: &Response, version: i16) -> R::Response
where
    R::Response: Decodable + HeaderVersion,
{
    let mut bytes = response.to_bytes();
    assert_eq!(bytes.split_to(4)[..], (bytes.len() as u32).to_be_bytes());
    let header = ResponseHeader::decode(&mut bytes, R::Response::header_version(version)).unwrap();
    assert_eq!(header.correlation_id, 77);
    let body = R::Response::decode(&mut bytes, version).unwrap();
    assert!(bytes.is_empty(), "bytes left over");
    body
}

pub(super) fn name(of: &'static str) -> TopicName {
    StrBytes::from_static_str(of).into()
}

/// A batch that never was: `count` records in `payload_bytes` bytes that nobody can decode.
#[derive(Clone, Copy)]
pub(super) struct Fake {
    pub count: i32,
    pub producer: (i64, i16, i32),
    pub max_timestamp: i64,
    pub attributes: i16,
    pub payload_bytes: usize,
}

impl Fake {
    pub const fn plain(count: i32) -> Self {
        Self { count, producer: (-1, -1, -1), max_timestamp: T0.wall_ms, attributes: 0, payload_bytes: 100 }
    }

    pub const fn sequenced(sequence: i32, count: i32) -> Self {
        Self { producer: (7, 0, sequence), ..Self::plain(count) }
    }

    pub fn build(self) -> Bytes {
        let mut covered = BytesMut::new();
        covered.put_i16(self.attributes);
        covered.put_i32(self.count - 1);
        covered.put_i64(self.max_timestamp);
        covered.put_i64(self.max_timestamp);
        covered.put_i64(self.producer.0);
        covered.put_i16(self.producer.1);
        covered.put_i32(self.producer.2);
        covered.put_i32(self.count);
        covered.put_bytes(b'x', self.payload_bytes);
        let mut batch = BytesMut::new();
        batch.put_i64(0);
        batch.put_i32(covered.len() as i32 + 9);
        batch.put_i32(-1);
        batch.put_u8(2);
        batch.put_u32(crc32c::crc32c(&covered));
        batch.put_slice(&covered);
        batch.freeze()
    }
}

fn produce_request(acks: i16, batch: Bytes) -> ProduceRequest {
    let partition = PartitionProduceData::default().with_records(Some(batch));
    let topic = TopicProduceData::default().with_name(name("t")).with_partition_data(vec![partition]);
    ProduceRequest::default().with_acks(acks).with_timeout_ms(1000).with_topic_data(vec![topic])
}

fn fetch_request(offset: i64) -> FetchRequest {
    let partition = FetchPartition::default().with_fetch_offset(offset).with_partition_max_bytes(1 << 20);
    let topic = FetchTopic::default().with_topic(name("t")).with_partitions(vec![partition]);
    FetchRequest::default().with_max_bytes(1 << 20).with_session_epoch(-1).with_topics(vec![topic])
}

fn records_of(response: &FetchResponse) -> Bytes {
    response.responses[0].partitions[0].records.clone().unwrap_or_default()
}

/// As real brokers answer it.
#[test]
fn an_idempotent_producer_is_held_to_its_sequence() {
    let mut world = World::new();
    let table = [
        (Fake::sequenced(1000, 10), (0, 0)),
        (Fake::sequenced(1010, 5), (0, 10)),
        (Fake::sequenced(1010, 5), (0, 10)),
        (Fake::sequenced(1020, 1), (45, -1)),
        (Fake::sequenced(1015, 1), (0, 15)),
        (Fake::sequenced(1015, 1), (0, 15)),
        (Fake::sequenced(1015, 3), (45, -1)),
    ];
    for (at, (batch, expected)) in table.into_iter().enumerate() {
        assert_eq!(world.produce(batch.build()), expected, "step {at}");
    }
    for at in 0..8 {
        assert_eq!(world.produce(Fake::sequenced(1016 + at, 1).build()).0, 0);
    }
    assert_eq!(world.produce(Fake::sequenced(1010, 5).build()), (45, -1), "beyond the five remembered");
    assert_eq!(world.list(1, -1, -1), (0, 24));
    let topic = describe_producers_request::TopicRequest::default()
        .with_name(name("t"))
        .with_partition_indexes(vec![0]);
    let response = world.call(1, 0, &DescribeProducersRequest::default().with_topics(vec![topic]));
    let producer = &response.topics[0].partitions[0].active_producers[0];
    assert_eq!((producer.producer_id.0, producer.last_sequence), (7, 1023));
}

#[test]
fn sequences_wrap_and_epochs_fence() {
    let mut world = World::new();
    assert_eq!(world.produce(Fake::sequenced(i32::MAX - 2, 10).build()).0, 0);
    assert_eq!(world.produce(Fake::sequenced(7, 1).build()).0, 0);
    let newer = |sequence| Fake { producer: (7, 1, sequence), ..Fake::plain(1) };
    assert_eq!(world.produce(newer(8).build()).0, 45, "a new epoch begins at 0");
    assert_eq!(world.produce(newer(0).build()).0, 0);
    assert_eq!(world.produce(Fake::sequenced(8, 1).build()).0, 47, "the old epoch is fenced");
    assert_eq!(world.produce(Fake { producer: (7, 1, -1), ..Fake::plain(1) }.build()).0, 87);
}

#[test]
fn producers_are_forgotten_by_the_age_of_their_records() {
    let mut world = World::new();
    let old = Fake { max_timestamp: T0.wall_ms - 86_400_000, ..Fake::sequenced(0, 10) };
    assert_eq!(world.produce(old.build()).0, 0);
    assert_eq!(world.produce(Fake { producer: (8, 0, 0), ..Fake::plain(1) }.build()).0, 0);
    assert_eq!(world.produce(Fake::sequenced(20, 1).build()).0, 45);
    world.cluster.expire_producers(world.now);
    assert_eq!(world.produce(Fake::sequenced(20, 1).build()).0, 0, "unknown again: any sequence");
    assert_eq!(world.produce(Fake { producer: (8, 0, 5), ..Fake::plain(1) }.build()).0, 45);
}

#[test]
fn a_restart_keeps_one_batch_of_each_producer_and_nothing_of_an_empty_log() {
    let mut world = World::new();
    world.produce(Fake::sequenced(0, 1).build());
    world.produce(Fake::sequenced(1, 1).build());
    world.cluster.restart_node(world.now, 1);
    assert_eq!(world.list(1, 0, -1).0, 74, "a new leader epoch");
    assert_eq!(world.produce(Fake::sequenced(1, 1).build()), (0, 1));
    assert_eq!(world.produce(Fake::sequenced(0, 1).build()), (45, -1));
    assert_eq!(world.cluster.delete_records("t", 0, i64::MAX), Some(2));
    world.cluster.restart_node(world.now, 1);
    assert_eq!(world.produce(Fake::sequenced(9, 1).build()), (0, 2));
}

#[test]
fn bad_batches_are_refused() {
    let mut world = World::new();
    let good = Fake::plain(3).build();
    let changed = |at: usize, to: u8| {
        let mut batch = BytesMut::from(&good[..]);
        batch[at] = to;
        batch.freeze()
    };
    let two = Bytes::from([&good[..], &good[..]].concat());
    let table = [
        ("no batch", Bytes::new(), 87),
        ("two batches", two, 87),
        ("cut off", good.slice(..good.len() - 1), 2),
        ("damaged", changed(70, b'y'), 2),
        ("base offset", changed(7, 1), 87),
        ("old magic", changed(16, 1), 87),
        ("a negative length", changed(8, 0x80), 2),
        ("control", Fake { attributes: 1 << 5, ..Fake::plain(1) }.build(), 87),
        ("transactional", Fake { attributes: 1 << 4, ..Fake::plain(1) }.build(), 48),
        ("append time", Fake { attributes: 1 << 3, ..Fake::plain(1) }.build(), 32),
        ("empty", Fake::plain(0).build(), 87),
        ("future", Fake { max_timestamp: T0.wall_ms + 3_600_001, ..Fake::plain(1) }.build(), 32),
        ("large", Fake { payload_bytes: 1_048_589, ..Fake::plain(1) }.build(), 10),
    ];
    for (what, batch, error) in table {
        assert_eq!(world.produce(batch), (error, -1), "{what}");
    }
    assert_eq!(world.produce(good), (0, 0));
}

#[test]
fn append_time_is_stamped_and_the_checksum_follows() {
    let mut world = World::new();
    let mut config = TopicConfig::default();
    config.set("message.timestamp.type", "LogAppendTime").unwrap();
    world.cluster.topics.get_mut(0).unwrap().config = config;
    world.produce(Fake { max_timestamp: 5, ..Fake::plain(1) }.build());
    let mut seen = 0;
    let mut each = |batch: &Batch| {
        assert_eq!((batch.is_intact(), batch.max_timestamp()), (true, T0.wall_ms));
        seen += 1;
    };
    world.cluster.read("t", 0, 0, 1000, &mut each).unwrap();
    assert_eq!(seen, 1);
}

#[test]
fn fetched_batches_are_the_stored_ones_with_offset_and_epoch() {
    for version in 4..=13 {
        let mut world = World::new();
        let batches = [Fake::plain(2), Fake { payload_bytes: 5000, ..Fake::plain(3) }].map(Fake::build);
        batches.iter().for_each(|batch| assert_eq!(world.produce(batch.clone()).0, 0));
        let mut request = fetch_request(1);
        if version == 13 {
            request.topics[0].topic_id = world.cluster.topics.get(0).unwrap().id;
        }
        let response = world.call(1, version, &request);
        let records = records_of(&response);
        assert_eq!(records.len(), batches[0].len() + batches[1].len());
        let second = &records[batches[0].len()..];
        assert_eq!(second[16..], batches[1][16..], "version {version}");
        assert_eq!(second[..8], 2_i64.to_be_bytes());
        assert_eq!(second[12..16], 0_i32.to_be_bytes());
        assert_eq!(response.responses[0].partitions[0].high_watermark, 5);
    }
}

#[test]
fn the_first_batch_comes_whole_and_a_later_one_may_be_cut() {
    let mut world = World::new();
    let batch = Fake { payload_bytes: 2000, ..Fake::plain(1) }.build();
    (0..3).for_each(|_| assert_eq!(world.produce(batch.clone()).0, 0));
    let mut request = fetch_request(0);
    request.max_bytes = 100;
    assert_eq!(records_of(&world.call(1, 12, &request)).len(), batch.len());
    request.max_bytes = batch.len() as i32 * 2 + 40;
    assert_eq!(records_of(&world.call(1, 12, &request)).len(), batch.len() * 2 + 40);
    world.cluster.settings.cut_batches = false;
    assert_eq!(records_of(&world.call(1, 12, &request)).len(), batch.len() * 2);
}

#[test]
fn offsets_out_of_range_and_wrong_leaders_are_told() {
    let mut world = World::brokers(3);
    world.produce(Fake::plain(5).build());
    let error = |world: &mut World, node, offset, epoch| {
        let mut request = fetch_request(offset);
        request.topics[0].partitions[0].current_leader_epoch = epoch;
        let response = world.call(node, 12, &request);
        response.responses[0].partitions[0].error_code
    };
    assert_eq!(error(&mut world, 1, 5, 0), 0);
    assert_eq!(error(&mut world, 1, 6, 0), 1);
    world.cluster.delete_records("t", 0, 3);
    assert_eq!(error(&mut world, 1, 2, 0), 1);
    assert_eq!(error(&mut world, 1, 3, 1), 75);
    assert_eq!(error(&mut world, 3, 3, 0), 6, "it has no replica");
    world.cluster.move_leader("t", 0, 2);
    assert_eq!(error(&mut world, 2, 3, 0), 74);
    let response = world.call(3, 12, &fetch_request(3));
    let leader = &response.responses[0].partitions[0].current_leader;
    assert_eq!((leader.leader_id.0, leader.leader_epoch), (2, 1));
    assert_eq!(world.produce(Fake::plain(1).build()), (6, -1));
}

#[test]
fn a_fetch_waits_for_data_and_for_its_time() {
    let mut world = World::new();
    let request = fetch_request(0).with_min_bytes(1).with_max_wait_ms(500);
    let Reply::Later(ticket) = world.send(1, 12, &request) else { panic!("answered at once") };
    assert!(world.poll::<FetchRequest>(12).is_none());
    assert_eq!(world.cluster.poll_timeout(), Some(T0.mono_us + 500_000));
    world.produce(Fake::plain(1).build());
    let (answered, response) = world.poll::<FetchRequest>(12).unwrap();
    assert_eq!((answered, records_of(&response).len()), (ticket, 161));

    let late = fetch_request(1).with_min_bytes(1).with_max_wait_ms(500);
    let Reply::Later(_) = world.send(1, 12, &late) else { panic!("answered at once") };
    world.pass_ms(499);
    assert!(world.poll::<FetchRequest>(12).is_none());
    world.pass_ms(1);
    assert_eq!(records_of(&world.poll::<FetchRequest>(12).unwrap().1).len(), 0);
    assert_eq!(world.cluster.poll_timeout(), None);

    let Reply::Later(ticket) = world.send(1, 12, &late) else { panic!("answered at once") };
    world.cluster.cancel(ticket);
    world.produce(Fake::plain(1).build());
    assert!(world.poll::<FetchRequest>(12).is_none());
}

#[test]
fn a_session_tells_only_what_changed() {
    let mut world = World::new();
    let mut request = fetch_request(0).with_session_epoch(0);
    request.topics[0]
        .partitions
        .push(FetchPartition::default().with_partition(1).with_partition_max_bytes(1000));
    let full = world.call(1, 12, &request);
    assert_eq!(full.responses[0].partitions.len(), 2);
    let next = |id, epoch| {
        FetchRequest::default().with_max_bytes(1 << 20).with_session_id(id).with_session_epoch(epoch)
    };
    let id = full.session_id;
    assert_eq!(world.call(1, 12, &next(id, 1)).responses.len(), 0);
    world.produce(Fake::plain(1).build());
    let news = world.call(1, 12, &next(id, 2));
    assert_eq!(news.responses[0].partitions.len(), 1);
    assert_eq!(records_of(&news).len(), 161);
    let forget = ForgottenTopic::default().with_topic(name("t")).with_partitions(vec![0]);
    let forgot = next(id, 3).with_forgotten_topics_data(vec![forget]);
    assert_eq!(world.call(1, 12, &forgot).responses.len(), 0);
    assert_eq!(world.call(1, 12, &next(id, 3)).error_code, 71);
    assert_eq!(world.call(1, 12, &next(id + 1, 1)).error_code, 70);
    let close = next(id, -1);
    world.call(1, 12, &close);
    assert_eq!(world.call(1, 12, &next(id, 4)).error_code, 70);
}

#[test]
fn a_truncated_log_tells_a_reader_where_it_diverges() {
    let mut world = World::brokers(2);
    world.produce(Fake::sequenced(0, 5).build());
    world.cluster.move_leader("t", 0, 2);
    world.cluster.move_leader("t", 0, 1);
    world.produce(Fake::sequenced(5, 5).build());
    assert_eq!(world.list(1, 2, -1), (0, 10));
    world.cluster.truncate("t", 0, 7, 1);
    assert_eq!(world.list(1, 3, -1), (0, 5));
    let mut request = fetch_request(10);
    request.topics[0].partitions[0].last_fetched_epoch = 2;
    let response = world.call(1, 12, &request);
    let diverging = &response.responses[0].partitions[0].diverging_epoch;
    assert_eq!((diverging.epoch, diverging.end_offset), (0, 5));
    assert_eq!(world.produce(Fake::sequenced(5, 1).build()), (0, 5), "the state went back too");
}

#[test]
fn acks_all_waits_for_the_high_watermark() {
    let mut world = World::new();
    world.cluster.hold_high_watermark("t", 0, true);
    let request = produce_request(-1, Fake::sequenced(0, 5).build());
    let Reply::Later(_) = world.send(1, 9, &request) else { panic!("answered at once") };
    assert_eq!(world.list(1, -1, -1), (0, 0));
    world.cluster.advance_high_watermark("t", 0, 4);
    assert!(world.poll::<ProduceRequest>(9).is_none());
    world.cluster.advance_high_watermark("t", 0, 5);
    let (_, response) = world.poll::<ProduceRequest>(9).unwrap();
    let answer = &response.responses[0].partition_responses[0];
    assert_eq!((answer.error_code, answer.base_offset), (0, 0));

    let request = produce_request(-1, Fake::sequenced(5, 1).build());
    let Reply::Later(_) = world.send(1, 9, &request) else { panic!("answered at once") };
    world.pass_ms(1000);
    let (_, response) = world.poll::<ProduceRequest>(9).unwrap();
    assert_eq!(response.responses[0].partition_responses[0].error_code, 7);
    let leader_only = produce_request(1, Fake::sequenced(6, 1).build());
    assert_eq!(world.call(1, 9, &leader_only).responses[0].partition_responses[0].error_code, 0);
}

#[test]
fn injected_errors_come_as_often_as_asked_before_or_after_the_work() {
    let mut world = World::new();
    let mut injection = Injection {
        api: ApiKey::Produce,
        node: None,
        topic: Some("t".to_owned()),
        partition: Some(0),
        error: ResponseError::NotEnoughReplicas,
        applied: false,
        after: 0,
        times: 2,
    };
    world.cluster.inject(injection.clone());
    assert_eq!(world.produce(Fake::plain(1).build()), (19, -1));
    assert_eq!(world.produce(Fake::plain(1).build()), (19, -1));
    assert_eq!(world.produce(Fake::plain(1).build()), (0, 0));
    injection.error = ResponseError::NotEnoughReplicasAfterAppend;
    (injection.applied, injection.times) = (true, 1);
    world.cluster.inject(injection);
    assert_eq!(world.produce(Fake::plain(1).build()), (20, -1));
    assert_eq!(world.list(1, -1, -1), (0, 2));
}

#[test]
fn memory_stays_within_its_budget_and_compacted_topics_keep_their_records() {
    let mut world = World::with(SyntheticCluster { retention_bytes: 10_000, ..SyntheticCluster::default() });
    let mut config = TopicConfig::default();
    config.set("cleanup.policy", "compact").unwrap();
    world.cluster.add_topic("kept", 1, 1, config);
    let kept = Batch::from_records(&Fake::plain(1).build()).unwrap();
    world.cluster.append(world.now, "kept", 0, kept.header(), kept.payload.clone()).unwrap();
    let batch = Fake { payload_bytes: 900, ..Fake::plain(1) }.build();
    for expected in 0..100 {
        assert_eq!(world.produce(batch.clone()), (0, expected));
        assert!(world.cluster.stored_bytes <= 10_000);
    }
    let (_, start) = world.list(1, -1, -2);
    assert!((85..99).contains(&start), "log start {start}");
    assert_eq!(world.cluster.partition("kept", 0).unwrap().log.log_start_offset(), 0);
}

#[test]
fn a_recreated_topic_is_empty_and_has_another_id() {
    let mut world = World::new();
    world.produce(Fake::plain(1).build());
    let before = world.cluster.topics.get(0).unwrap().id;
    let after = world.cluster.recreate_topic("t").unwrap();
    assert_ne!(before, after);
    assert_eq!(world.list(1, -1, -1), (0, 0));
    let mut request = fetch_request(0);
    request.topics[0].topic_id = before;
    assert_eq!(world.call(1, 13, &request).responses[0].partitions[0].error_code, 100);
}

#[test]
fn a_transactional_id_keeps_its_producer_id_and_moves_its_epoch() {
    let mut world = World::new();
    let init = |id: Option<&'static str>| {
        InitProducerIdRequest::default()
            .with_transactional_id(id.map(|id| StrBytes::from_static_str(id).into()))
            .with_transaction_timeout_ms(60_000)
            .with_producer_id((-1).into())
            .with_producer_epoch(-1)
    };
    let first = world.call(1, 4, &init(Some("lock")));
    let second = world.call(1, 4, &init(Some("lock")));
    assert_eq!(first.producer_id, second.producer_id);
    assert_eq!((first.producer_epoch, second.producer_epoch), (0, 1));
    let third = world.call(1, 4, &init(None));
    assert_ne!(third.producer_id, first.producer_id);
    world.call(1, 4, &init(Some("lock")));
    let stale = init(Some("lock")).with_producer_id(first.producer_id).with_producer_epoch(0);
    assert_eq!(world.call(1, 4, &stale).error_code, 90);
}

#[test]
fn an_older_cluster_is_played_by_bounding_versions() {
    let max_versions = vec![(1, 11), (61, -1)];
    let mut world = World::with(SyntheticCluster { max_versions, ..SyntheticCluster::default() });
    let response = world.call(1, 3, &ApiVersionsRequest::default());
    let fetch = response.api_keys.iter().find(|api| api.api_key == 1).unwrap();
    assert_eq!((fetch.min_version, fetch.max_version), (4, 11));
    assert!(!response.api_keys.iter().any(|api| api.api_key == 61));
    assert!(matches!(world.send(1, 12, &fetch_request(0)), Reply::Close));
    let unknown = frame(18, 3, &ApiVersionsRequest::default());
    let mut unknown = BytesMut::from(&unknown[..]);
    unknown[3] = 99;
    let Reply::Now(response) = world.cluster.handle_request(T0, 1, unknown.freeze()) else {
        panic!("no answer")
    };
    assert_eq!(parse::<ApiVersionsRequest>(&response, 0).error_code, 35);
}

#[test]
fn damaged_requests_close_the_connection_and_nothing_else() {
    let mut world = World::new();
    let whole = frame(0, 9, &produce_request(-1, Fake::plain(1).build()));
    for length in 0..whole.len() {
        assert!(matches!(world.cluster.handle_request(T0, 1, whole.slice(..length)), Reply::Close));
    }
    world.cluster.node_down(1);
    assert!(matches!(world.cluster.handle_request(T0, 1, whole), Reply::Close));
}

#[test]
fn a_deposed_leader_may_describe_producers_as_they_were() {
    let mut world = World::brokers(2);
    world.produce(Fake::sequenced(0, 5).build());
    world.cluster.freeze_producers("t", 0, 1);
    world.cluster.move_leader("t", 0, 2);
    let batch = Batch::from_records(&Fake::sequenced(5, 5).build()).unwrap();
    world.cluster.append(world.now, "t", 0, batch.header(), batch.payload.clone()).unwrap();
    let topic = describe_producers_request::TopicRequest::default()
        .with_name(name("t"))
        .with_partition_indexes(vec![0]);
    let request = DescribeProducersRequest::default().with_topics(vec![topic]);
    let last = |response: DescribeProducersResponse| {
        let partition = &response.topics[0].partitions[0];
        (partition.error_code, partition.active_producers[0].last_sequence)
    };
    assert_eq!(last(world.call(1, 0, &request)), (0, 4));
    assert_eq!(last(world.call(2, 0, &request)), (0, 9));
}
