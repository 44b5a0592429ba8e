//! The served cluster through real sockets.

use super::*;
use bytes::{BufMut, BytesMut};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::{ApiVersionsRequest, FetchRequest, RequestHeader, TopicName};
use kafka_protocol::protocol::{Encodable, Request, StrBytes};
use std::io::{Read, Write};
use std::net::TcpStream;

fn served() -> (Server, TcpStream) {
    let brokers = vec![(1, Address { host: "127.0.0.1".to_owned(), port: 0 })];
    let topics = vec![("t".to_owned(), 1)];
    let server = spawn(SyntheticCluster { brokers, topics, ..SyntheticCluster::default() }).unwrap();
    let address = server.bootstrap()[0].clone();
    let socket = TcpStream::connect((address.host.as_str(), address.port)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    (server, socket)
}

fn framed<R: Request>(version: i16, correlation_id: i32, body: &R) -> Vec<u8> {
    let header = RequestHeader::default()
        .with_request_api_key(R::KEY)
        .with_request_api_version(version)
        .with_correlation_id(correlation_id);
    let mut frame = BytesMut::new();
    header.encode(&mut frame, R::header_version(version)).unwrap();
    body.encode(&mut frame, version).unwrap();
    let mut whole = (frame.len() as u32).to_be_bytes().to_vec();
    whole.extend_from_slice(&frame);
    whole
}

/// A whole answer without its size prefix.
fn answer(socket: &mut TcpStream) -> Vec<u8> {
    let mut size = [0; 4];
    socket.read_exact(&mut size).unwrap();
    let mut body = vec![0; u32::from_be_bytes(size) as usize];
    socket.read_exact(&mut body).unwrap();
    body
}

/// A Produce request (version 3) of one batch, written by hand: nothing here checks what it says.
fn produce(correlation_id: i32, payload_bytes: usize) -> Vec<u8> {
    let mut covered = BytesMut::new();
    covered.put_slice(&[0; 6]);
    covered.put_slice(&[0xff; 16]);
    covered.put_slice(&[0xff; 14]);
    covered.put_i32(1);
    covered.put_bytes(7, payload_bytes);
    let mut batch = BytesMut::new();
    batch.put_i64(0);
    batch.put_i32(covered.len() as i32 + 9);
    batch.put_i32(-1);
    batch.put_u8(2);
    batch.put_u32(crc32c::crc32c(&covered));
    batch.put_slice(&covered);
    let mut frame = BytesMut::new();
    frame.put_slice(&[0, 0, 0, 3]);
    frame.put_i32(correlation_id);
    frame.put_slice(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
    frame.put_slice(&[0, 0, 3, 0xe8]);
    frame.put_slice(&[0, 0, 0, 1, 0, 1, b't', 0, 0, 0, 1, 0, 0, 0, 0]);
    frame.put_i32(batch.len() as i32);
    frame.put_slice(&batch);
    let mut whole = (frame.len() as u32).to_be_bytes().to_vec();
    whole.extend_from_slice(&frame);
    whole
}

fn fetch(correlation_id: i32, offset: i64, max_wait_ms: i32) -> Vec<u8> {
    let partition = FetchPartition::default().with_fetch_offset(offset).with_partition_max_bytes(1 << 30);
    let topic = FetchTopic::default()
        .with_topic(TopicName(StrBytes::from_static_str("t")))
        .with_partitions(vec![partition]);
    let request = FetchRequest::default()
        .with_max_bytes(1 << 30)
        .with_min_bytes(1)
        .with_max_wait_ms(max_wait_ms)
        .with_topics(vec![topic]);
    framed(4, correlation_id, &request)
}

#[test]
fn pipelined_requests_of_all_sizes_are_answered_in_order_however_they_are_cut() {
    let (server, mut socket) = served();
    let sizes = [10, 900_000, 16_300, 20_000, 0, 1_000_000];
    let mut input = Vec::new();
    for (at, size) in (0..).zip(sizes) {
        input.extend(produce(at, size));
        input.extend(framed(3, 100 + at, &ApiVersionsRequest::default()));
    }
    let mut writer = socket.try_clone().unwrap();
    let writing = std::thread::spawn(move || {
        for piece in input.chunks(77_777) {
            writer.write_all(piece).unwrap();
        }
    });
    for at in 0..6 {
        assert_eq!(answer(&mut socket)[..4], i32::to_be_bytes(at));
        assert_eq!(answer(&mut socket)[..4], i32::to_be_bytes(100 + at));
    }
    writing.join().unwrap();
    socket.write_all(&fetch(9, 0, 0)).unwrap();
    let fetched = answer(&mut socket);
    assert_eq!(
        fetched.len(),
        4 + 4 + 4 + 3 + 4 + 4 + 2 + 8 + 8 + 4 + 4 + sizes.iter().sum::<usize>() + 6 * 61
    );
    drop(socket);
    server.stop().unwrap();
}

#[test]
fn the_door_wakes_a_fetch_that_waits() {
    let (server, mut socket) = served();
    socket.write_all(&fetch(5, 0, 1_000_000)).unwrap();
    let request = produce(0, 2000);
    let batch = Batch::from_records(&Bytes::from(request).slice(41..)).unwrap();
    // The fetch may come before or after; it must be answered in either case.
    server.cluster().append("t", 0, batch.header(), batch.payload.clone()).unwrap();
    assert!(answer(&mut socket).len() > 2000);
    let mut seen = Vec::new();
    server.cluster().read("t", 0, 0, 1 << 20, &mut |batch| seen.push(batch.payload.len())).unwrap();
    assert_eq!(seen, [2000]);
    server.stop().unwrap();
}

#[test]
fn what_is_not_kafka_closes_its_own_connection_only() {
    let (server, mut good) = served();
    let mut bad = TcpStream::connect(good.peer_addr().unwrap()).unwrap();
    bad.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    assert_eq!(bad.read(&mut [0; 1]).unwrap_or(0), 0);
    good.write_all(&framed(0, 3, &ApiVersionsRequest::default())).unwrap();
    assert_eq!(answer(&mut good)[..4], [0, 0, 0, 3]);
    server.stop().unwrap();
}

#[test]
fn a_port_that_is_taken_is_named() {
    let (server, _socket) = served();
    let brokers = vec![(1, server.bootstrap()[0].clone())];
    let error = spawn(SyntheticCluster { brokers, ..SyntheticCluster::default() }).unwrap_err();
    assert!(error.to_string().contains(&server.bootstrap()[0].to_string()), "{error}");
    server.stop().unwrap();
}
