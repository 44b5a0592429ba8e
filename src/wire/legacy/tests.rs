//! Message sets as Kafka before 0.11 wrote them, and what becomes of them.

use super::convert::{self, BadSet};
use super::requests::{self, BEFORE_ALL};
use crate::limits::OLD_BATCH_BYTES;
use crate::wire::batch::is_intact;
use crate::wire::codec::{Compression, compress, decompress};
use crate::wire::fetch::{FetchPartition, FetchRequest, Walked};
use crate::wire::oracle::{changes, mutated, walk_in_pieces};
use crate::wire::rebuild::{Holes, Packing, Rebuilt, records};
use crate::wire::{TopicKey, cursor::Cursor};
use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::{BrokerId, DescribeConfigsRequest, ListOffsetsRequest, TopicName};
use kafka_protocol::protocol::StrBytes;
use proptest::collection::vec;
use proptest::prelude::*;

const LOG_APPEND_TIME: u8 = 0x08;

/// What a consumer sees of a record.
#[derive(Clone, Debug, PartialEq)]
struct Seen {
    offset: i64,
    timestamp_ms: i64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
}

fn put_nullable(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    out.put_i32(bytes.map_or(-1, |bytes| bytes.len() as i32));
    out.extend(bytes.unwrap_or_default());
}

/// A message as a broker stores it.
fn message(magic: u8, attributes: u8, record: &Seen) -> Vec<u8> {
    let mut content = vec![magic, attributes];
    if magic == 1 {
        content.put_i64(record.timestamp_ms);
    }
    put_nullable(&mut content, record.key.as_deref());
    put_nullable(&mut content, record.value.as_deref());
    let mut crc = flate2::Crc::new();
    crc.update(&content);
    let mut out = Vec::new();
    out.put_i64(record.offset);
    out.put_i32(content.len() as i32 + 4);
    out.put_u32(crc.sum());
    out.extend(content);
    out
}

fn convert(messages: &[u8], from_offset: i64, holes: Holes) -> Result<Vec<Rebuilt>, BadSet> {
    convert::convert(messages, from_offset, Packing::apart(holes), None).map(|converted| converted.batches)
}

/// Messages within one: with their offsets in format 0, counted from the first one in format 1.
fn compressed(magic: u8, codec: u8, records: &[Seen], appended_ms: Option<i64>) -> Vec<u8> {
    let first = records[0].offset;
    let relative =
        |record: &Seen| Seen { offset: record.offset - i64::from(magic) * first, ..record.clone() };
    let set = records.iter().flat_map(|record| message(magic, 0, &relative(record))).collect::<Vec<u8>>();
    let outer = Seen {
        offset: records[records.len() - 1].offset,
        timestamp_ms: appended_ms.unwrap_or(1),
        key: None,
        value: Some(compress(Compression::of(codec), &set).unwrap()),
    };
    message(magic, codec | if appended_ms.is_some() { LOG_APPEND_TIME } else { 0 }, &outer)
}

/// What a consumer would read of the batches.
fn read(batches: &[Rebuilt]) -> Vec<Seen> {
    let mut all = Vec::new();
    for batch in batches {
        assert!(is_intact(&batch.header.to_raw(), &batch.payload));
        assert!(batch.header.is_contiguous() && batch.header.attributes == i16::from(batch.header.codec()));
        let bytes = decompress(batch.header.codec(), &batch.payload, 1 << 24).unwrap();
        let mut offsets = batch.runs.iter().flat_map(|&(offset, records)| offset..offset + records);
        let mut latest = i64::MIN;
        for record in records(&batch.header, &bytes).unwrap() {
            let mut body = Cursor::new(record.body);
            let mut field = || {
                let length = body.uvarint().unwrap();
                (length != 1).then(|| body.bytes(length as usize / 2).unwrap().to_vec())
            };
            let (key, value) = (field(), field());
            assert_eq!((body.u8(), body.remaining()), (Ok(0), 0), "no headers");
            latest = latest.max(record.timestamp_ms);
            all.push(Seen { offset: offsets.next().unwrap(), timestamp_ms: record.timestamp_ms, key, value });
        }
        assert_eq!((offsets.next(), batch.header.max_timestamp_ms), (None, latest));
    }
    all
}

