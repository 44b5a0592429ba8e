//! The hand-written codecs against the crate `kafka-protocol`, and against bytes from nowhere.

use super::batch::tests::header;
use super::batch::{BadBatch, BatchHeader};
use super::fetch::{self, FetchPartition, FetchRequest, FetchWalk, PartitionHead, Walked};
use super::legacy::message::MessageHeader;
use super::produce::{self, Entry, Payload, Piece, TopicRef, answer_bytes_min};
use super::{TopicKey, control};
use bytes::{Buf, Bytes, BytesMut};
use kafka_protocol::messages::{self, RequestHeader, TopicName, fetch_response, produce_response};
use kafka_protocol::protocol::{Decodable, StrBytes};
use proptest::collection::vec;
use proptest::prelude::*;
use uuid::Uuid;

/// What the walk showed, with the bytes that were taken after it.
pub(super) type Shown = (Walked, Vec<u8>);

fn name() -> impl Strategy<Value = String> {
    "[a-z._-]{1,40}"
}

fn batch() -> impl Strategy<Value = (BatchHeader, Vec<u8>)> {
    vec(any::<u8>(), 0..300).prop_flat_map(|payload| (header(payload.len()), Just(payload)))
}

/// The end of a partition's records: a part of a batch, an old message, damage, or nothing; and what is shown of it before a cut.
fn rest() -> impl Strategy<Value = (Vec<u8>, Vec<Shown>)> {
    let nothing = Just((vec![], vec![]));
    let part = (batch(), any::<prop::sample::Index>()).prop_map(|((header, payload), cut)| {
        let mut part = [&header.to_raw()[..], &payload].concat();
        part.truncate(cut.index(part.len()));
        (part, vec![])
    });
    let old = (vec(any::<u8>(), 26..100), 0i64..i64::MAX / 2, 0i8..2, 0usize..20);
    let old = old.prop_map(|(mut message, offset, magic, cut)| {
        let bytes = message.len();
        message[..8].copy_from_slice(&offset.to_be_bytes());
        message[8..12].copy_from_slice(&(bytes as i32 - 12).to_be_bytes());
        message[16] = magic as u8;
        let header = MessageHeader { offset, bytes, magic, attributes: message[17] };
        let shown = (Walked::OldFormat { message: header }, message.clone());
        // Behind it there may be a part of another one.
        let part = message[..cut].to_vec();
        ([message, part].concat(), vec![shown])
    });
    let damaged = batch().prop_map(|(header, payload)| {
        let header = BatchHeader { record_count: -1, ..header };
        let cause = BadBatch::Counts { record_count: -1, last_offset_delta: header.last_offset_delta };
        ([&header.to_raw()[..], &payload].concat(), vec![(Walked::Damaged(cause), vec![])])
    });
    prop_oneof![nothing, part, old, damaged]
}

type Partition = (fetch_response::PartitionData, Vec<Shown>);

