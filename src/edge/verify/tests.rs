//! Logs of a synthetic cluster, read through real sockets.

use super::reader::Reader;
use super::tap::Tap;
use crate::broker::topic_config::TopicConfig;
use crate::broker::{Injection, SyntheticCluster};
use crate::config::{Address, Cluster, Isolation};
use crate::control::reading::ASKED_BYTES_MAX;
use crate::control::verify::{Comparison, Halt, Held};
use crate::edge::admin::Admin;
use crate::edge::broker_task::{self, Server};
use crate::edge::client::Client;
use crate::edge::security::Access;
use crate::limits::BATCH_HEADER_BYTES;
use crate::wire::TopicKey;
use crate::wire::batch::{BatchHeader, seal};
use crate::wire::fetch::FetchPartition;
use bytes::Bytes;
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::ApiKey;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::ops::Range;
use std::thread;
use std::time::Duration;

const TOPIC: &str = "t";
const PATIENCE: Duration = Duration::from_secs(30);

/// A batch of so many records, which nobody opens.
fn batch(base_offset: i64, records: i32, payload_bytes: usize) -> ([u8; BATCH_HEADER_BYTES], Bytes) {
    let payload: Vec<u8> = (0..payload_bytes).map(|at| (at as i64 * 7 + base_offset) as u8).collect();
    let header = BatchHeader {
        base_offset,
        batch_bytes: BATCH_HEADER_BYTES + payload_bytes,
        leader_epoch: 0,
        magic: 2,
        crc: 0,
        attributes: 0,
        last_offset_delta: records - 1,
        base_timestamp_ms: 1,
        max_timestamp_ms: 1,
        producer_id: -1,
        producer_epoch: -1,
        base_sequence: -1,
        record_count: records,
    };
    let mut raw = header.to_raw();
    seal(&mut raw, &payload);
    (raw, payload.into())
}

/// A cluster whose one partition has a batch for each (records, bytes of payload).
fn served(batches: &[(i32, usize)]) -> (Server, Admin) {
    let brokers = (1..=2).map(|id| (id, Address { host: "127.0.0.1".to_owned(), port: 0 })).collect();
    let settings = SyntheticCluster { brokers, cut_batches: true, ..SyntheticCluster::default() };
    let server = broker_task::spawn(settings).unwrap();
    let mut config = TopicConfig::default();
    config.set("max.message.bytes", "10000000").unwrap();
    server.cluster().with(|cluster, _| cluster.add_topic(TOPIC, 1, 1, config));
    let mut base_offset = 0;
    for &(records, payload_bytes) in batches {
        let (mut raw, payload) = batch(base_offset, records, payload_bytes);
        // As producers send it: the broker says where it stands.
        raw[..8].fill(0);
        server.cluster().append(TOPIC, 0, &raw, payload).unwrap();
        base_offset += i64::from(records);
    }
    let admin = Admin::new(&Cluster::from(server.bootstrap()), "test", PATIENCE);
    (server, admin)
}

fn next(reader: &mut Reader, admin: &mut Admin) -> Option<Held> {
    while !reader.is_done() {
        if let Some(held) = reader.next(admin).unwrap() {
            return Some(held);
        }
    }
    None
}

fn offsets(reader: &mut Reader, admin: &mut Admin) -> Vec<i64> {
    std::iter::from_fn(|| next(reader, admin).map(|held| held.header.base_offset)).collect()
}

fn reader(range: Range<i64>, deep: bool) -> Reader {
    Reader::for_comparison(TOPIC, 0, range, deep, ASKED_BYTES_MAX)
}

/// Sizes on both sides of every limit: small ones, one beyond an answer, one beyond the scratch.
fn sizes() -> Vec<(i32, usize)> {
    let mut sizes = Vec::new();
    for round in 0..40 {
        sizes.extend([(1, 9), (5, 300 + round), (2, 15_000), (10, 17_000 + round), (100, 130_000)]);
    }
    sizes.extend([(1, 9_000_000), (3, 1_500_000), (1, 1)]);
    sizes
}

fn base_offsets(sizes: &[(i32, usize)]) -> Vec<i64> {
    let next = |at: &mut i64, &(records, _): &(i32, usize)| {
        *at += i64::from(records);
        Some(*at - i64::from(records))
    };
    sizes.iter().scan(0, next).collect()
}

#[test]
fn every_batch_is_read_once_whether_payloads_are_kept_or_dropped() {
    let sizes = sizes();
    let (server, mut admin) = served(&sizes);
    let end = sizes.iter().map(|(records, _)| i64::from(*records)).sum();
    for deep in [false, true] {
        let mut reader = reader(0..end, deep);
        assert_eq!(offsets(&mut reader, &mut admin), base_offsets(&sizes), "deep: {deep}");
        let bytes = sizes.iter().map(|(_, bytes)| (bytes + BATCH_HEADER_BYTES) as u64).sum::<u64>();
        assert!(reader.take_bytes() >= bytes);
        reader.close(&mut admin);
    }
    server.stop().unwrap();
}

