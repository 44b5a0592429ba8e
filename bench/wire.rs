//! What a batch costs on its way through `wire`, payload not counted: nothing here may depend on the payload's length, but for what
//! records cost that are changed.
//!
//! `cargo bench --bench wire`. Throughput is in batches; a time is for a whole answer or request of [`BATCHES`] batches.

use bytes::{Bytes, BytesMut};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use kafka_protocol::messages::FetchResponse;
use kafka_protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use smallvec::smallvec;
use std::hint::black_box;
use twinlog::config::Draft;
use twinlog::records::{Recipe, Worker};
use twinlog::wire::batch::{BatchHeader, Stamp, restamp};
use twinlog::wire::crc::change_in_software;
use twinlog::wire::fetch::{FetchWalk, Walked};
use twinlog::wire::produce::{ACKS_ALL, Entry, Head, Payload, frame};
use twinlog::wire::rebuild::{Change, Record, put_zigzag};
use twinlog::wire::{TopicKey, control};
use uuid::Uuid;

const FETCH_VERSION: i16 = 13;
const PRODUCE_VERSION: i16 = 13;
/// One batch for each of so many partitions, as an answer to a packed fetch has them.
const BATCHES: usize = 64;
const TOPIC: Uuid = Uuid::from_u128(7);

fn header(payload_bytes: usize) -> BatchHeader {
    BatchHeader {
        base_offset: 1 << 33,
        batch_bytes: 61 + payload_bytes,
        leader_epoch: 3,
        magic: 2,
        crc: 0x1234_5678,
        attributes: 4,
        last_offset_delta: 99,
        base_timestamp_ms: 1_700_000_000_000,
        max_timestamp_ms: 1_700_000_000_999,
        producer_id: -1,
        producer_epoch: -1,
        base_sequence: -1,
        record_count: 100,
    }
}

fn answer(payload_bytes: usize) -> Bytes {
    let records = [&header(payload_bytes).to_raw()[..], &vec![7; payload_bytes]].concat();
    let records = Bytes::from(records);
    let partition =
        |index| PartitionData::default().with_partition_index(index).with_records(Some(records.clone()));
    let topic = FetchableTopicResponse::default()
        .with_topic_id(TOPIC)
        .with_partitions((0..BATCHES as i32).map(partition).collect());
    control::encode_response(&FetchResponse::default().with_responses(vec![topic]), FETCH_VERSION, 1)
}

/// Walks one answer and hands every batch to `take`, with its payload as a handle.
fn walk(input: &mut BytesMut, mut take: impl FnMut(i32, BatchHeader, [u8; 61], Bytes)) {
    let mut walk = FetchWalk::new(FETCH_VERSION);
    let mut partition = 0;
    loop {
        match walk.step(input).expect("the answer is sound") {
            Walked::Partition(head) => partition = head.partition,
            Walked::Batch { header, raw } => {
                let payload = input.split_to(header.payload_bytes()).freeze();
                walk.take_payload(payload.len());
                take(partition, header, raw, payload);
            }
            Walked::End => return,
            _ => {}
        }
    }
}

fn stamp(header: &BatchHeader) -> Stamp {
    let base_sequence = header.base_offset as i32 & i32::MAX;
    Stamp { producer_id: 42, producer_epoch: 1, base_sequence, is_transactional: false }
}

fn entry(partition: i32, raw: [u8; 61], payload: Bytes) -> Entry {
    Entry { topic: TopicKey::Id(TOPIC), partition, raw, payload: Payload::Ranges(smallvec![payload]) }
}

fn frame_all(entries: &mut Vec<Entry>, scratch: &mut BytesMut) -> usize {
    let head = Head {
        version: PRODUCE_VERSION,
        correlation_id: 1,
        client_id: "twinlog",
        transactional_id: None,
        acks: ACKS_ALL,
        timeout_ms: 30_000,
    };
    frame(head, entries, scratch, &mut |piece| drop(black_box(piece)))
}