fn partition(version: i16) -> impl Strategy<Value = Partition> {
    let head = (any::<i32>(), any::<i16>(), any::<i64>(), any::<i64>(), any::<i64>(), 0i32..9);
    let tail = (prop::option::of((0i32..9, 0i64..9)), prop::option::of((0i32..9, 0i32..9)));
    let aborted = vec((any::<i64>(), any::<i64>()), 0..4);
    (head, aborted, vec(batch(), 0..4), rest(), tail).prop_map(
        move |(head, aborted, batches, (rest, before_cut), (diverging, leader))| {
            let log_start_offset = if version >= 5 { head.4 } else { -1 };
            let preferred_read_replica = if version >= 11 { head.5 } else { -1 };
            let (diverging, current_leader) = if version >= 12 { (diverging, leader) } else { (None, None) };
            let mut shown = vec![Walked::Partition(PartitionHead {
                partition: head.0,
                error: head.1,
                high_watermark: head.2,
                last_stable_offset: head.3,
                log_start_offset,
            })];
            shown.extend(
                aborted
                    .iter()
                    .map(|&(producer_id, first_offset)| Walked::Aborted { producer_id, first_offset }),
            );
            let raw_batches =
                batches.iter().map(|(header, payload)| [&header.to_raw()[..], payload].concat());
            let records = raw_batches.chain([rest.clone()]).collect::<Vec<_>>().concat();
            shown.push(Walked::Records { preferred_read_replica, bytes: records.len() });
            let mut shown: Vec<Shown> = shown.into_iter().map(|walked| (walked, vec![])).collect();
            shown.extend(
                batches
                    .into_iter()
                    .map(|(header, payload)| (Walked::Batch { header, raw: header.to_raw() }, payload)),
            );
            let taken: usize = before_cut.iter().map(|(_, taken)| taken.len()).sum();
            shown.extend(before_cut);
            if rest.len() > taken {
                shown.push((Walked::Cut { bytes: rest.len() - taken }, rest[taken..].to_vec()));
            }
            shown.push((Walked::PartitionEnd { diverging, current_leader }, vec![]));

            let mut data = fetch_response::PartitionData::default()
                .with_partition_index(head.0)
                .with_error_code(head.1)
                .with_high_watermark(head.2)
                .with_last_stable_offset(head.3)
                .with_log_start_offset(log_start_offset)
                .with_preferred_read_replica(preferred_read_replica.into())
                .with_records((!records.is_empty()).then(|| records.into()))
                .with_aborted_transactions((!aborted.is_empty()).then(|| {
                    let entry = |(producer_id, first_offset): (i64, i64)| {
                        fetch_response::AbortedTransaction::default()
                            .with_producer_id(producer_id.into())
                            .with_first_offset(first_offset)
                    };
                    aborted.into_iter().map(entry).collect()
                }));
            if let Some((epoch, end_offset)) = diverging {
                data.diverging_epoch =
                    fetch_response::EpochEndOffset::default().with_epoch(epoch).with_end_offset(end_offset);
            }
            if let Some((id, epoch)) = current_leader {
                data.current_leader = fetch_response::LeaderIdAndEpoch::default()
                    .with_leader_id(id.into())
                    .with_leader_epoch(epoch);
            }
            (data, shown)
        },
    )
}

/// The versions that the crate has, too.
const ITS_VERSIONS: std::ops::RangeInclusive<i16> = fetch::BATCHES_MIN..=*fetch::VERSIONS.end();

/// A version, an answer on the wire, and what the walk should show of it.
fn answer() -> impl Strategy<Value = (i16, Bytes, Vec<Shown>)> {
    ITS_VERSIONS.prop_flat_map(|version| {
        let topics = vec((name(), any::<[u8; 16]>(), vec(partition(version), 0..4)), 0..4);
        (Just(version), any::<(i32, i32, i16, i32)>(), topics).prop_map(|(version, head, topics)| {
            let (correlation_id, throttle_ms, error, session_id) = head;
            let (error, session_id) = if version >= 7 { (error, session_id) } else { (0, 0) };
            let mut shown = vec![
                (Walked::Head { correlation_id }, vec![]),
                (Walked::Response { throttle_ms, error, session_id }, vec![]),
            ];
            let mut responses = vec![];
            for (name, id, partitions) in topics {
                let mut response = fetch_response::FetchableTopicResponse::default();
                let key = if version >= 13 {
                    response.topic_id = Uuid::from_bytes(id);
                    TopicKey::Id(response.topic_id)
                } else {
                    response.topic = TopicName(StrBytes::from_string(name.clone()));
                    TopicKey::Name(name.into())
                };
                shown.push((Walked::Topic(key), vec![]));
                for (data, of_partition) in partitions {
                    response.partitions.push(data);
                    shown.extend(of_partition);
                }
                responses.push(response);
            }
            shown.push((Walked::End, vec![]));
            let answer = messages::FetchResponse::default()
                .with_throttle_time_ms(throttle_ms)
                .with_error_code(error)
                .with_session_id(session_id)
                .with_responses(responses);
            (version, control::encode_response(&answer, version, correlation_id), shown)
        })
    })
}

