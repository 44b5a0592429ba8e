//! The way of a batch from a Fetch answer into a Produce request allocates nothing: what is allocated is for the answer and
//! for the request, however many batches they hold. Nor does a record's way through steps that find nothing to do.

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use kafka_protocol::messages::{FetchResponse, TopicName};
use kafka_protocol::protocol::StrBytes;
use smallvec::smallvec;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use twinlog::config::Draft;
use twinlog::records::Recipe;
use twinlog::shard::{Recorder, Timing};
use twinlog::wire::batch::{BatchHeader, Stamp, restamp};
use twinlog::wire::fetch::{FetchWalk, Walked};
use twinlog::wire::produce::{ACKS_ALL, Entry, Head, Payload, Piece, frame};
use twinlog::wire::rebuild::{Change, Changed, Record};
use twinlog::wire::{TopicKey, control};

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: everything is done by the system's allocator; counting neither allocates nor touches the memory.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller keeps `alloc`'s contract, which is the same here.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the pointer came from `System`, and the caller keeps `dealloc`'s contract.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

const VERSION: i16 = 12;
const PAYLOAD_BYTES: usize = 500;

fn answer(batches: i64) -> Bytes {
    let raw = |base_offset| {
        let header = BatchHeader {
            base_offset,
            batch_bytes: 61 + PAYLOAD_BYTES,
            leader_epoch: 3,
            magic: 2,
            crc: 0,
            attributes: 0,
            last_offset_delta: 0,
            base_timestamp_ms: 0,
            max_timestamp_ms: 0,
            producer_id: -1,
            producer_epoch: -1,
            base_sequence: -1,
            record_count: 1,
        };
        [&header.to_raw()[..], &[7; PAYLOAD_BYTES]].concat()
    };
    let records: Vec<u8> = (0..batches).flat_map(raw).collect();
    let partition = PartitionData::default().with_records(Some(records.into()));
    let topic = FetchableTopicResponse::default()
        .with_topic(TopicName(StrBytes::from_static_str("orders")))
        .with_partitions(vec![partition]);
    control::encode_response(&FetchResponse::default().with_responses(vec![topic]), VERSION, 1)
}

/// Takes every batch of the answer into one request; returns how many there were.
fn pass(input: &mut BytesMut, entries: &mut Vec<Entry>, scratch: &mut BytesMut) -> usize {
    let mut walk = FetchWalk::new(VERSION);
    let mut topic = None;
    loop {
        match walk.step(input).expect("the answer is sound") {
            Walked::Topic(key) => topic = Some(key),
            Walked::Batch { header, mut raw } => {
                let stamp = Stamp {
                    producer_id: 1,
                    producer_epoch: 0,
                    base_sequence: header.base_offset as i32,
                    is_transactional: false,
                };
                restamp(&mut raw, stamp);
                let payload = input.split_to(header.payload_bytes()).freeze();
                walk.take_payload(payload.len());
                let topic = topic.clone().expect("a topic comes before its batches");
                let payload = Payload::Ranges(smallvec![payload]);
                entries.push(Entry { topic, partition: 0, raw, payload });
            }
            Walked::End => break,
            Walked::NeedMore => panic!("the answer is complete"),
            _ => {}
        }
    }
    let batches = entries.len();
    let mut pieces = 0;
    let head = Head {
        version: 9,
        correlation_id: 1,
        client_id: "twinlog",
        transactional_id: None,
        acks: ACKS_ALL,
        timeout_ms: 1000,
    };
    frame(head, entries, scratch, &mut |piece| {
        pieces += usize::from(matches!(piece, Piece::Payload(_)));
    });
    assert_eq!(pieces, batches);
    batches
}

#[test]
fn no_batch_costs_an_allocation() {
    let mut entries = Vec::with_capacity(256);
    let mut scratch = BytesMut::with_capacity(64 << 10);
    let mut allocations_for = |batches| {
        let mut input = BytesMut::from(&answer(batches)[..]);
        let before = ALLOCATIONS.get();
        assert_eq!(pass(&mut input, &mut entries, &mut scratch), batches as usize);
        ALLOCATIONS.get() - before
    };
    allocations_for(1); // whatever happens once in a process's life
    let (few, many) = (allocations_for(2), allocations_for(256));
    assert_eq!(many, few);
    // Sharing the input's buffer, and sharing the scratch's.
    assert!(many <= 2, "{many} allocations for an answer and a request");

    let before = ALLOCATIONS.get();
    drop(std::hint::black_box(TopicKey::Name(Bytes::from(vec![1; 10]))));
    assert!(ALLOCATIONS.get() > before, "allocations are counted");
}

#[test]
fn timing_a_batch_allocates_nothing() {
    let mut recorder = Recorder::new(true);
    let before = ALLOCATIONS.get();
    // More than there is room for.
    for n in 0..100_000 {
        recorder.note(Timing { base_timestamp_ms: n, ..Timing::default() });
    }
    assert_eq!(ALLOCATIONS.get(), before);
    assert!(recorder.take().is_some_and(|timings| timings.left_out > 0));
}

#[test]
fn records_that_no_step_changes_allocate_nothing() {
    let config = r#"
        [[transform]]
        topics = "t"
        steps = [
            { keep = { in = "value", matches = '\{.*\}' } },
            { drop = { field = "a", equals = "x" } },
            { mask = { field = "c", with = "*" } },
            { remove-header = "h" },
            { sample-percent = 100 },
        ]
    "#;
    let transforms = Draft::from_toml("t", config).unwrap().transforms.unwrap();
    let mut worker = Recipe::new(&transforms[0], &|_| unreachable!()).unwrap().worker().unwrap();
    // No key, {"a":1,"b":2}, one header `i` without a value.
    let body = b"\x01\x1a{\"a\":1,\"b\":2}\x02\x02i\x01";
    let record = Record { offset: 7, attributes: 0, timestamp_ms: 0, body };
    let mut out = Vec::new();
    // An expression's automaton is built once.
    assert_eq!(worker.change(&record, &mut out), Ok(Changed::Same));
    let before = ALLOCATIONS.get();
    assert_eq!(worker.change(&record, &mut out), Ok(Changed::Same));
    assert_eq!(ALLOCATIONS.get(), before);
}