fn restamping(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("restamp");
    for payload_bytes in [200, 1 << 10, 16 << 10, 128 << 10, 1 << 20, 20 << 20] {
        let header = header(payload_bytes);
        let mut raw = header.to_raw();
        group.bench_function(format!("{payload_bytes} bytes"), |bencher| {
            bencher.iter(|| restamp(black_box(&mut raw), black_box(stamp(&header))));
        });
    }
    group.bench_function("CRC change by tables alone, 1000000 bytes", |bencher| {
        bencher.iter(|| change_in_software(black_box(&[0x5a; 40]), black_box(1_000_000)));
    });
    group.finish();
}

fn answers_and_requests(criterion: &mut Criterion) {
    let answer = answer(1000);
    let mut group = criterion.benchmark_group("64 batches");
    group.throughput(Throughput::Elements(BATCHES as u64));
    let input = || BytesMut::from(&answer[..]);

    group.bench_function("walk", |bencher| {
        bencher.iter_batched_ref(
            input,
            |input| {
                walk(input, |partition, header, raw, payload| {
                    drop(black_box((partition, header, raw, payload)));
                });
            },
            BatchSize::SmallInput,
        );
    });

    let mut entries = Vec::with_capacity(BATCHES);
    let mut scratch = BytesMut::with_capacity(64 << 10);
    let (raw, payload) = (header(1000).to_raw(), Bytes::from(vec![7; 1000]));
    group.bench_function("frame", |bencher| {
        bencher.iter(|| {
            entries.extend((0..BATCHES as i32).map(|partition| entry(partition, raw, payload.clone())));
            frame_all(&mut entries, &mut scratch)
        });
    });

    group.bench_function("walk, restamp and frame", |bencher| {
        bencher.iter_batched_ref(
            input,
            |input| {
                walk(input, |partition, header, mut raw, payload| {
                    restamp(&mut raw, stamp(&header));
                    entries.push(entry(partition, raw, payload));
                });
                frame_all(&mut entries, &mut scratch)
            },
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

/// Steps of a `[[transform]]`, a record at a time: what batches cost that are opened, without their compression.
fn changing_records(criterion: &mut Criterion) {
    let json = format!(
        r#"{{"id":123456,"country":"DE","card":{{"number":"4111111111111111","holder":"A. Person"}},"text":"{}"}}"#,
        "lorem ipsum ".repeat(75)
    );
    let mut body = Vec::new();
    put_zigzag(&mut body, -1);
    put_zigzag(&mut body, json.len() as i64);
    body.extend(json.as_bytes());
    put_zigzag(&mut body, 0);
    let record = Record { offset: 7, attributes: 0, timestamp_ms: 1_700_000_000_000, body: &body };
    let mut group = criterion.benchmark_group(format!("a record of {} bytes", body.len()));
    group.throughput(Throughput::Elements(1));
    for (name, step) in [
        ("filter by expression", r#"{ keep = { in = "value", matches = '\{"id":\d+,"country":"DE".*' } }"#),
        ("filter by field", r#"{ keep = { field = "country", equals = "DE" } }"#),
        ("mask", r#"{ mask = { field = "card.number", with = "****" } }"#),
        ("set header", r#"{ set-header = { name = "origin", value = "east" } }"#),
    ] {
        let mut worker = worker(step);
        let mut out = Vec::new();
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                out.clear();
                worker.change(black_box(&record), &mut out).expect("the record is sound")
            });
        });
    }
    group.finish();
}

fn worker(step: &str) -> Worker {
    let config = format!("[[transform]]\ntopics = 't'\nsteps = [{step}]");
    let transforms = Draft::from_toml("bench", &config).expect("the step is valid").transforms;
    let recipe = Recipe::new(&transforms.expect("there is one")[0], &|_| Err("there is no module".into()));
    recipe.and_then(|recipe| recipe.worker()).expect("it needs no module")
}

criterion_group!(benches, restamping, answers_and_requests, changing_records);
criterion_main!(benches);