/// Walks a stream that arrives in pieces of the given sizes, over and over, to its end.
pub(super) fn walk_in_pieces(version: i16, stream: &[u8], pieces: &[usize]) -> Result<Vec<Shown>, String> {
    let mut walk = FetchWalk::new(version);
    let mut input = BytesMut::new();
    let mut shown: Vec<Shown> = vec![];
    let mut owed = 0;
    let mut arriving = stream;
    for piece in pieces.iter().cycle() {
        let (piece, later) = arriving.split_at((*piece).min(arriving.len()));
        input.extend_from_slice(piece);
        arriving = later;
        loop {
            if owed > 0 {
                let taken = input.split_to(owed.min(input.len()));
                walk.take_payload(taken.len());
                owed -= taken.len();
                shown.last_mut().unwrap().1.extend_from_slice(&taken);
                if owed > 0 {
                    break;
                }
            }
            let before = walk.frame_remaining();
            let walked = walk.step(&mut input).map_err(|cause| cause.to_string())?;
            assert!(before == 0 || walk.frame_remaining() <= before);
            match &walked {
                Walked::NeedMore => {
                    assert!(walk.at_least() >= 1);
                    break;
                }
                Walked::Batch { header, .. } => owed = header.payload_bytes(),
                Walked::OldFormat { message } => owed = message.bytes,
                Walked::Cut { bytes } => owed = *bytes,
                _ => {}
            }
            shown.push((walked, vec![]));
            assert!(shown.len() < 4 * stream.len() + 10, "the walk does not end");
        }
        if arriving.is_empty() {
            return Ok(shown);
        }
    }
    unreachable!("the pieces are repeated until the stream has arrived")
}

/// Walks like a driver that splices: takes exactly `at_least` bytes out of the socket each time, so that no byte of a
/// payload, and none of the next answer, gets into the input.
fn walk_exactly(version: i16, stream: &[u8]) -> (Vec<Shown>, usize) {
    let mut walk = FetchWalk::new(version);
    let mut input = BytesMut::new();
    let mut shown = vec![];
    let mut socket = stream;
    let mut reads = 0;
    loop {
        let walked = walk.step(&mut input).unwrap();
        let mut taken = vec![];
        match &walked {
            Walked::NeedMore => {
                input.extend_from_slice(&socket[..walk.at_least()]);
                socket = &socket[walk.at_least()..];
                reads += 1;
                continue;
            }
            Walked::Batch { header, .. } => {
                assert!(input.is_empty(), "bytes of a payload were read into the input");
                taken = socket[..header.payload_bytes()].to_vec();
                socket = &socket[taken.len()..];
                walk.take_payload(taken.len());
            }
            Walked::Cut { bytes } | Walked::OldFormat { message: MessageHeader { bytes, .. } } => {
                taken = input.split_to(input.len().min(*bytes)).to_vec();
                let rest = bytes - taken.len();
                taken.extend_from_slice(&socket[..rest]);
                socket = &socket[rest..];
                walk.take_payload(taken.len());
            }
            Walked::End => {
                assert!(input.is_empty() && socket.is_empty() && walk.frame_remaining() == 0);
                shown.push((walked, taken));
                return (shown, reads);
            }
            _ => {}
        }
        shown.push((walked, taken));
    }
}

pub(crate) fn mutated(bytes: &[u8], changes: &[(prop::sample::Index, u8)]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for (at, value) in changes {
        let at = at.index(bytes.len());
        bytes[at] = *value;
    }
    bytes
}

/// Bytes that lengths and varints are made of come up more often.
pub(crate) fn changes() -> impl Strategy<Value = Vec<(prop::sample::Index, u8)>> {
    let value = prop_oneof![any::<u8>(), Just(0u8), Just(1u8), Just(0x7f), Just(0xff)];
    vec((any::<prop::sample::Index>(), value), 1..6)
}