/// A set in the making: of which format, whether with gaps, and by message how many records in it and with which codec.
#[derive(Clone, Debug)]
struct Log {
    messages: Vec<Vec<u8>>,
    records: Vec<Seen>,
}

fn log() -> impl Strategy<Value = Log> {
    let content = || prop::option::of(vec(any::<u8>(), 0..30));
    let record = (1i64..3, prop_oneof![Just(-1i64), 0..1i64 << 40], content(), content());
    let sets = vec((0u8..4, prop::option::of(0..1i64 << 40), vec(record, 1..6)), 0..6);
    (0u8..2, 0i64..1 << 40, sets).prop_map(|(magic, mut offset, sets)| {
        let mut log = Log { messages: vec![], records: vec![] };
        for (codec, appended_ms, set) in sets {
            let set = set.into_iter().map(|(step, timestamp_ms, key, value)| {
                offset += step;
                Seen { offset, timestamp_ms, key, value }
            });
            let set: Vec<Seen> = set.collect();
            let appended_ms = appended_ms.filter(|_| magic == 1 && codec > 0);
            match codec {
                0 => log.messages.extend(set.iter().map(|record| message(magic, 0, record))),
                _ => log.messages.push(compressed(magic, codec, &set, appended_ms)),
            }
            log.records.extend(set.into_iter().map(|record| Seen {
                timestamp_ms: if magic == 0 { -1 } else { appended_ms.unwrap_or(record.timestamp_ms) },
                ..record
            }));
        }
        log
    })
}

proptest! {
    #[test]
    fn records_are_what_they_were_however_many_messages_come_at_a_time(
        log in log(),
        from in 0usize..40,
        pieces in vec(1usize..4, 1..5),
        is_split: bool,
    ) {
        let holes = if is_split { Holes::Split } else { Holes::Close };
        let from_offset = log.records.get(from).map_or(0, |record| record.offset);
        let kept: Vec<Seen> =
            log.records.iter().filter(|record| record.offset >= from_offset).cloned().collect();
        let whole = convert(&log.messages.concat(), from_offset, holes).unwrap();
        prop_assert_eq!(&read(&whole), &kept);
        if is_split {
            prop_assert!(whole.iter().all(|batch| batch.runs.len() == 1));
        }
        let mut rest = &log.messages[..];
        let mut in_pieces = Vec::new();
        for piece in pieces.iter().cycle() {
            let (now, later) = rest.split_at((*piece).min(rest.len()));
            in_pieces.extend(convert(&now.concat(), from_offset, holes).unwrap());
            rest = later;
            if rest.is_empty() {
                break;
            }
        }
        prop_assert_eq!(&read(&in_pieces), &kept);
    }

    #[test]
    fn damage_is_refused_and_never_read_as_something_else(log in log(), changes in changes()) {
        let messages = log.messages.concat();
        if messages.is_empty() {
            return Ok(());
        }
        let damaged = mutated(&messages, &changes);
        if let Ok(batches) = convert(&damaged, 0, Holes::Close) {
            // Offset and size have no checksum; keys and values do.
            let content = |records: &[Seen]| -> Vec<_> {
                records.iter().map(|record| (record.key.clone(), record.value.clone())).collect()
            };
            prop_assert_eq!(content(&read(&batches)), content(&log.records));
        }
        for cut in [1, messages.len() / 2, messages.len() - 1] {
            let _ = convert(&messages[..cut], 0, Holes::Split);
        }
    }

    #[test]
    fn any_bytes_are_converted_or_refused(
        bytes in vec(any::<u8>(), 0..200),
        magic in 0u8..3,
        attributes: u8,
    ) {
        let _ = convert(&bytes, 0, Holes::Close);
        let value = Seen { offset: 5, timestamp_ms: 1, key: None, value: Some(bytes) };
        let _ = convert(&message(magic, attributes, &value), 0, Holes::Close);
        let _ = requests::list_offsets_answer(0, Bytes::copy_from_slice(value.value.as_deref().unwrap()));
        let _ = requests::describe_configs_answer(0, Bytes::from(value.value.unwrap()));
    }

    #[test]
    fn old_fetch_answers_are_walked_however_they_arrive(
        version in 0i16..4,
        log in log(),
        cut in 0usize..26,
        pieces in vec(1usize..60, 1..9),
    ) {
        let mut set = log.messages.concat();
        let part = log.messages.first().map_or(0, |first| cut.min(first.len() - 1));
        set.extend_from_slice(log.messages.first().map_or(&[][..], |first| &first[..part]));
        let mut body = BytesMut::new();
        body.put_i32(7);
        if version >= 1 {
            body.put_i32(3);
        }
        body.put_i32(1);
        body.put_i16(1);
        body.put_slice(b"t");
        body.put_i32(1);
        body.put_i32(2);
        body.put_i16(0);
        body.put_i64(99);
        body.put_i32(set.len() as i32);
        body.put_slice(&set);
        let stream = [&(body.len() as i32).to_be_bytes()[..], &body].concat();
        let shown = walk_in_pieces(version, &stream, &pieces).unwrap();
        let taken: Vec<Vec<u8>> = shown
            .iter()
            .filter(|(walked, _)| matches!(walked, Walked::OldFormat { .. }))
            .map(|(_, bytes)| bytes.clone())
            .collect();
        prop_assert_eq!(&taken, &log.messages);
        let is_cut = |walked: &Walked| matches!(walked, Walked::Cut { .. });
        let has_cut = shown.iter().any(|(walked, bytes)| is_cut(walked) && bytes.len() == part);
        prop_assert_eq!(has_cut, part > 0);
        let throttled_ms = if version >= 1 { 3 } else { 0 };
        prop_assert_eq!(
            &shown[1].0,
            &Walked::Response { throttle_ms: throttled_ms, error: 0, session_id: 0 }
        );
        prop_assert!(matches!(shown.last().unwrap().0, Walked::End));
    }
}