#[test]
fn a_range_begins_and_ends_inside_of_batches() {
    let (server, mut admin) = served(&[(10, 100), (10, 100_000), (10, 100), (10, 200_000)]);
    let mut reader = reader(15..21, false);
    assert_eq!(offsets(&mut reader, &mut admin), [10, 20]);
    reader.close(&mut admin);
    // The connection is fit for the next one.
    assert_eq!(offsets(&mut self::reader(39..40, false), &mut admin), [30]);
    server.stop().unwrap();
}

#[test]
fn what_was_missed_is_read_again_with_its_payload() {
    let sizes = vec![(2, 120_000); 60];
    let (server, mut admin) = served(&sizes);
    let mut reader = reader(0..120, false);
    let seen: Vec<i64> =
        (0..30).filter_map(|_| next(&mut reader, &mut admin)).map(|held| held.header.base_offset).collect();
    assert_eq!(seen.last(), Some(&58));
    reader.handle_missed(Some(40));
    let mut comparison = Comparison::new(&Some, true, false, 0..120);
    for base_offset in (40..120).step_by(2) {
        let (raw, payload) = batch(base_offset, 2, 120_000);
        comparison.push_source(next(&mut reader, &mut admin).unwrap());
        comparison.push_target(Held::new(BatchHeader::parse(&raw).unwrap(), raw, Some(payload)));
        assert_eq!(comparison.step(), Ok(()), "at {base_offset}");
    }
    assert!(next(&mut reader, &mut admin).is_none());
    assert_eq!(comparison.tally.batches, 40);
    server.stop().unwrap();
}

#[test]
fn payloads_that_nobody_asked_for_are_not_kept() {
    let (server, mut admin) = served(&[(2, 120_000), (2, 12)]);
    let mut reader = reader(0..4, false);
    let mut comparison = Comparison::new(&Some, true, false, 0..4);
    for _ in 0..2 {
        let held = next(&mut reader, &mut admin).unwrap();
        comparison.push_source(held.clone());
        comparison.push_target(held);
    }
    assert_eq!(comparison.step(), Err(Halt::Unseen));
    assert_eq!(comparison.forget_unseen(), (Some(0), Some(0)));
    server.stop().unwrap();
}

#[test]
fn errors_that_pass_are_waited_for_and_others_are_told() {
    let (server, mut admin) = served(&[(2, 120_000), (2, 120_000)]);
    let fault = |error, times| {
        let (api, topic) = (ApiKey::Fetch, Some(TOPIC.to_owned()));
        let injection =
            Injection { api, node: None, topic, partition: None, error, applied: false, after: 0, times };
        server.cluster().with(|cluster, _| cluster.inject(injection));
    };
    fault(ResponseError::NotLeaderOrFollower, 2);
    assert_eq!(offsets(&mut reader(0..4, false), &mut admin), [0, 2]);
    fault(ResponseError::OffsetOutOfRange, 1);
    let told = reader(0..4, false).next(&mut admin).unwrap_err();
    assert!(told.contains("OFFSET_OUT_OF_RANGE"), "{told}");
    server.stop().unwrap();
}

/// A broker that knows no API but Fetch, answers the first request for one with these bytes, and is gone.
fn fetch_answered_with(answer: Vec<u8>) -> Tap {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address: Address = listener.local_addr().unwrap().into();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = [0; 4096];
        let _ = stream.read(&mut request);
        // ApiVersions v3: no error, one API, no throttling.
        let _ = stream.write_all(&[0, 0, 0, 19, 0, 0, 0, 0, 0, 0, 2, 0, 1, 0, 4, 0, 12, 0, 0, 0, 0, 0, 0]);
        let _ = stream.read(&mut request);
        let _ = stream.write_all(&answer);
    });
    Tap::new(Client::connect(&address, &Access::open(), "test", PATIENCE).unwrap()).unwrap()
}

fn complaint(answer: Vec<u8>) -> String {
    let mut tap = fetch_answered_with(answer);
    let topic = TopicKey::Name(Bytes::from_static(TOPIC.as_bytes()));
    let partition = FetchPartition {
        topic,
        partition: 0,
        current_leader_epoch: -1,
        fetch_offset: 0,
        last_fetched_epoch: -1,
        log_start_offset: -1,
        partition_max_bytes: 1,
    };
    tap.ask(partition, Isolation::ReadCommitted).unwrap();
    let drained = tap.drain();
    assert!(tap.into_client().is_none(), "an answer is still missing");
    drained.unwrap_err().to_string()
}

#[test]
fn answers_that_are_none_end_the_connection() {
    assert!(complaint(vec![0, 0, 0, 5, 0, 0, 0, 9, 0]).contains("answered request 9 instead of 1"));
    assert!(complaint(vec![0x7f, 0, 0, 0]).contains("does not answer as a Kafka broker"));
    assert!(complaint(vec![0, 0, 0, 9, 0, 0]).contains("closed the connection"));
    // More topics than there are bytes left.
    let lengths = [0, 0, 0, 16, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x7f];
    assert!(complaint(lengths.to_vec()).contains("a length goes beyond the end"));
}