proptest! {
    #[test]
    fn the_walk_shows_what_was_encoded_however_it_arrives(
        (version, stream, expected) in answer(),
        pieces in vec(1usize..400, 1..20),
    ) {
        prop_assert_eq!(&walk_in_pieces(version, &stream, &pieces).unwrap(), &expected);
        prop_assert_eq!(&walk_in_pieces(version, &stream, &[1]).unwrap(), &expected);
        let twice = [&stream[..], &stream].concat();
        prop_assert_eq!(walk_in_pieces(version, &twice, &pieces).unwrap(), [&expected[..], &expected].concat());
    }

    #[test]
    fn what_is_asked_for_comes_before_any_payload((version, stream, expected) in answer()) {
        let (shown, reads) = walk_exactly(version, &stream);
        prop_assert!(reads <= expected.len() * 2);
        prop_assert_eq!(shown, expected);
    }

    #[test]
    fn a_damaged_answer_ends_in_an_error_or_in_other_content(
        (version, stream, _) in answer(),
        changes in changes(),
        pieces in vec(1usize..400, 1..5),
        other_version in fetch::VERSIONS,
    ) {
        let _ = walk_in_pieces(version, &mutated(&stream, &changes), &pieces);
        let _ = walk_in_pieces(other_version, &stream, &pieces);
    }

    #[test]
    fn random_bytes_never_confuse_the_parsers(
        bytes in vec(any::<u8>(), 1..600),
        fetch_version in fetch::VERSIONS,
        produce_version in produce::VERSIONS,
        pieces in vec(1usize..100, 1..5),
    ) {
        let stream = [&(bytes.len() as i32).to_be_bytes()[..], &bytes].concat();
        let _ = walk_in_pieces(fetch_version, &stream, &pieces);
        let _ = produce::read_answer(produce_version, &bytes, &mut |_| {});
        let _ = control::decode_request_header(&mut Bytes::from(bytes));
    }

    #[test]
    fn bytes_after_the_end_of_an_answer_are_refused((version, stream, _) in answer()) {
        let mut longer = stream.to_vec();
        longer.push(0);
        let size = longer.len() as i32 - 4;
        longer[..4].copy_from_slice(&size.to_be_bytes());
        prop_assert!(walk_in_pieces(version, &longer, &[1000]).unwrap_err().contains("bytes follow"));
    }

    #[test]
    fn fetch_requests_read_as_meant(
        version in ITS_VERSIONS,
        ints in any::<[i32; 6]>(),
        isolation in 0u8..2,
        client_id in name(),
        rack in name(),
        partitions in vec((0usize..3, any::<[i32; 4]>(), any::<[i64; 2]>()), 0..9),
        forgotten in vec((0usize..3, any::<i32>()), 0..5),
    ) {
        let key = |topic: usize| key(version >= 13, topic);
        let forgotten: Vec<_> = forgotten.iter().map(|&(topic, partition)| (key(topic), partition)).collect();
        let partitions: Vec<_> = partitions
            .iter()
            .map(|&(topic, ints, longs)| FetchPartition {
                topic: key(topic),
                partition: ints[0],
                current_leader_epoch: ints[1],
                fetch_offset: longs[0],
                last_fetched_epoch: ints[2],
                log_start_offset: longs[1],
                partition_max_bytes: ints[3],
            })
            .collect();
        let [correlation_id, max_wait_ms, min_bytes, max_bytes, session_id, session_epoch] = ints;
        let request = FetchRequest {
            version, correlation_id, client_id: &client_id, max_wait_ms, min_bytes, max_bytes, isolation,
            session_id, session_epoch, partitions: &partitions, forgotten: &forgotten, rack: &rack,
        };
        let mut out = BytesMut::from(&b"before"[..]);
        request.encode(&mut out);
        out.advance(6);
        let (header, read) = read_request::<messages::FetchRequest>(out.freeze());
        prop_assert_eq!(header.request_api_key, 1);
        prop_assert_eq!(header.request_api_version, version);
        prop_assert_eq!(header.correlation_id, correlation_id);
        prop_assert_eq!(header.client_id.as_deref(), Some(&client_id[..]));
        prop_assert_eq!((read.max_wait_ms, read.min_bytes, read.max_bytes), (max_wait_ms, min_bytes, max_bytes));
        prop_assert_eq!((read.replica_id.0, read.isolation_level), (-1, isolation as i8));
        if version >= 7 {
            prop_assert_eq!((read.session_id, read.session_epoch), (session_id, session_epoch));
            let read: Vec<_> = read.forgotten_topics_data.iter().flat_map(|topic| {
                let key = key_of(version >= 13, &topic.topic, topic.topic_id);
                topic.partitions.iter().map(move |partition| (key.clone(), *partition))
            }).collect();
            prop_assert_eq!(read, forgotten);
        }
        if version >= 11 {
            prop_assert_eq!(&read.rack_id[..], &rack[..]);
        }
        for pair in read.topics.windows(2) {
            prop_assert!((&pair[0].topic, pair[0].topic_id) != (&pair[1].topic, pair[1].topic_id));
        }
        let read: Vec<_> = read.topics.iter().flat_map(|topic| {
            topic.partitions.iter().map(|partition| FetchPartition {
                topic: key_of(version >= 13, &topic.topic, topic.topic_id),
                partition: partition.partition,
                current_leader_epoch: partition.current_leader_epoch,
                fetch_offset: partition.fetch_offset,
                last_fetched_epoch: partition.last_fetched_epoch,
                log_start_offset: partition.log_start_offset,
                partition_max_bytes: partition.partition_max_bytes,
            })
        }).collect();
        let meant: Vec<_> = partitions.into_iter().map(|partition| FetchPartition {
            current_leader_epoch: if version >= 9 { partition.current_leader_epoch } else { -1 },
            last_fetched_epoch: if version >= 12 { partition.last_fetched_epoch } else { -1 },
            log_start_offset: if version >= 5 { partition.log_start_offset } else { -1 },
            ..partition
        }).collect();
        prop_assert_eq!(read, meant);
    }

    #[test]
    fn produce_requests_read_as_meant(
        version in produce::VERSIONS,
        correlation_id: i32,
        timeout_ms: i32,
        client_id in name(),
        transactional_id in proptest::option::of(name()),
        acks in -1i16..2,
        batches in vec((0usize..3, any::<i32>(), batch(), any::<prop::sample::Index>()), 0..9),
    ) {
        let mut entries: Vec<_> = batches.iter().map(|(topic, partition, (header, payload), cut)| {
            let (first, second) = payload.split_at(cut.index(payload.len() + 1));
            let ranges = [first, second].into_iter().map(Bytes::copy_from_slice).collect();
            Entry {
                topic: key(version >= 13, *topic),
                partition: *partition,
                raw: header.to_raw(),
                payload: Payload::Ranges(ranges),
            }
        }).collect();
        let mut wire = BytesMut::new();
        let mut pieces = 0;
        let mut scratch = BytesMut::new();
        let id = transactional_id.as_deref();
        let client = &client_id[..];
        let head =
            produce::Head { version, correlation_id, client_id: client, transactional_id: id, acks, timeout_ms };
        let bytes = produce::frame(head, &mut entries, &mut scratch, &mut |piece| {
            pieces += 1;
            match piece {
                Piece::Framing(framing) => wire.extend_from_slice(&framing),
                Piece::Payload(Payload::Ranges(ranges)) => ranges.iter().for_each(|range| wire.extend_from_slice(range)),
                Piece::Payload(Payload::Stream(_)) => panic!("no payload is a stream here"),
            }
        });
        prop_assert!(entries.is_empty() && scratch.is_empty());
        prop_assert_eq!(bytes, wire.len());
        prop_assert!(pieces <= batches.len() * 2 + 1);
        let (header, read) = read_request::<messages::ProduceRequest>(wire.freeze());
        prop_assert_eq!(header.request_api_key, 0);
        prop_assert_eq!(header.correlation_id, correlation_id);
        prop_assert_eq!(header.client_id.as_deref(), Some(&client_id[..]));
        prop_assert_eq!((read.acks, read.timeout_ms), (acks, timeout_ms));
        prop_assert_eq!(read.transactional_id.as_ref().map(|id| id.as_str()), id);
        for pair in read.topic_data.windows(2) {
            prop_assert!((&pair[0].name, pair[0].topic_id) != (&pair[1].name, pair[1].topic_id));
        }
        let read: Vec<_> = read.topic_data.iter().flat_map(|topic| {
            topic.partition_data.iter().map(|partition| {
                let key = key_of(version >= 13, &topic.name, topic.topic_id);
                (key, partition.index, partition.records.clone().unwrap().to_vec())
            })
        }).collect();
        let meant: Vec<_> = batches.iter().map(|(topic, partition, (header, payload), _)| {
            (key(version >= 13, *topic), *partition, [&header.to_raw()[..], payload].concat())
        }).collect();
        prop_assert_eq!(read, meant);
    }

    #[test]
    fn produce_answers_are_read_as_meant_and_damaged_ones_refused_or_read_otherwise(
        (version, answer) in produce::VERSIONS.prop_flat_map(|version| (Just(version), produce_answer(version))),
        changes in changes(),
    ) {
        let wire = control::encode_response(&answer, version, 1);
        let names: usize = answer.responses.iter().map(|topic| topic.name.len()).sum();
        let partitions = answer.responses.iter().map(|topic| topic.partition_responses.len()).sum();
        prop_assert!(answer_bytes_min(version, answer.responses.len(), names, partitions) <= wire.len());

        let body = &wire[if version >= 9 { 9 } else { 8 }..];
        let mut expected = answer.responses.iter().flat_map(|topic| {
            topic.partition_responses.iter().map(move |partition| (topic, partition))
        });
        let throttle_ms = produce::read_answer(version, body, &mut |acked| {
            let (topic, partition) = expected.next().unwrap();
            let key = key_of(version >= 13, &topic.name, topic.topic_id);
            assert!(acked.topic == key);
            assert_eq!((acked.partition, acked.error), (partition.index, partition.error_code));
            assert_eq!((acked.base_offset, acked.log_start_offset), (partition.base_offset, partition.log_start_offset));
            assert_eq!(acked.error_message, partition.error_message.as_deref().unwrap_or(""));
            let leader = (partition.current_leader.leader_id.0, partition.current_leader.leader_epoch);
            assert_eq!(acked.current_leader, (leader != (-1, -1)).then_some(leader));
        });
        prop_assert_eq!(throttle_ms, Ok(answer.throttle_time_ms));
        prop_assert!(expected.next().is_none());

        for cut in 0..body.len() {
            let refused = produce::read_answer(version, &body[..cut], &mut |_| {}).is_err();
            prop_assert!(refused);
        }
        let _ = produce::read_answer(version, &mutated(body, &changes), &mut |_| {});
    }
}