fn plain(offset: i64, value: &[u8]) -> Seen {
    Seen { offset, timestamp_ms: 5, key: None, value: Some(value.to_vec()) }
}

fn cause(converted: Result<Vec<Rebuilt>, BadSet>) -> String {
    converted.map(|_| ()).unwrap_err().to_string()
}

#[test]
fn what_no_broker_writes_is_refused_with_its_offset() {
    let outer = |magic: u8, codec: u8, set: &[u8]| {
        message(
            magic,
            codec,
            &Seen { value: Some(compress(Compression::of(codec), set).unwrap()), ..plain(9, b"") },
        )
    };
    let refused = |bytes: &[u8], words: &str| {
        let cause = cause(convert(bytes, 0, Holes::Close));
        assert!(cause.contains("at offset 9 ") && cause.contains(words), "{cause}");
    };
    refused(&outer(1, 1, &compressed(1, 1, &[plain(0, b"a")], None)), "holds another one");
    refused(&outer(1, 1, &message(0, 0, &plain(0, b"a"))), "another format");
    refused(&outer(1, 2, b""), "holds no message");
    refused(&outer(0, 1, &message(0, 0, &plain(10, b"a"))), "do not ascend");
    refused(&message(1, 4, &plain(9, b"zstd")), "codec 4");
    refused(&message(1, 1, &Seen { value: None, ..plain(9, b"") }), "no value");
    refused(&message(2, 0, &plain(9, b"")), "another format");
    let mut damaged = message(0, 0, &plain(9, b"abc"));
    *damaged.last_mut().unwrap() ^= 1;
    refused(&damaged, "checksum");
}

#[test]
fn a_bomb_is_not_decompressed() {
    let zeros = compress(Compression::of(1), vec![0; crate::limits::RECORDS_BYTES_MAX + 1]).unwrap();
    let bomb = message(1, 1, &Seen { value: Some(zeros), ..plain(9, b"") });
    assert!(cause(convert(&bomb, 0, Holes::Close)).contains("bytes when decompressed"));
}

#[test]
fn plain_messages_share_batches_of_a_bounded_size() {
    let value = vec![7; 1000];
    let set: Vec<u8> = (0..1000).flat_map(|offset| message(1, 0, &plain(offset, &value))).collect();
    let batches = convert(&set, 0, Holes::Split).unwrap();
    assert_eq!(batches.len(), 4);
    assert!(batches.iter().all(|batch| batch.payload.len() <= OLD_BATCH_BYTES + 1010));
}

#[test]
fn the_old_lz4_header_is_read_in_format_0_only() {
    let records = [plain(3, b"one"), plain(4, b"two")];
    let broken = |magic: u8| {
        let relative =
            |record: &Seen| Seen { offset: record.offset - i64::from(magic) * 3, ..record.clone() };
        let set: Vec<u8> = records.iter().flat_map(|record| message(magic, 0, &relative(record))).collect();
        let mut frame = compress(Compression::of(3), &set).unwrap();
        frame[6] ^= 0xff;
        convert(&message(magic, 3, &Seen { value: Some(frame), ..plain(4, b"") }), 0, Holes::Close)
    };
    assert_eq!(read(&broken(0).unwrap()).len(), 2);
    assert!(cause(broken(1)).contains("cannot be decompressed"));
}

#[test]
fn old_requests_are_what_old_brokers_read() {
    let mut out = BytesMut::new();
    let partition = FetchPartition {
        topic: TopicKey::Name("t".into()),
        partition: 2,
        current_leader_epoch: 1,
        fetch_offset: 3,
        last_fetched_epoch: 1,
        log_start_offset: 1,
        partition_max_bytes: 4,
    };
    let request = FetchRequest {
        version: 0,
        correlation_id: 7,
        client_id: "x",
        max_wait_ms: 8,
        min_bytes: 9,
        max_bytes: 10,
        isolation: 1,
        session_id: 0,
        session_epoch: -1,
        partitions: std::slice::from_ref(&partition),
        forgotten: &[],
        rack: "",
    };
    request.encode(&mut out);
    let front = b"\0\0\0\x32\0\x01\0\0\0\0\0\x07\0\x01x\xff\xff\xff\xff\0\0\0\x08\0\0\0\x09";
    let back = b"\0\0\0\x01\0\x01t\0\0\0\x01\0\0\0\x02\0\0\0\0\0\0\0\x03\0\0\0\x04";
    assert_eq!(out[..], [&front[..], back].concat());
    out.clear();
    FetchRequest { version: 3, ..request }.encode(&mut out);
    assert_eq!(out[4..], [b"\0\x01\0\x03", &front[8..], b"\0\0\0\x0a", back].concat());

    let topic = ListOffsetsTopic::default()
        .with_name(TopicName(StrBytes::from_static_str("t")))
        .with_partitions(vec![ListOffsetsPartition::default().with_partition_index(2).with_timestamp(-1)]);
    let request = ListOffsetsRequest::default().with_replica_id(BrokerId(-1)).with_topics(vec![topic]);
    let wire = requests::list_offsets(&request, 0, 7, "x");
    let body =
        b"\xff\xff\xff\xff\0\0\0\x01\0\x01t\0\0\0\x01\0\0\0\x02\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\x01";
    assert_eq!(wire[..], [&b"\0\0\0\x2a\0\x02\0\0\0\0\0\x07\0\x01x"[..], body].concat());
    let answer = b"\0\0\0\x07\0\0\0\x01\0\x01t\0\0\0\x02\0\0\0\x02\0\0\0\0\0\x01\0\0\0\0\0\0\0\x63\0\0\0\x03\0\0\0\0\0\0";
    let read = requests::list_offsets_answer(0, Bytes::from_static(answer)).unwrap();
    let offsets: Vec<i64> = read.topics[0].partitions.iter().map(|partition| partition.offset).collect();
    assert_eq!(offsets, [99, BEFORE_ALL]);
    for cut in 0..answer.len() {
        assert!(requests::list_offsets_answer(0, Bytes::from_static(&answer[..cut])).is_err());
    }

    let wire = requests::describe_configs(&DescribeConfigsRequest::default(), 0, 7, "x");
    assert_eq!(wire[..], *b"\0\0\0\x0f\0\x20\0\0\0\0\0\x07\0\x01x\0\0\0\0");
    let answer = b"\0\0\0\x07\0\0\0\0\0\0\0\x01\0\0\xff\xff\x02\0\x01t\0\0\0\x02\0\x01a\0\x01b\0\0\0\0\x01c\xff\xff\0\x01\0";
    let read = requests::describe_configs_answer(0, Bytes::from_static(answer)).unwrap();
    let result = &read.results[0];
    assert_eq!((result.resource_type, result.resource_name.as_str()), (2, "t"));
    let sources: Vec<i8> = result.configs.iter().map(|config| config.config_source).collect();
    assert_eq!((sources, result.configs[1].value.clone()), (vec![1, 5], None));
}