fn produce_answer(version: i16) -> impl Strategy<Value = messages::ProduceResponse> {
    let text = move || prop::option::of(name()).prop_map(move |text| text.filter(|_| version >= 8));
    let leader = prop::option::of((0i32..9, 0i32..9));
    let partition = (any::<(i32, i16, i64, i64)>(), vec((any::<i32>(), text()), 0..3), text(), leader)
        .prop_map(move |((index, error, base_offset, log_start_offset), records, message, leader)| {
            let string = |text: Option<String>| text.map(StrBytes::from_string);
            let record_error = |(index, text)| {
                produce_response::BatchIndexAndErrorMessage::default()
                    .with_batch_index(index)
                    .with_batch_index_error_message(string(text))
            };
            let mut response = produce_response::PartitionProduceResponse::default()
                .with_index(index)
                .with_error_code(error)
                .with_base_offset(base_offset)
                .with_error_message(string(message));
            if version >= 5 {
                response.log_start_offset = log_start_offset;
            }
            if version >= 8 {
                response.record_errors = records.into_iter().map(record_error).collect();
            }
            if let (10.., Some((id, epoch))) = (version, leader) {
                response.current_leader = produce_response::LeaderIdAndEpoch::default()
                    .with_leader_id(id.into())
                    .with_leader_epoch(epoch);
            }
            response
        });
    let topics = vec((name(), any::<[u8; 16]>(), vec(partition, 0..4)), 0..4);
    (any::<i32>(), topics, vec((any::<i32>(), name()), 0..2)).prop_map(move |(throttle_ms, topics, nodes)| {
        let topic = |(name, id, partitions): (String, [u8; 16], Vec<_>)| {
            let topic =
                produce_response::TopicProduceResponse::default().with_partition_responses(partitions);
            match version {
                13.. => topic.with_topic_id(Uuid::from_bytes(id)),
                _ => topic.with_name(TopicName(StrBytes::from_string(name))),
            }
        };
        let node = |(id, host): (i32, String)| {
            produce_response::NodeEndpoint::default()
                .with_node_id(id.into())
                .with_host(StrBytes::from_string(host))
        };
        let answer = messages::ProduceResponse::default()
            .with_throttle_time_ms(throttle_ms)
            .with_responses(topics.into_iter().map(topic).collect());
        match version {
            10.. => answer.with_node_endpoints(nodes.into_iter().map(node).collect()),
            _ => answer,
        }
    })
}

fn key(by_id: bool, topic: usize) -> TopicKey {
    if by_id {
        TopicKey::Id(Uuid::from_u128(topic as u128 + 1))
    } else {
        TopicKey::Name(["orders", "a", "payments.eu"][topic].into())
    }
}

fn key_of(by_id: bool, name: &TopicName, id: Uuid) -> TopicKey {
    if by_id { TopicKey::Id(id) } else { TopicKey::Name(name.0.clone().into_bytes()) }
}

fn read_request<T: Decodable>(mut wire: Bytes) -> (RequestHeader, T) {
    assert_eq!(wire.get_i32() as usize, wire.len());
    let header = control::decode_request_header(&mut wire).unwrap();
    let request = T::decode(&mut wire, header.request_api_version).unwrap();
    assert!(wire.is_empty());
    (header, request)
}

#[test]
fn topics_are_compared_with_their_keys() {
    assert!(TopicRef::Name(b"a") == TopicKey::Name("a".into()));
    assert!(TopicRef::Name(b"a") != TopicKey::Name("b".into()));
    assert!(TopicRef::Id(Uuid::nil()) != TopicKey::Name("".into()));
}
